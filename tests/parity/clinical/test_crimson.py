"""CRIMSON against crimson-score 0.2.0: scores of judgements, judgements of answers, and the
authors' question by way of a file. What a judge answers cannot be compared without one."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from editgrpo.metrics.crimson.prompt import SEPARATOR, load_prompt
from editgrpo.metrics.crimson.score import read_judgement, score_judgement
from tests.metrics.crimson.judgements import CASES, judgement
from tests.parity.clinical.conftest import OracleRunner

pytestmark = pytest.mark.parity

REPORTS = [
    ["The heart is enlarged. No pleural effusion.", "The lungs are clear.  The heart is normal."],
    ["", "Clear lungs."],
    ["Naïve 5 µm nodule ≥ 2\n\nin the {left} lung.", "Nodule, 100 %."],
]
LEVELS = ["urgent", "actionable_not_urgent", "not_actionable_not_urgent", "benign_expected", "?"]
KINDS = ["location", "severity", "descriptor", "measurement", "certainty", "unspecific"]
KINDS += ["overinterpretation", "temporal", "another"]


def random_judgements(count: int) -> list[dict[str, Any]]:
    """Judgements thrown together: most contradict themselves, as a model's may."""
    draw = random.Random(3)

    def some(letter: str) -> list[str]:
        return [f"{letter}{draw.randint(1, 5)}" for _ in range(draw.randint(0, 4))]

    def pairs() -> list[str]:
        return [f"R{draw.randint(1, 5)}-P{draw.randint(1, 5)}" for _ in range(draw.randint(0, 4))]

    return [
        judgement(
            {one: draw.choice(LEVELS) for one in some("R")},
            {one: draw.choice(LEVELS) for one in some("P")},
            matched=" ".join(pairs()),
            false=" ".join(some("P")),
            missing=" ".join(some("R")),
            attributes=" ".join(
                f"{pair}:{draw.choice(['significant', 'negligible', 'mild'])}:"
                f"{','.join(draw.sample(KINDS, draw.randint(1, 3)))}"
                for pair in pairs()
            ),
        )
        for _ in range(count)
    ]


JUDGEMENTS = [found for found, _ in CASES.values()] + random_judgements(2000)
# What both read: a whole object, bad escapes and doubled keys apart.
ANSWERS = [json.dumps(found, indent=indent) for found in JUDGEMENTS[:40] for indent in (None, 4)]
ANSWERS += [ANSWERS[0][:-1] + ', "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}]}']


def ask(run_oracle: OracleRunner, *, guidelines: bool) -> dict[str, Any]:
    request = {
        "reports": REPORTS,
        "guidelines": guidelines,
        "judgements": JUDGEMENTS,
        "answers": ANSWERS,
    }
    return run_oracle(Path("crimson.py"), request, package="crimson-score")


def test_scores_and_counts_are_the_same_for_any_judgement(run_oracle: OracleRunner) -> None:
    said = ask(run_oracle, guidelines=False)
    results = [score_judgement(found) for found in JUDGEMENTS]
    assert [result.score for result in results] == said["scores"]
    for result, counts in zip(results, said["counts"], strict=True):
        assert result.false_findings == counts["false_findings"]
        assert result.missing_findings == counts["missing_findings"]
        for kind, count in result.attribute_errors.items():
            assert count == counts[f"{kind}_errors"]
    assert len(set(said["scores"])) > 50


def test_judgements_are_read_alike(run_oracle: OracleRunner) -> None:
    assert [read_judgement(one) for one in ANSWERS] == ask(run_oracle, guidelines=False)["read"]


@pytest.mark.parametrize("guidelines", [False, True])
def test_the_authors_question_comes_by_a_file(
    run_oracle: OracleRunner, tmp_path: Path, guidelines: bool
) -> None:
    said = ask(run_oracle, guidelines=guidelines)
    # As docs/metrics.md writes it: the question about two marks, which become the places.
    empty = said["questions"][1]
    text = empty.replace("$", "$$").replace("Clear lungs.", "$candidate")
    head, tail = text.split("(Ground Truth):\n", 1)
    file = tmp_path / "prompt.txt"
    file.write_text(
        f"{said['system']}\n{SEPARATOR}\n{head}(Ground Truth):\n$reference{tail}", "utf-8"
    )
    prompt = load_prompt(str(file))
    assert prompt.system == said["system"]
    assert [prompt.question(*pair) for pair in REPORTS] == said["questions"]
