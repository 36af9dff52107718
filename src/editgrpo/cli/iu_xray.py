"""`editgrpo prepare iu-xray`: IU X-Ray (OpenI) into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Seed, examples
from editgrpo.cli.studies import (
    PrepareFlags,
    Root,
    SplitShares,
    prepare_options,
    run_preparation,
    split_rule_of,
)
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare iu-xray --root openi --out studies/iu-xray",
    "editgrpo prepare iu-xray --root openi --annotation r2gen/annotation.json "
    "--out studies/iu-xray",
)


@prepare_options
def prepare_iu_xray(
    root: Root,
    reports: Annotated[
        Path | None,
        typer.Option(
            help="NLMCXR_reports.tgz, a folder of its XML files, or indiana_reports.csv. "
            "Default: found in the root, like the next three."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images: NLMCXR_png, images_normalized or R2Gen's images."),
    ] = None,
    projections: Annotated[
        Path | None,
        typer.Option(
            help="indiana_projections.csv, which has the views; required with indiana_reports.csv."
        ),
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(help="R2Gen's annotation.json, for its split. Default: patients are drawn."),
    ] = None,
    seed: Seed = 0,
    split_shares: SplitShares = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare IU X-Ray, from the original archive or the two Indiana CSV files."""
    require_extras(Extra.DATA)

    from editgrpo.data.iu_xray import IUXraySource
    from editgrpo.data.iu_xray.source import discover

    found = discover(root).annotation if split_shares is not None else None
    split_rule = split_rule_of(split_shares, seed, given=(annotation or found) is not None)
    source = IUXraySource(
        root=root,
        reports=reports,
        projections=projections,
        images=images,
        annotation=annotation,
    )
    run_preparation(source, flags, split_rule=split_rule)
