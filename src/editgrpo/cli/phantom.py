"""`editgrpo prepare phantom`: synthetic studies."""

from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, Seed, examples, given
from editgrpo.cli.output import claim_output, clear_away
from editgrpo.cli.studies import StudiesOutput, show_counts
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo prepare phantom --output studies/site-a --studies 2000",
    "editgrpo prepare phantom --output studies/site-b --studies 500 --site B --seed 1",
)


def prepare_phantom(
    output: StudiesOutput,
    studies: Annotated[int, typer.Option(help="Number of studies.")] = 1000,
    site: Annotated[
        str, typer.Option(help="A or B, which differ in rendering, prevalence and phrasing.")
    ] = "A",
    size_px: Annotated[
        int | None, typer.Option(help="Height and width of the images. Default: 112.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write synthetic radiographs and reports, so that everything runs without protected data."""
    require_extras(Extra.DATA)
    claim_output(output, overwrite=overwrite)

    from editgrpo.data.prepared.folder_state import ENTRIES
    from editgrpo.display.terminal import progress_bar
    from editgrpo.phantom import TRUTH_FILE, Site, write_phantom

    if site.upper() not in list(Site):
        raise ConfigError(f"--site is {site!r}; it must be one of {', '.join(Site)}")
    if overwrite:
        clear_away(output, (*ENTRIES, TRUTH_FILE))
    with progress_bar("Writing phantom studies") as progress:
        summary = write_phantom(
            output,
            studies=studies,
            site=Site(site.upper()),
            seed=seed,
            progress=progress,
            **given(size_px=size_px),
        )
    counts = {
        "studies": summary.studies,
        "patients": summary.patients,
        "images": summary.images,
        "with prior images": summary.with_prior,
        "normal": summary.normal,
        **{f"in {split}": count for split, count in summary.splits.items()},
        **{f"with {kind}": count for kind, count in summary.findings.items()},
    }
    show_counts(counts.items())
    typer.echo(f"Studies are in {output}")
