"""`editgrpo prepare mimic-cxr`: MIMIC-CXR-JPG or MIMIC-CXR into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import examples
from editgrpo.cli.studies import PrepareFlags, Root, prepare_options, run_preparation
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare mimic-cxr --root mimic-cxr-jpg/2.1.0 --reports mimic-cxr-reports.zip "
    "--out studies/mimic-cxr",
    "editgrpo prepare mimic-cxr --root mimic-cxr/2.1.0 --tables mimic-cxr-jpg/2.1.0 "
    "--out studies/mimic-cxr-dicom",
)


@prepare_options
def prepare_mimic_cxr(
    root: Root,
    reports: Annotated[
        Path | None,
        typer.Option(
            help="mimic-cxr-reports.zip, or a folder with its files. Default: found in the root. "
            "MIMIC-CXR-JPG has no reports: take those of MIMIC-CXR."
        ),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Folder of mimic-cxr-2.0.0-metadata.csv and -split.csv, gzipped or not. Default: "
            "the root. MIMIC-CXR (DICOM) has none: take those of MIMIC-CXR-JPG."
        ),
    ] = None,
    *,
    flags: PrepareFlags,
) -> None:
    """Prepare MIMIC-CXR-JPG, or MIMIC-CXR with its DICOM files."""
    require_extras(Extra.DATA)

    from editgrpo.data.mimic_cxr import MimicCXRSource

    source = MimicCXRSource(root=root, reports=reports, tables=tables)
    run_preparation(source, flags)
