"""`editgrpo demo`: the whole method on synthetic studies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from editgrpo.cli.options import Overwrite, Seed, examples
from editgrpo.cli.output import clear_away, hide_loading_bars, is_free
from editgrpo.demo.places import BASE_MODEL, TRAINING
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras
from editgrpo.files import read_json_object, write_json
from editgrpo.ownership import own
from editgrpo.provenance import command_line

if TYPE_CHECKING:
    from rich.console import Console

    from editgrpo.demo.named import NamedByEdit

EXAMPLES = examples(
    "editgrpo demo --output demo",
    "editgrpo demo --output demo-quick --quick",
    "editgrpo demo --train-base --output base",
)

# What a demo is of; a folder is continued only with the same answers.
SETTINGS_FILE = "demo.json"

# What the command writes; `--overwrite` removes these beside the first, and nothing else.
ENTRIES = (
    SETTINGS_FILE,
    "studies",
    "untrained",  # of --train-base, as are the next two
    "reading",
    "base",
    "sft",
    "sft-continued",
    "dr-grpo",
    "editgrpo",
    "report.html",
)


def demo(
    output: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller demo: minutes, no results.")
    ] = False,
    train_base: Annotated[
        bool,
        typer.Option("--train-base", help="Only retrain the model that the demo starts from."),
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train SFT, Dr. GRPO and EditGRPO on synthetic studies, and compare them at two sites.

    Run the same command again to continue an interrupted demo.
    """
    require_extras(Extra.DEMO)
    if train_base:
        _train_base(output, quick=quick, overwrite=overwrite)
        return
    base = read_json_object(BASE_MODEL / TRAINING, "install the package again")["sha256"]
    claim_demo_folder(output, {"quick": quick, "seed": seed, "base": base}, overwrite=overwrite)

    from rich.console import Console

    from editgrpo.demo.plan import FINDING_KINDS, FULL, QUICK, DemoPlan
    from editgrpo.demo.run import run_demo
    from editgrpo.display.comparison import ComparisonTable
    from editgrpo.display.numbers import format_duration
    from editgrpo.display.tables import ResultsTable, findings_table
    from editgrpo.display.terminal import progress_bar
    from editgrpo.evaluation.tables import comparison_record, scores_record

    hide_loading_bars()
    plan = DemoPlan(folder=output, size=QUICK if quick else FULL, seed=seed)
    outcome = run_demo(plan, command=command_line(), progress_bar=progress_bar)
    console = Console()
    if plan.remark:
        typer.echo(f"{plan.remark}\n")
    for test_set, evaluations in outcome.evaluations.items():
        records = [scores_record(evaluation) for evaluation in evaluations]
        console.print(ResultsTable(records, title=f"Results, {test_set.value}"))
        title = f"F1 by finding, {test_set.value}"
        console.print(findings_table(records, title=title, kinds=FINDING_KINDS))
        for comparison in outcome.comparisons[test_set]:
            console.print(ComparisonTable(comparison_record(comparison)))
    if outcome.named:
        _show_named(console, outcome.named)
    for stage, seconds in outcome.seconds.items():
        typer.echo(f"{format_duration(seconds):>8}  {stage}")
    typer.echo(f"The report is in {outcome.report}")


def _show_named(console: "Console", named: "Sequence[NamedByEdit]") -> None:
    """Show the first study in which an edit named a finding that no sample named."""
    one = named[0]
    console.print(
        f"In {len(named)} groups an edit named an uncommon finding that no sampled report did. The "
        f"first: step {one.step}, {one.finding}, study {one.study_id} (it has a page in the report)"
    )
    for title, text in (
        ("reference", one.reference),
        ("sampled", one.sampled),
        (f"edited, reward {one.gain:+.2f}", one.edited),
    ):
        console.print(f"  [bold]{title}[/]: {escape(text)}")


def _train_base(output: Path, *, quick: bool, overwrite: bool) -> None:
    claim_demo_folder(output, {"train_base": True, "quick": quick}, overwrite=overwrite)

    from editgrpo.demo.base import QUICK_BASE, BaseSize, train_base
    from editgrpo.display.terminal import progress_bar

    hide_loading_bars()
    folder = train_base(
        output,
        size=QUICK_BASE if quick else BaseSize(),
        command=command_line(),
        progress_bar=progress_bar,
    )
    typer.echo(f"The base model and its card are in {folder}")


def claim_demo_folder(folder: Path, settings: Mapping[str, int | str], *, overwrite: bool) -> None:
    """Make sure that a demo may write into a folder, own it, and note there which demo it is.

    Args:
        folder: The folder; it need not exist.
        settings: What the demo is of.
        overwrite: Whether an earlier demo there is removed.

    Raises:
        ConfigError: another process writes to the folder, or it holds something else, or a demo of
            other settings.
    """
    own(folder)
    if overwrite:
        clear_away(folder, ENTRIES)
    path = folder / SETTINGS_FILE
    if not is_free(folder):
        if not path.is_file():
            raise ConfigError(f"{folder}: not empty and holds no demo; name another output")
        if _read_settings(path) != settings:
            raise ConfigError(
                f"{folder}: holds a demo with other options, or of another version (see "
                f"{SETTINGS_FILE} there); name another output, or add --overwrite"
            )
    write_json(path, settings)


def _read_settings(path: Path) -> object:
    return read_json_object(path, "add --overwrite to start the demo anew", error=ConfigError)
