"""GREEN against RadEval 2.2.1: the question, its tokens, a checkpoint's answers, and what is read
from answers."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from editgrpo.config import ClinicalConfig
from editgrpo.metrics.green import parse_answer
from editgrpo.metrics.green.local import LocalBackend, _load, _token_ids
from editgrpo.metrics.green.parse import _clean
from editgrpo.metrics.green.prompt import build_prompt
from tests.checkpoints.green import build_green
from tests.parity.clinical.conftest import OracleRunner

pytestmark = pytest.mark.parity

REPORTS = [
    ("The heart is enlarged. No pleural effusion.", "The lungs are clear.  The heart is normal."),
    ("", "Clear lungs."),
    ("Naïve 5 µm nodule ≥ 2\n\nin the left lung.", "Nodule."),
    ("The lungs are clear. " * 120, "No effusion. $5 {text1}"),
]
SHORT = REPORTS[:3]
PIECES = [
    "[Explanation]:", "[Explanation]:\n    <Explanation>\n", "[Clinically Significant Errors]:",
    "[Clinically Insignificant Errors]:", "[Matched Findings]:", "<|assistant|>", "</s>", "<unk>",
    "\n", "\n\n", "\n \n", " ", "No", "No errors.", "(a) ", "(a) x: 1.", "(b) y: 2. Z: 5.",
    "(f) z: 12", "(1) x: 3.", "(6) y: 1.", "(c) Heart: 0.", ": ", "4.", "2. A; b.", "10. ", "1.5",
    "three", "(a) p: 7.", "٣.", "\u2003", "\x1c",
]  # fmt: skip


def random_answers(count: int) -> list[str]:
    """Answers thrown together from what the parser looks at, most of them badly formed."""
    draw = random.Random(5)
    return ["".join(draw.choices(PIECES, k=draw.randint(0, 24))) for _ in range(count)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ClinicalConfig:
    folder = tmp_path_factory.mktemp("models")
    build_green(folder / "green")
    torch.set_num_threads(1)
    return ClinicalConfig(models=str(folder), device="cpu")


def checkpoint(config: ClinicalConfig) -> str:
    return str(Path(str(config.models)) / "green")


def test_questions_are_the_same(run_oracle: OracleRunner) -> None:
    said = run_oracle(Path("green.py"), {"reports": REPORTS, "answers": []}, package="radeval")
    assert [build_prompt(*pair) for pair in REPORTS] == said["questions"]


def test_counts_and_scores_are_the_same_for_any_answer(run_oracle: OracleRunner) -> None:
    answers = random_answers(20_000)
    said = run_oracle(Path("green.py"), {"reports": [], "answers": answers}, package="radeval")
    ours = [parse_answer(answer) for answer in answers]
    counts = [[*one.significant_errors.values(), one.matched_findings] for one in ours]
    assert counts == said["counts"]
    np.testing.assert_array_equal([one.score for one in ours], said["scores"])
    assert len(set(said["scores"])) > 20  # the answers are not all alike


def test_a_checkpoint_gives_the_same_answers(
    config: ClinicalConfig, run_oracle: OracleRunner
) -> None:
    questions = [build_prompt(*pair) for pair in SHORT]
    tokenizer = _load(config)[1]
    limit = max(len(_token_ids(tokenizer, one)) for one in questions) + 8
    request = {
        "reports": SHORT,
        "answers": [],
        "folder": checkpoint(config),
        "max_tokens": limit,
        "adds_bos": True,
    }
    said = run_oracle(Path("green.py"), request, package="radeval")
    assert _token_ids(tokenizer, questions[0]) == said["token_ids"]
    ours = [_clean(one).strip() for one in LocalBackend(config, max_tokens=limit).answer(questions)]
    assert ours == [answer.strip() for answer in said["generated"]]
    assert len(set(ours)) > 1


def test_the_package_loses_the_beginning_of_sequence_token(
    config: ClinicalConfig, run_oracle: OracleRunner
) -> None:
    # `add_eos_token=True` makes transformers 5 forget the checkpoint's `add_bos_token: true`. With
    # transformers 4, which the judge's scores were published with, and in its training, the token
    # stood there; ours has it.
    question = build_prompt(*SHORT[0])
    tokenizer = _load(config)[1]
    ours = _token_ids(tokenizer, question)
    request = {
        "reports": SHORT[:1],
        "answers": [],
        "folder": checkpoint(config),
        "max_tokens": len(ours) + 1,
        "adds_bos": False,
    }
    said = run_oracle(Path("green.py"), request, package="radeval")
    assert ours == [tokenizer.bos_token_id, *said["token_ids"]]
