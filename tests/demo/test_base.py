"""The base model that the package brings along, and the command that makes it anew."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from editgrpo.config import SFTConfig
from editgrpo.data.study import Split
from editgrpo.demo.base import (
    CARD,
    QUICK_BASE,
    WEIGHTS,
    BaseSize,
    train_base,
)
from editgrpo.demo.places import BASE_MODEL, PROMPT, RECIPES, TRAINING
from editgrpo.demo.sites import EYES
from editgrpo.display.terminal import ProgressCallback
from editgrpo.evaluation.files import evaluate_file
from editgrpo.files import read_jsonl
from editgrpo.phantom import write_phantom
from editgrpo.recipes import load_recipe
from editgrpo.training.generate import GenerationConfig, generate_predictions


@contextmanager
def silent(description: str) -> Iterator[ProgressCallback]:
    yield lambda done, total: None


@pytest.fixture(scope="module")
def facts() -> dict[str, object]:
    loaded: dict[str, object] = json.loads((BASE_MODEL / TRAINING).read_text())
    return loaded


def test_it_is_small_and_in_half_precision() -> None:
    assert (BASE_MODEL / WEIGHTS).stat().st_size <= 6_000_000
    with safe_open(BASE_MODEL / WEIGHTS, framework="pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {  # noqa: SIM118
            "torch.float16"
        }


def test_its_card_names_its_hash_and_scores(facts: dict[str, object]) -> None:
    digest = hashlib.sha256((BASE_MODEL / WEIGHTS).read_bytes()).hexdigest()
    assert facts["sha256"] == digest
    card = (BASE_MODEL / CARD).read_text()
    assert digest in card
    scores = facts["scores"]
    assert isinstance(scores, dict)
    for name, value in scores.items():
        assert f"| {name} | {value:.3f} |" in card


@pytest.mark.slow
def test_it_sees_what_its_card_says(facts: dict[str, object], tmp_path: Path) -> None:
    # Studies of another seed than those that it was trained and tested on.
    write_phantom(tmp_path / "set", studies=240, site=EYES, seed=77, split_shares=(0, 0, 1))
    data = load_recipe(RECIPES / "base.yaml", SFTConfig).data
    predictions = tmp_path / "predictions.jsonl"
    generate_predictions(
        model=str(BASE_MODEL),
        data=replace(
            data,
            folder=str(tmp_path / "set"),
            prompt_template=str(PROMPT),
            validation_limit=None,
        ),
        split=Split.TEST,
        output=predictions,
        config=GenerationConfig(max_completion_tokens=80, batch_size=64),
    )
    found = evaluate_file(predictions, output=tmp_path / "scores", system="base")
    scores = facts["scores"]
    assert isinstance(scores, dict)
    # The standard error of a micro-F1 of 240 studies is about .02.
    name = "rules/micro-f1-14"
    assert found.metrics[name].value == pytest.approx(scores[name], abs=0.06)


@pytest.mark.slow
def test_a_small_base_is_made_whole_and_not_twice(tmp_path: Path) -> None:
    size = BaseSize(studies=80, steps=2, reading_studies=240, reading_steps=2)
    folder = train_base(tmp_path, size=size, command="a test", progress_bar=silent)
    made = {path.name for path in folder.iterdir()}
    assert {CARD, TRAINING, WEIGHTS, "config.json", "tokenizer.json"} <= made
    before = (folder / WEIGHTS).read_bytes()
    stages: list[str] = []

    @contextmanager
    def noting(description: str) -> Iterator[ProgressCallback]:
        stages.append(description)
        yield lambda done, total: None

    train_base(tmp_path, size=size, command="a test", progress_bar=noting)
    # Which find that nothing is left to do.
    assert stages == ["Learning to see", "Learning words"]
    assert (folder / WEIGHTS).read_bytes() == before


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 160 steps of training, on a machine that may be busy
def test_a_tenth_of_the_training_begins_as_the_whole_did(
    facts: dict[str, object], tmp_path: Path
) -> None:
    # What it reads afterwards is not looked at here.
    size = replace(QUICK_BASE, reading_studies=240, reading_steps=2)
    train_base(tmp_path, size=size, command="a test", progress_bar=silent)
    losses = [
        row["loss"] for _, row in read_jsonl(tmp_path / "sft" / "metrics.jsonl") if "loss" in row
    ]
    whole = facts["losses"]
    assert isinstance(whole, list)
    # Other studies in another order, and a learning rate that falls sooner: alike, not the same.
    assert losses[:50] == pytest.approx(whole[:50], rel=0.15)
    assert sum(losses[-10:]) / 10 == pytest.approx(sum(whole[-10:]) / 10, rel=0.15)
