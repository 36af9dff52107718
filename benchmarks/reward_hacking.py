"""Measure what each part of a reward pays for degenerate reports.

    python -m benchmarks.reward_hacking [--studies FOLDER | --reports CSV] [--parts NAME ...]
        [--class-rates FILE] [--crimson-endpoint URL] [--json RESULT.json] [--plot PLOT.svg]

References are phantom reports, the findings of a prepared set's test split (`--studies`), or a
column `findings` of a CSV file (`--reports`). Parts are, if none is named, all that may be trained
on and whose models are here, without judges and without those that need class rates. Each is paid
as in training: a report that states nothing earns nothing.

For every form of degenerate report (`degenerate.py`) and part: the mean pay with its 95 % bootstrap
interval over studies, and where the pay lies between a real report of another study (0) and the
reference itself (1). A form is *paid* if it earns more than the other study's report, interval of
the paired difference above 0. Texts are never written. The last line printed is one JSON object.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.degenerate import FORMS, References, read_references
from benchmarks.scoring_workload import phantom_findings, read_findings
from editgrpo.clinical.sources import find_source
from editgrpo.clinical.status import ModelState, model_status
from editgrpo.config import ClinicalConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.metrics.metric import Metric
from editgrpo.metrics.table import TABLE
from editgrpo.provenance import git_state, processor_name
from editgrpo.reports import load_annotator, load_labeler
from editgrpo.rewards import load_reward
from editgrpo.rewards.registry import REWARDS

RESAMPLES = 2000
REFERENCE, HONEST, *_ = FORMS
TOTAL = "reward/total@rules"
_PHANTOM_PATIENTS = 400
# A part that pays both honest reports the same says nothing of what lies between them.
_LEAST_ROOM = 0.01


def main() -> None:
    """Score the forms, print the table and write what was asked for."""
    arguments = parse_arguments()
    clinical = ClinicalConfig(
        models=arguments.models,
        offline=True,
        green_endpoint=arguments.green_endpoint,
        crimson_endpoint=arguments.crimson_endpoint,
        crimson_prompt=arguments.crimson_prompt,
    )
    parts = list(arguments.parts or available_parts(clinical))
    if arguments.custom is not None:
        parts.append(arguments.custom)
    source, texts = load_texts(arguments)
    references = read_references(texts, load_annotator("rules"), load_labeler("rules"))
    state = git_state()
    result = {
        "source": source,
        "references": len(texts),
        "normal": len(references.normal),
        "seed": arguments.seed,
        "commit": None if state is None else state.commit + ("+" if state.dirty else ""),
        "processor": processor_name(),
        "pay": measure(
            references,
            parts,
            clinical,
            seed=arguments.seed,
            class_rates=arguments.class_rates,
            custom=arguments.custom,
        ),
    }
    print(table(result))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        from benchmarks.reward_hacking_plot import draw

        draw(result, arguments.plot)
    print(json.dumps(result))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--studies", type=Path, help="a prepared folder; its test split is taken")
    group.add_argument("--reports", type=Path, help="a CSV file with a column `findings`")
    parser.add_argument("--parts", nargs="+", metavar="NAME", help="parts of a reward")
    parser.add_argument("--custom", metavar="MODULE:FUNCTION", help="a part of one's own, too")
    parser.add_argument("--models", help="folder of the clinical models")
    parser.add_argument("--class-rates", type=Path, help="for parts that need class rates")
    parser.add_argument("--green-endpoint", metavar="URL", help="server of the judge GREEN")
    parser.add_argument("--crimson-endpoint", metavar="URL", help="server of CRIMSON's judge")
    parser.add_argument("--crimson-prompt", metavar="FILE", help="the question to that judge")
    parser.add_argument("--limit", type=int, default=1000, help="most references")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--plot", type=Path, help="file for the plot; needs the extra `bench`")
    return parser.parse_args()


def available_parts(clinical: ClinicalConfig) -> list[str]:
    """Return what may be trained on and can be scored here, in the table's order."""
    return [name for name, metric in TABLE.items() if _is_available(metric, clinical)]


def _is_available(metric: Metric, clinical: ClinicalConfig) -> bool:
    if metric.refusal is not None or metric.needs_class_rates or metric.judge:
        return False
    states = (model_status(find_source(model, clinical)).state for model in metric.models)
    return all(state in (ModelState.PRESENT, ModelState.TOUCHED) for state in states)


def load_texts(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """Return where the references come from, in words, and the references."""
    if arguments.studies is not None:
        studies = StudySet.load(arguments.studies, split=Split.TEST)
        texts = [study.findings for study in studies if study.findings]
        source = f"test split of {arguments.studies.name}"
    elif arguments.reports is not None:
        # With their repetitions, unlike `read_findings`: how common a report is matters here.
        texts = read_findings(arguments.reports, distinct=False)
        source = f"findings of {arguments.reports.name}"
    else:
        texts = phantom_findings(_PHANTOM_PATIENTS, arguments.seed)
        source = f"phantom studies of {_PHANTOM_PATIENTS} patients"
    drawn = random.Random(arguments.seed).sample(texts, min(arguments.limit, len(texts)))
    return source, drawn


def measure(
    references: References,
    parts: Sequence[str],
    clinical: ClinicalConfig,
    *,
    seed: int = 0,
    class_rates: Path | None = None,
    custom: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Score every form with every part.

    Args:
        references: N reports.
        parts: Components of rewards.
        clinical: Where the models lie, and judges are asked.
        seed: Of the forms that draw.
        class_rates: For parts that need them.
        custom: Import path of the part that is one's own, if one is.

    Returns:
        Form to part to what it earns; see `_pay`. `reward/total@rules` stands behind the parts if
        all that it sums are among them.
    """
    weights = dict.fromkeys(parts, 1.0)
    reward = load_reward(
        "custom", weights, custom=custom, clinical=clinical, class_rates=class_rates
    )
    scored = {}
    for name, form in FORMS.items():
        reports = form(references, random.Random(seed))
        made = [index for index, report in enumerate(reports) if report is not None]
        scores = reward.score(
            [str(reports[index]) for index in made], [references.texts[index] for index in made]
        )
        columns = dict(scores.components)
        if set(REWARDS["rules"]) <= set(parts):
            columns[TOTAL] = np.sum([columns[part] for part in REWARDS["rules"]], axis=0)
        scored[name] = np.array(made), columns
        print(f"{name}: {len(made)} reports", file=sys.stderr)
    return {
        name: {
            part: _pay(values, made, *(scored[honest][1][part] for honest in (HONEST, REFERENCE)))
            for part, values in columns.items()
        }
        for name, (made, columns) in scored.items()
    }


def _pay(
    values: NDArray[np.float64],
    made: NDArray[np.intp],
    honest_N: NDArray[np.float64],
    reference_N: NDArray[np.float64],
) -> dict[str, Any]:
    """State what one part pays for one form.

    Args:
        values: (M,) scores of the reports of the form.
        made: (M,) the studies that gave one.
        honest_N: (N,) scores of another study's report.
        reference_N: (N,) scores of the reference itself.

    Returns:
        Reports, their mean with the ends of its interval, `place` (0 for another study's report, 1
        for the reference; over the same studies; None where both earn about the same) and whether
        the form is `paid`.
    """
    honest, reference = honest_N[made], reference_N[made]
    draws = np.random.default_rng(0).integers(len(made), size=(RESAMPLES, len(made)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    lead = np.quantile((values - honest)[draws].mean(axis=1), 0.025)
    room = reference.mean() - honest.mean()
    return {
        "reports": len(made),
        "mean": round(float(values.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "place": round(float((values - honest).mean() / room), 3) if room > _LEAST_ROOM else None,
        "paid": bool(lead > 0),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as a table in Markdown; what is paid stands in bold."""
    pay = result["pay"]
    parts = list(pay[REFERENCE])
    lines = [
        "| report | studies | " + " | ".join(f"`{part}`" for part in parts) + " |",
        "|---" * (len(parts) + 2) + "|",
    ]
    for name, row in pay.items():
        cells = [_cell(row[part], is_honest=name in (REFERENCE, HONEST)) for part in parts]
        lines.append(f"| {name} | {row[parts[0]]['reports']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(pay: dict[str, Any], *, is_honest: bool) -> str:
    value = f"{pay['mean']:.3f}"
    return f"**{value}**" if pay["paid"] and not is_honest else value


if __name__ == "__main__":
    main()
