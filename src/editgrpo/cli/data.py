"""`editgrpo data`: statistics of a prepared folder, one study as a picture, and a check."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from editgrpo.cli.clinical_options import clinical_options
from editgrpo.cli.options import Overwrite, Seed, examples, given
from editgrpo.cli.output import claim_output
from editgrpo.config import ClinicalConfig, Target
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras

if TYPE_CHECKING:
    from rich.console import Console

STATS_EXAMPLES = examples(
    "editgrpo data stats studies/mimic-cxr",
    "editgrpo data stats studies/mimic-cxr --html mimic.html --json mimic.json",
    "editgrpo data stats studies/mimic-cxr --labeler chexbert --label-sample 2000",
)
SHOW_EXAMPLES = examples(
    "editgrpo data show studies/mimic-cxr 50414267",
    "editgrpo data show studies/mimic-cxr 50414267 --output sheet.png",
)
CHECK_EXAMPLES = examples("editgrpo data check studies/mimic-cxr")

FAULTY = 1
NO_LABELS = "none"
_FILE_WIDTH = 120
_UNSAFE = re.compile(r"[^\w.-]+")

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A folder that `editgrpo prepare` wrote.")
]


@clinical_options()
def stats(
    folder: Folder,
    clinical: ClinicalConfig,
    json: Annotated[Path | None, typer.Option(help="Write all numbers as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write all numbers as CSV.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write charts and tables as one HTML page.")
    ] = None,
    labeler: Annotated[
        str, typer.Option(help="Labeler of the 14 CheXpert findings: rules, chexbert or none.")
    ] = "rules",
    label_sample: Annotated[
        int | None,
        typer.Option(min=1, help="Most reports to label in each split. Default: 20,000."),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Show statistics of a prepared folder: the paper's Table 3, views, lengths, times, labels."""
    require_extras(*_extras_of_stats(labeler, has_page=html is not None))
    for path in (json, csv, html):
        if path is not None:
            claim_output(path, overwrite=overwrite)

    from editgrpo.data.overview.prevalence import LabelRequest
    from editgrpo.data.overview.statistics import set_statistics
    from editgrpo.data.prepared.store import StudySet
    from editgrpo.display.data_stats import rich_table, statistics_tables, write_statistics
    from editgrpo.display.terminal import closing_bar
    from editgrpo.reports.registry import load_labeler

    studies = StudySet.load(folder)
    labels = None
    if labeler != NO_LABELS:
        reader = load_labeler(labeler, clinical)
        labels = LabelRequest(labeler=reader, seed=seed, **given(most=label_sample))
    with closing_bar("Labelling reports") as progress:
        statistics = set_statistics(studies, labels=labels, progress=progress)
    console = _console()
    for table in statistics_tables(statistics):
        console.print(rich_table(table))
        console.print()
    if json is not None:
        write_statistics(statistics, json)
    if csv is not None:
        write_statistics(statistics, csv)
    if html is not None:
        from editgrpo.display.html.data_page import write_data_page

        write_data_page(statistics, html)
    for path in (json, csv, html):
        if path is not None:
            typer.echo(f"Written: {path}")


def _extras_of_stats(labeler: str, *, has_page: bool) -> Iterator[Extra]:
    yield Extra.DATA
    if has_page:
        yield Extra.REPORT
    if labeler not in (NO_LABELS, "rules"):
        yield Extra.CLINICAL


def show(
    folder: Folder,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Id of the study.")],
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write. Default: STUDY.png in this folder.")
    ] = None,
    max_images: Annotated[
        int, typer.Option(min=1, help="Most images in the prompt, like data.max_images.")
    ] = 6,
    prompt_template: Annotated[
        Path | None, typer.Option(help="Jinja file of the prompt, like data.prompt_template.")
    ] = None,
    target: Annotated[
        Target, typer.Option(help="What the prompt asks for, like data.target.")
    ] = Target.FINDINGS,
    overwrite: Overwrite = False,
) -> None:
    """Draw one study: its images, those of its prior, the prompt and the reference.

    The picture holds a report and radiographs: keep it as you keep the data set.
    """
    require_extras(Extra.DATA)
    path = output or Path(f"{_UNSAFE.sub('_', study)}.png")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: the sheet is a PNG file; name one that ends in .png")
    claim_output(path, overwrite=overwrite)

    from editgrpo.data.overview.contact_sheet import contact_sheet
    from editgrpo.data.overview.lookup import find_study
    from editgrpo.data.prepared.boxes import read_boxes
    from editgrpo.data.prepared.store import StudySet
    from editgrpo.files import replacing

    studies = StudySet.load(folder, target=target)
    found = find_study(studies, study)
    sheet = contact_sheet(
        found,
        studies.images,
        max_images=max_images,
        template=prompt_template,
        boxes=read_boxes(folder).get(found.study_id, ()),
    )
    with replacing(path) as partial:
        sheet.save(partial, "PNG")
    typer.echo(f"The sheet is in {path} ({sheet.width} × {sheet.height} pixels)")


def check(
    folder: Folder,
    json: Annotated[Path | None, typer.Option(help="Write every problem as JSON.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Check a prepared folder: files, splits, times, prior studies and every image.

    Exit code 1 if anything is wrong; warnings alone do not count.
    """
    require_extras(Extra.DATA)
    if json is not None:
        claim_output(json, overwrite=overwrite)

    from editgrpo.data.verify import verify
    from editgrpo.display.data_check import problems_table, verification_record
    from editgrpo.display.terminal import stage_bars
    from editgrpo.files import write_json

    with stage_bars() as progress:
        found = verify(folder, progress=progress)
    if json is not None:
        write_json(json, verification_record(found))
    if found.problems:
        _console().print(problems_table(found.problems))
    counts = ((found.files, "file"), (found.images, "image"))
    files, images = (_counted(*count) for count in counts)
    studies = f"{found.studies:,} {'study' if found.studies == 1 else 'studies'}"
    looked_at = f"{files}, {studies}, {images}"
    verdict = _counted(len(found.failures), "problem") if found.failures else "all in order"
    warnings = f", {_counted(len(found.warnings), 'warning')}" if found.warnings else ""
    typer.echo(f"{folder}: {verdict}{warnings} ({looked_at})")
    if found.failures:
        raise typer.Exit(FAULTY)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _console() -> "Console":
    from rich.console import Console

    # Whoever reads a file or a pipe has no narrow window.
    return Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
