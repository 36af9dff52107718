"""`editgrpo report`: runs as one HTML page."""

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from editgrpo.cli.options import Overwrite, examples, given
from editgrpo.cli.output import claim_output
from editgrpo.extras import Extra, require_extras

if TYPE_CHECKING:
    from editgrpo.display.html import ReportSummary

EXAMPLES = examples(
    "editgrpo report runs/sft runs/dr-grpo runs/editgrpo --output report.html",
    'editgrpo report demo/sft demo/editgrpo --title "Phantom, site A" --output report.html',
    "editgrpo report --watch runs/editgrpo --output report.html",
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
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Write it again while the runs go on, until they end or Ctrl-C. A run need not "
            "have begun.",
        ),
    ] = False,
    every: Annotated[
        float, typer.Option(min=1, help="With --watch: seconds between two looks at the runs.")
    ] = 30,
    overwrite: Overwrite = False,
) -> None:
    """Write one HTML page about runs: curves, results with intervals, studies with edits."""
    require_extras(Extra.REPORT)
    claim_output(output, overwrite=overwrite)

    options = {"title": title, "studies": studies, **given(max_studies=max_studies)}
    if watch:
        _watch(runs, output, every, options)
        return

    from editgrpo.display.html import write_report
    from editgrpo.display.terminal import progress_bar

    with progress_bar("Reading studies") as progress:
        summary = write_report(runs, output, progress=progress, **options)
    _show(summary)
    for note in summary.notes:
        typer.echo(note)
    typer.echo(f"The report is in {output} ({summary.size_bytes / 1e6:.1f} MB)")


def _watch(runs: Sequence[Path], output: Path, every_s: float, options: dict[str, Any]) -> None:
    from editgrpo.display.html import watch_report

    typer.echo(f"The report is in {output}; it is written again while the runs go on, until Ctrl-C")
    writing = watch_report(runs, output, every_s=every_s, wait=time.sleep, **options)
    with suppress(KeyboardInterrupt), closing(writing):
        for summary in writing:
            typer.echo(time.strftime("%H:%M:%S  "), nl=False)
            _show(summary)


def _show(summary: "ReportSummary") -> None:
    typer.echo(
        f"Runs: {summary.runs}; evaluations: {summary.evaluations}; study pages: "
        f"{summary.groups + summary.predictions}; images: {summary.images}"
    )
    if summary.broken_lines:
        typer.echo(f"Passed over {summary.broken_lines} lines that are not whole JSON objects")
