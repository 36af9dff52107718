"""`editgrpo prepare iu-xray`: IU X-Ray (OpenI) into studies."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, Seed, examples
from editgrpo.cli.output import claim_output
from editgrpo.cli.studies import (
    KeepWithoutFindings,
    RequireImpression,
    StudiesOutput,
    WithoutImages,
    inclusion_rule,
    run_preparation,
)

EXAMPLES = examples(
    "editgrpo prepare iu-xray NLMCXR_reports.tgz --images NLMCXR_png --output studies/iu-xray",
    "editgrpo prepare iu-xray indiana_reports.csv --projections indiana_projections.csv "
    "--images images_normalized --annotation annotation.json --output studies/iu-xray",
)


def prepare_iu_xray(
    reports: Annotated[
        Path,
        typer.Argument(
            metavar="REPORTS",
            help="NLMCXR_reports.tgz, a folder of its XML files, or indiana_reports.csv.",
        ),
    ],
    output: StudiesOutput,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images: NLMCXR_png, images_normalized or R2Gen's images."),
    ] = None,
    projections: Annotated[
        Path | None,
        typer.Option(
            help="indiana_projections.csv: needed beside indiana_reports.csv; gives views."
        ),
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(help="R2Gen's annotation.json, for its split; else drawn by patient."),
    ] = None,
    without_images: WithoutImages = False,
    keep_without_findings: KeepWithoutFindings = False,
    require_impression: RequireImpression = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Turn IU X-Ray, as the original archive or as the Indiana CSV pair, into studies."""
    claim_output(output, overwrite=overwrite)

    from editgrpo.data.iu_xray import IUXraySource
    from editgrpo.data.iu_xray import prepare_iu_xray as prepare

    source = IUXraySource(
        reports=reports, projections=projections, images=images, annotation=annotation
    )
    inclusion = inclusion_rule(
        without_images=without_images,
        keep_without_findings=keep_without_findings,
        require_impression=require_impression,
    )
    run_preparation(prepare, source, output, inclusion=inclusion, seed=seed)
