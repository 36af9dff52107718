"""Writes the report: run folders in, one HTML file out that needs nothing but a browser."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from editgrpo.display.html.assets import asset, page_environment, plotly_script
from editgrpo.display.html.curves import reward_components, run_curves, summary_cards
from editgrpo.display.html.palette import RULE_COLOURS, run_colours
from editgrpo.display.html.predictions import shown_predictions
from editgrpo.display.html.results import evaluation_blocks
from editgrpo.display.html.rollouts import choose_groups, index_groups, read_group
from editgrpo.display.html.runs import Run, RunKind, load_runs
from editgrpo.display.html.studies import StudyCatalogue, find_studies
from editgrpo.errors import ConfigError
from editgrpo.files import write_text

Progress = Callable[[int, int], None]

_NONE: Mapping[str, Path] = MappingProxyType({})
_SCRIPTS = ("state.js", "plots.js", "training.js", "evaluation.js", "studies.js", "page.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSummary:
    """What went into a report.

    Attributes:
        output: The file that was written.
        size_bytes: Its size.
        runs: Count of run folders.
        evaluations: Count of distinct evaluation names.
        groups: Study pages with rollouts.
        predictions: Study pages with test predictions.
        images: Images embedded.
        broken_lines: Lines passed over because they are not whole JSON objects.
        notes: What was left out and why, one sentence each.
    """

    output: Path
    size_bytes: int
    runs: int
    evaluations: int
    groups: int
    predictions: int
    images: int
    broken_lines: int
    notes: tuple[str, ...]


def write_report(
    runs: Sequence[Path],
    output: Path,
    *,
    title: str | None = None,
    remark: str | None = None,
    studies: Path | None = None,
    tested_on: Mapping[str, Path] = _NONE,
    max_studies: int = 80,
    wanted: Sequence[tuple[int, int, str]] = (),
    progress: Progress | None = None,
    may_be_new: bool = False,
    reload_s: float | None = None,
) -> ReportSummary:
    """Write one self-contained HTML file about one or several runs.

    Args:
        runs: Run folders, in the order in which they shall be shown.
        output: The file to write; it appears only when it is whole.
        title: Heading of the page; None takes the names of the runs.
        remark: Stands below the heading: what a reader must know before any number.
        studies: A folder of studies, or a folder of such folders; None takes the folder that each
            run's `config.yaml` names.
        tested_on: For evaluations by name, the folder of studies that they are of; no other is
            searched for theirs.
        max_studies: Most study pages of each kind (training groups, test predictions).
        wanted: Training groups, by place in `runs`, step and study, that get a page before others
            do.
        progress: Called with (done, total) while studies are read and images embedded.
        may_be_new: Whether a run may have written nothing yet; the page says what is awaited.
        reload_s: Seconds after which the page, while it is looked at, loads itself again; it stays
            where it was. None for a page that does not change.

    Returns:
        What went in and what was left out.

    Raises:
        ConfigError: no run is given, or `max_studies` is negative.
        DataError: a run folder does not exist or holds nothing that a run writes (unless
            `may_be_new`), or `studies` holds no studies.
    """
    if not runs:
        raise ConfigError("no run folder is given; give one or more")
    if max_studies < 0:
        raise ConfigError(f"max_studies is {max_studies}; it must be 0 or more")
    loaded = load_runs(runs, may_be_new=may_be_new)
    pages = _study_pages(loaded, studies, tested_on, max_studies, wanted, progress)
    broken = pages["broken"] + sum(run.broken_lines for run in loaded)
    blocks = evaluation_blocks(loaded)
    notes = _notes(loaded, pages, broken)
    title = title or ", ".join(run.name for run in loaded)
    write_text(output, _render(title, remark, loaded, blocks, pages, notes, reload_s))
    return ReportSummary(
        output=output,
        size_bytes=output.stat().st_size,
        runs=len(loaded),
        evaluations=len(blocks),
        groups=len(pages["groups"]),
        predictions=len(pages["predictions"]),
        images=sum(len(study["images"]) for study in pages["studies"].values()),
        broken_lines=broken,
        notes=tuple(notes),
    )


def _study_pages(
    runs: Sequence[Run],
    studies: Path | None,
    tested_on: Mapping[str, Path],
    limit: int,
    wanted: Sequence[tuple[int, int, str]],
    progress: Progress | None,
) -> dict[str, Any]:
    """Choose study pages, read them, and embed the images of their studies."""
    indexed, broken = [], 0
    for index, run in enumerate(runs):
        if run.rollouts is not None:
            found, bad = index_groups(run.rollouts, index)
            indexed += found
            broken += bad
    groups = [read_group(runs[one.run], one) for one in choose_groups(indexed, limit, wanted)]
    predictions, bad = shown_predictions(runs, limit)
    folders = [find_studies(run, studies) for run in runs]
    catalogue = StudyCatalogue()
    for page in groups:
        reference = " ".join(page["reference"])
        page["key"] = catalogue.key(page["study"], reference, folders[page["run"]])
    everywhere = list(dict.fromkeys(folder for some in folders for folder in some))
    for page in predictions:
        # The folder that bears the evaluation's name is the likeliest to hold its studies.
        likeliest = sorted(everywhere, key=lambda folder: folder.name != page["evaluation"])
        if page["evaluation"] in tested_on:
            likeliest = [tested_on[page["evaluation"]]]
        page["key"] = catalogue.key(page["study"], " ".join(page["reference"]), likeliest)
    shown = {}
    for done, key in enumerate(catalogue.wanted(), start=1):
        shown[key] = catalogue.shown(key)
        if progress is not None:
            progress(done, len(catalogue))
    return {
        "groups": groups,
        "groups_logged": len(indexed),
        "predictions": predictions,
        "studies": shown,
        "broken": broken + bad,
    }


def _notes(runs: Sequence[Run], pages: dict[str, Any], broken: int) -> list[str]:
    notes = [f"{run.name}: {note}" for run in runs for note in run.notes]
    without = sum(page["key"] is None for page in pages["groups"] + pages["predictions"])
    if without:
        notes.append(
            f"{without} study pages have no images: their study was not found; "
            "give the folder of studies with --studies"
        )
    unreadable = sum(study["unreadable"] for study in pages["studies"].values())
    if unreadable:
        notes.append(f"{unreadable} images could not be read")
    if broken:
        notes.append(f"{broken} lines of run files were not whole and were passed over")
    return notes


def _render(
    title: str,
    remark: str | None,
    runs: Sequence[Run],
    blocks: list[dict[str, Any]],
    pages: dict[str, Any],
    notes: list[str],
    reload_s: float | None,
) -> str:
    colours = run_colours([run.name for run in runs])
    cards = summary_cards(runs)
    curves = [run_curves(run) for run in runs]
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            remark=remark,
            runs=runs,
            cards=cards,
            colours=colours,
            rule_colours=RULE_COLOURS,
            blocks=blocks,
            pages=pages,
            notes=notes,
            reload_s=reload_s,
            has=_presence(runs, curves),
            components=reward_components(runs),
            css=asset("report.css"),
            scripts=[asset(name) for name in (*_SCRIPTS, *(["reload.js"] if reload_s else []))],
            plotly=plotly_script(),
            data=_page_data(runs, colours, curves, blocks, pages) | {"reloadS": reload_s},
        )
    )


def _presence(runs: Sequence[Run], curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Tell the template which sections there is anything to show in."""
    keys = {key for one in curves for key in one["train"]}
    return {
        "rl": any(run.kind is RunKind.RL for run in runs),
        "sft": any(run.kind is RunKind.SFT for run in runs),
        "edits": any(key.startswith("edits/") for key in keys),
        "edited_runs": [index for index, one in enumerate(curves) if "edits/none" in one["train"]],
        "columns": keys,
        "validation": any(one["validation"] for one in curves),
        "phases": any(one["phases"] for one in curves),
    }


def _page_data(
    runs: Sequence[Run],
    colours: list[tuple[str, str]],
    curves: list[dict[str, Any]],
    blocks: list[dict[str, Any]],
    pages: dict[str, Any],
) -> dict[str, Any]:
    """Return everything that the scripts draw; it travels as JSON inside the page."""
    return {
        "runs": [
            {"name": run.name, "kind": run.kind.name, "colours": colour, **curve}
            for run, colour, curve in zip(runs, colours, curves, strict=True)
        ],
        "rules": {name: list(colour) for name, colour in RULE_COLOURS.items()},
        "evaluations": {block["name"]: block["chart"] for block in blocks},
        "groups": pages["groups"],
        "predictions": pages["predictions"],
        "studies": pages["studies"],
    }
