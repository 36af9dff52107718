"""`editgrpo report`: runs as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, examples, given
from editgrpo.cli.output import claim_output
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo report runs/sft runs/dr-grpo runs/editgrpo --output report.html",
    'editgrpo report demo/sft demo/editgrpo --title "Phantom, site A" --output report.html',
)


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, in the order of the page.")
    ],
    output: Annotated[Path, typer.Option(help="HTML file to write.")],
    title: Annotated[str | None, typer.Option(help="Heading. Default: the runs' names.")] = None,
    studies: Annotated[
        Path | None,
        typer.Option(help="Prepared folder, or a folder of several. Default: those of the runs."),
    ] = None,
    max_studies: Annotated[
        int | None,
        typer.Option(
            help="Most study pages of each kind; images make the file large. Default: 80."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write one HTML page about runs: curves, results with intervals, studies with edits."""
    require_extras(Extra.REPORT)
    claim_output(output, overwrite=overwrite)

    from editgrpo.display.html import write_report
    from editgrpo.display.terminal import progress_bar

    with progress_bar("Reading studies") as progress:
        summary = write_report(
            runs,
            output,
            title=title,
            studies=studies,
            progress=progress,
            **given(max_studies=max_studies),
        )
    typer.echo(
        f"Runs: {summary.runs}; evaluations: {summary.evaluations}; study pages: "
        f"{summary.groups + summary.predictions}; images: {summary.images}"
    )
    if summary.broken_lines:
        typer.echo(f"Passed over {summary.broken_lines} lines that are not whole JSON objects")
    for note in summary.notes:
        typer.echo(note)
    typer.echo(f"The report is in {output} ({summary.size_bytes / 1e6:.1f} MB)")
