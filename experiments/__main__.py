"""The paper's study in miniature: run its tables, show them, measure the gate, build the page.

python -m experiments run paper-table-1 --seeds 0 1 2 3 4 --jobs 2
python -m experiments show paper-table-1 --stage unsaid --json
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from editgrpo.errors import ConfigError, EditGRPOError
from editgrpo.files import write_json
from editgrpo.recipes import parse_override
from experiments.corpora import NAMED_PROFILES, Corpus
from experiments.definitions import (
    TRIAL,
    Arm,
    Stage,
    Table,
    load_arms,
    load_stage,
    load_table,
    names_in,
    with_trial,
)
from experiments.places import Places

_SEEDS = (0, 1, 2, 3, 4)
_ALL = "all"


def main(words: Sequence[str] | None = None) -> None:
    """Run a command; what is wrong is one line and exit status 1."""
    arguments = _parser().parse_args(words)
    try:
        arguments.command(arguments)
    except EditGRPOError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], about: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument(
            "--study", type=Path, default=Places().study, help="arms, stages, tables and results"
        )
        added.add_argument("--work", type=Path, default=Places().work, help="data sets and runs")
        added.set_defaults(command=run)
        return added

    run = command("run", _run, "run what a table needs and is not there yet")
    run.add_argument("table")
    run.add_argument("--stage", default=_ALL, help=f"one of its stages, or {_ALL}")
    run.add_argument("--seeds", type=int, nargs="+", default=list(_SEEDS))
    run.add_argument("--jobs", type=int, default=2, help="most runs at once, one core each")
    run.add_argument("--arms", nargs="+", help="only these arms of the table")
    show = command("show", _show, "show a table from the results that are there")
    show.add_argument("table")
    show.add_argument("--stage", required=True)
    show.add_argument("--json", action="store_true", help="end with one JSON object")
    command("list", _list, "list tables, their stages and how many of their runs are done")
    _gate_options(command("gate", _gate, "measure what a model sees and what it says"))
    page = command("page", _page, "put tables and plots of all results into docs/miniature.md")
    page.add_argument("--page", type=Path, default=None, help="another page")
    tune = command("tune", _tune, "try learning rates on the validation part of RL's studies")
    tune.add_argument("stage")
    tune.add_argument("--arms", nargs="+", required=True)
    tune.add_argument("--rates", type=float, nargs="+", required=True)
    tune.add_argument("--seeds", type=int, nargs="+", default=[0])
    tune.add_argument("--jobs", type=int, default=2, help="most runs at once, one core each")
    job = command("job", _job, "run one arm at one stage with one seed")
    job.add_argument("stage")
    job.add_argument("arm")
    job.add_argument("--seed", type=int, required=True)
    return parser


def _gate_options(gate: argparse.ArgumentParser) -> None:
    gate.add_argument("stage", nargs="?", help="of whose SFT model; or give --model and --profile")
    gate.add_argument("--model", metavar="DIR", help="folder of a model")
    gate.add_argument("--profile", help=f"a stage, or one of {', '.join(NAMED_PROFILES)}")
    gate.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the profile, such as phrasing.phrase_decay=0.3",
    )
    gate.add_argument("--samples", type=int, help="fewest samples of a finding")
    gate.add_argument("--studies", type=int, help="balanced studies")
    gate.add_argument("--max-tokens", type=int, help="longest report")
    gate.add_argument("--seed", type=int, default=0)
    gate.add_argument("--output", type=Path, help="write the JSON object here")


def _places(arguments: argparse.Namespace) -> Places:
    return Places(work=arguments.work, study=arguments.study)


def _table(arguments: argparse.Namespace) -> tuple[dict[str, Arm], Table]:
    arms = load_arms(arguments.study)
    return arms, load_table(arguments.table, arms, arguments.study)


def _stage_of(table: Table, name: str, study: Path) -> Stage:
    if name not in table.stages:
        raise ConfigError(f"table {table.name} has no stage {name!r}; it has {table.stages}")
    return load_stage(name, study)


def _run(arguments: argparse.Namespace) -> None:
    from experiments.runner import Wanted, jobs_of, run_jobs

    arms, table = _table(arguments)
    if arguments.jobs < 1:
        raise ConfigError(f"--jobs is {arguments.jobs}; it must be at least 1")
    for name in arguments.arms or ():
        if name not in table.arms:
            raise ConfigError(f"table {table.name} has no arm {name!r}; it has {table.arms}")
    names = table.stages if arguments.stage == _ALL else (arguments.stage,)
    wanted = Wanted(
        stages=[_stage_of(table, name, arguments.study) for name in names],
        arms=arms,
        names=arguments.arms or table.arms,
        seeds=arguments.seeds,
        places=_places(arguments),
    )
    options = ["--study", str(arguments.study), "--work", str(arguments.work)]
    run_jobs(jobs_of(wanted), most=arguments.jobs, options=options)


def _job(arguments: argparse.Namespace) -> None:
    from experiments.job import Job, run_job

    stage = load_stage(arguments.stage, arguments.study)
    run_job(
        Job(
            stage=stage,
            arms=with_trial(load_arms(arguments.study), stage, arguments.arm),
            arm=arguments.arm,
            seed=arguments.seed,
            places=_places(arguments),
        )
    )


def _tune(arguments: argparse.Namespace) -> None:
    from experiments.runner import Wanted, jobs_of, run_jobs
    from experiments.tune import tuned, tuning_grid

    stage, arms = load_stage(arguments.stage, arguments.study), load_arms(arguments.study)
    rates = [f"{rate:g}" for rate in arguments.rates]
    names = [TRIAL.format(arm=arm, rate=rate) for arm in arguments.arms for rate in rates]
    for name in names:
        arms = with_trial(arms, stage, name)
    places = _places(arguments)
    wanted = Wanted(stages=[stage], arms=arms, names=names, seeds=arguments.seeds, places=places)
    options = ["--study", str(arguments.study), "--work", str(arguments.work)]
    run_jobs(jobs_of(wanted), most=arguments.jobs, options=options)
    found = tuned(stage, names, places)
    Console().print(tuning_grid(stage, found).for_terminal())
    print(json.dumps(found))


def _show(arguments: argparse.Namespace) -> None:
    from experiments.judge import judge, paired_record
    from experiments.show import shown_table

    arms, table = _table(arguments)
    stage = _stage_of(table, arguments.stage, arguments.study)
    judged = judge(table, stage, arms, _places(arguments))
    console = Console()
    for part in shown_table(judged):
        console.print(part)
    if arguments.json:
        print(json.dumps(paired_record(judged)))


def _list(arguments: argparse.Namespace) -> None:
    from experiments.show import overview

    Console().print(overview(_places(arguments), load_arms(arguments.study)))


def _page(arguments: argparse.Namespace) -> None:
    from experiments.page import build_page

    for path in build_page(_places(arguments), arguments.page):
        print(path)


def _gate(arguments: argparse.Namespace) -> None:
    from experiments.gate import run_gate
    from experiments.gate_table import gate_table

    model, corpus, stage = _gated(arguments)
    messages = Console(stderr=True)
    found = run_gate(
        model,
        corpus,
        work=arguments.work / "studies",
        size=_gate_size(arguments, stage),
        bands=stage.bands if stage is not None else _default_bands(),
        seed=arguments.seed,
        say=lambda what: messages.print(f"… {what}", style="dim"),
    )
    if arguments.stage is not None:
        found = found | {"stage": arguments.stage, "model": f"{arguments.stage}/sft"}
        write_json(_places(arguments).gate(arguments.stage, arguments.seed), found, shared=True)
    if arguments.output is not None:
        write_json(arguments.output, found)
    Console().print(gate_table(found))
    print(json.dumps(found))


def _default_bands() -> Any:
    from experiments.gate import Bands

    return Bands()


def _gate_size(arguments: argparse.Namespace, stage: Stage | None) -> Any:
    from dataclasses import replace

    from experiments.gate import GateSize

    given = {
        "samples": arguments.samples,
        "balanced_studies": arguments.studies,
        "max_tokens": arguments.max_tokens,
    }
    size = stage.gate if stage is not None else GateSize()
    return replace(size, **{name: value for name, value in given.items() if value is not None})


def _gated(arguments: argparse.Namespace) -> tuple[str, Corpus, Stage | None]:
    """Return the model of a gate, the site, and the stage if one is named."""
    stage = None
    if arguments.stage is not None:
        stage = load_stage(arguments.stage, arguments.study)
        if arguments.changes or arguments.profile:
            raise ConfigError("a stage has its profile; leave --profile and --set out")
        model = arguments.model or _sft_model(stage, arguments)
        return model, stage.site_corpus(), stage
    if arguments.model is None or arguments.profile is None:
        raise ConfigError("name a stage, or give --model and --profile")
    if arguments.profile in names_in(arguments.study / "stages"):
        stage = load_stage(arguments.profile, arguments.study)
        return arguments.model, stage.site_corpus(), stage
    corpus = Corpus(profile=arguments.profile, changes=_nested(arguments.changes))
    return arguments.model, corpus, None


def _sft_model(stage: Stage, arguments: argparse.Namespace) -> str:
    """Return the model that RL starts from at a stage, trained now if it is not there."""
    from experiments.definitions import BASE
    from experiments.job import Job
    from experiments.runner import run_jobs

    arms, places = load_arms(arguments.study), _places(arguments)
    name = next(name for name, arm in arms.items() if arm.start == BASE)
    job = Job(stage=stage, arms=arms, arm=name, seed=arguments.seed, places=places)
    if not job.has_model:
        run_jobs([job], most=1, options=["--study", str(places.study), "--work", str(places.work)])
    return str(job.run / stage.start_folder)


def _nested(overrides: Sequence[str]) -> dict[str, object]:
    """Turn `a.b=value` texts into nested mappings."""
    result: dict[str, object] = {}
    for override in overrides:
        key, value = parse_override(override)
        *outer, last = key.split(".")
        section = result
        for name in outer:
            inner = section.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {override}: {name} was given a value before")
            section = inner
        section[last] = value
    return result


if __name__ == "__main__":
    main()
