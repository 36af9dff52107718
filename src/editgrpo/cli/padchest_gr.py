"""`editgrpo prepare padchest-gr`: PadChest-GR into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import examples
from editgrpo.cli.studies import PrepareFlags, Root, prepare_options, run_preparation
from editgrpo.data.study import Language
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare padchest-gr --root PadChest-GR --out studies/padchest-gr",
    "editgrpo prepare padchest-gr --root PadChest-GR --language es --out studies/padchest-gr-es",
)


@prepare_options
def prepare_padchest_gr(
    root: Root,
    language: Annotated[
        Language,
        typer.Option(
            help="Language of the reports, English or Spanish. Annotators and clinical rewards "
            "read English only."
        ),
    ] = Language.ENGLISH,
    padchest_csv: Annotated[
        Path | None,
        typer.Option(
            help="PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv of PadChest, for exact "
            "views and the dates of prior studies."
        ),
    ] = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare PadChest-GR; a report is its sentences in order."""
    require_extras(Extra.DATA)

    from editgrpo.data.padchest_gr import PadChestGRSource

    if language is not Language.ENGLISH:
        typer.echo(
            "Warning: annotators, labelers and clinical metrics read English only; reports in "
            "another language are for fine-tuning"
        )
    source = PadChestGRSource(root=root, language=language, views=padchest_csv)
    run_preparation(source, flags)
