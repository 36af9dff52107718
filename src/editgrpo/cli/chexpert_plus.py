"""`editgrpo prepare chexpert-plus`: CheXpert Plus into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Seed, examples
from editgrpo.cli.studies import (
    OtherShares,
    PrepareFlags,
    Root,
    prepare_options,
    run_preparation,
    split_rule_of,
)
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare chexpert-plus --root chexpert-plus --out studies/chexpert-plus",
    "editgrpo prepare chexpert-plus --root chexpert-plus --images chexpert-plus/DICOM "
    "--split-shares train=0.8,validation=0.1,test=0.1 --out studies/chexpert-plus",
)


@prepare_options
def prepare_chexpert_plus(
    root: Root,
    table: Annotated[
        Path | None,
        typer.Option(
            help="The table of reports. Default: df_chexpert_plus_240401.csv in the root."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of train and valid, PNG or DICOM files, or one above. Default: found in "
            "the root."
        ),
    ] = None,
    without_priors: Annotated[
        bool,
        typer.Option("--without-priors", help="Show no films of the patient's report before."),
    ] = False,
    seed: Seed = 0,
    split_shares: OtherShares = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare CheXpert Plus.

    Its own split has train and validation; --split-shares draws patients for a test split, too.
    """
    require_extras(Extra.DATA)

    from editgrpo.data.chexpert_plus import CheXpertPlusSource

    source = CheXpertPlusSource(
        root=root,
        table=table,
        images=images,
        priors=not without_priors,
        draw_splits=split_shares is not None,
    )
    run_preparation(source, flags, split_rule=split_rule_of(split_shares, seed, given=False))
