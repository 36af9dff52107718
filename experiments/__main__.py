"""The command line: `python -m experiments COMMAND`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from editgrpo.errors import ConfigError, EditGRPOError
from editgrpo.files import write_json
from editgrpo.recipes import parse_override
from experiments.corpora import NAMED_PROFILES, Corpus

WORK = Path("runs/experiments")
"""Studies and runs; not committed."""


def main(words: Sequence[str] | None = None) -> None:
    """Run a command; what is wrong is one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_gate(commands)
    arguments = parser.parse_args(words)
    try:
        arguments.run(arguments)
    except EditGRPOError as error:
        sys.exit(f"error: {error}")


def _add_gate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    gate = commands.add_parser("gate", help="measure what a model sees and what it says")
    gate.add_argument("--model", required=True, metavar="DIR", help="folder of the model")
    gate.add_argument("--profile", required=True, help=f"one of {', '.join(NAMED_PROFILES)}")
    gate.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the profile, such as phrasing.phrase_decay=0.3",
    )
    gate.add_argument("--samples", type=int, default=200, help="fewest samples of a finding")
    gate.add_argument("--studies", type=int, default=2500, help="balanced studies")
    gate.add_argument("--max-tokens", type=int, default=80, help="longest report")
    gate.add_argument("--seed", type=int, default=0, help="of the draws")
    gate.add_argument("--output", type=Path, help="also write the JSON object here")
    gate.set_defaults(run=_gate)


def _gate(arguments: argparse.Namespace) -> None:
    from experiments.gate import Bands, GateSize, run_gate
    from experiments.gate_table import gate_table

    messages = Console(stderr=True)
    found = run_gate(
        arguments.model,
        Corpus(profile=arguments.profile, changes=_nested(arguments.changes)),
        work=WORK / "studies",
        size=GateSize(
            samples=arguments.samples,
            balanced_studies=arguments.studies,
            max_tokens=arguments.max_tokens,
        ),
        bands=Bands(),
        seed=arguments.seed,
        say=lambda what: messages.print(f"… {what}", style="dim"),
    )
    if arguments.output is not None:
        write_json(arguments.output, found)
    Console().print(gate_table(found))
    print(json.dumps(found))


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
