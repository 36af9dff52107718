"""Runs that write impressions, or both sections: fine-tuning, training, generation."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from editgrpo.cli import main
from editgrpo.config import (
    ClinicalConfig,
    DataConfig,
    EditConfig,
    OptimConfig,
    RolloutConfig,
    SFTConfig,
    Target,
)
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import store
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import read_predictions
from editgrpo.files import read_jsonl
from editgrpo.rewards import load_reward
from editgrpo.rewards.sectioned import SectionedReward
from editgrpo.training.collator import FindingsCollator
from editgrpo.training.generate import GenerationConfig, generate_predictions
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.prompts import PromptEncoder, load_split
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.builders import write_set
from tests.training.tiny_run import SENTENCES, Tiny

IMPRESSIONS = SENTENCES[:2]


@pytest.fixture(scope="module")
def studies(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies of the tiny runs; every second one of them has an impression."""
    given = StudySet.load(tiny.studies)
    films = {image_id: given.images.load(image_id) for image_id in given.images}
    written = [
        replace(study, impression=IMPRESSIONS[k // 2 % 2] if k % 2 == 0 else "")
        for k, study in enumerate(given)
    ]
    budget = PixelBudget(min_pixels=28**2, max_pixels=56**2)
    return write_set(tmp_path_factory.mktemp("target") / "set", written, films, budget=budget)


def data(studies: Path, target: Target) -> DataConfig:
    return DataConfig(folder=str(studies), target=target)


def references(folder: Path, split: Split, target: Target) -> dict[str, str]:
    loaded = StudySet.load(folder, split=split, target=target, needs_reference=True)
    return {study.study_id: study.reference for study in loaded}


@pytest.mark.parametrize("target", [Target.IMPRESSION, Target.BOTH])
def test_the_tokens_to_learn_are_the_reference(tiny: Tiny, studies: Path, target: Target) -> None:
    processor = load_processor(tiny.checkpoint)
    chosen = load_split(data(studies, target), Split.TRAIN)
    encoder = PromptEncoder(chosen, processor, data(studies, target))
    collate = FindingsCollator(chosen, encoder)
    labels = collate([{"index": 0}, {"index": 1}])["labels"]
    for study, row in zip(chosen[:2], labels, strict=True):
        ids = row[row != -100].tolist()
        assert ids[-1] == processor.tokenizer.eos_token_id
        assert processor.tokenizer.decode(ids[:-1]) == study.reference


def test_what_is_left_out_is_counted(
    tiny: Tiny, studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = StudySet.load(studies, split=Split.TRAIN)
    kept = load_split(data(studies, Target.IMPRESSION), Split.TRAIN)
    assert [study.study_id for study in kept] == [one.study_id for one in whole if one.impression]
    missing = len(whole) - len(kept)
    assert f"{missing} of {len(whole)} train studies lack impression" in caplog.text
    three = replace(data(studies, Target.BOTH), train_limit=3)
    assert len(load_split(three, Split.TRAIN)) == 3
    caplog.clear()
    assert len(load_split(data(studies, Target.FINDINGS), Split.TRAIN)) == len(whole)
    assert not caplog.records, "all of them have findings"
    with pytest.raises(DataError, match=r"no train study has impression, as data\.target"):
        load_split(data(tiny.studies, Target.IMPRESSION), Split.TRAIN)
    two = replace(data(tiny.studies, Target.IMPRESSION), train_limit=2)
    asked = load_split(two, Split.TRAIN, without_references=True)
    assert [one.target for one in asked] == [Target.IMPRESSION] * 2


def test_a_split_is_read_once(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = store._read_table

    def reading(path: Path) -> object:
        read.append(path)
        return original(path)

    monkeypatch.setattr(store, "_read_table", reading)
    kept = load_split(data(studies, Target.IMPRESSION), Split.TRAIN)
    assert kept.left_out and [path.name for path in read] == ["train.arrow"]


@pytest.mark.slow
@pytest.mark.parametrize("target", [Target.IMPRESSION, Target.BOTH])
def test_a_run_learns_edits_and_scores_its_target(
    tiny: Tiny, studies: Path, tmp_path: Path, target: Target
) -> None:
    fine_tuned = run_sft(
        SFTConfig(
            model=tiny.model(),
            data=data(studies, target),
            optim=OptimConfig(learning_rate=1e-2),
            epochs=4,
            batch_size=4,
            micro_batch_size=4,
            max_completion_tokens=48,
            reward=tiny.train_config(tmp_path).reward,
            clinical=ClinicalConfig(),
            output=str(tmp_path / "sft"),
        )
    )
    card = (fine_tuned / "README.md").read_text()
    assert ("IMPRESSION: ...`" if target is Target.BOTH else "the impression of a study") in card
    config = tiny.train_config(
        tmp_path / "run",
        model=tiny.model(path=str(fine_tuned)),
        data=data(studies, target),
        edit=EditConfig(max_edits=2),
        rollout=RolloutConfig(group_size=4, max_completion_tokens=64),
        steps=2,
    )
    model = run_training(config)
    wanted = references(studies, Split.TRAIN, target)
    rollouts = [row for _, row in read_jsonl(tmp_path / "run" / "rollouts.jsonl")]
    assert rollouts and all(row["reference"] == wanted[row["study_id"]] for row in rollouts)
    for row in rollouts:
        for inserted in (row["edit"] or {"inserted": []})["inserted"]:
            assert inserted["text"] in row["reference"]
    assert any(row["edit"] and row["edit"]["inserted"] for row in rollouts)

    output = tmp_path / "predictions.jsonl"
    generate_predictions(
        model=str(model),
        data=data(studies, target),
        split=Split.VALIDATION,
        output=output,
        config=GenerationConfig(max_completion_tokens=48),
    )
    predictions = read_predictions(output)
    assert {one.study_id: one.reference for one in predictions} == references(
        studies, Split.VALIDATION, target
    )
    assert {one.target for one in predictions} == {target}


@pytest.mark.slow
def test_a_preference_set_asks_for_edits_and_scores_both_sections(
    tiny: Tiny, studies: Path, tmp_path: Path
) -> None:
    output = tmp_path / "pairs.parquet"
    settings = ["--studies", str(studies), "--set", "data.target=findings+impression"]
    sampling = ["--samples", "2", "--max-completion-tokens", "64", "--min-gain=-9"]
    with pytest.raises(SystemExit) as stop:
        main(["pairs", str(tiny.checkpoint), *settings, *sampling, "--output", str(output)])
    assert stop.value.code == 0
    rows = pq.read_table(output).drop_columns("images").to_pylist()
    wanted = references(studies, Split.TRAIN, Target.BOTH)
    reward = SectionedReward(load_reward("rules"))
    answers = []
    for row in rows:
        chosen, rejected = (row[name][0]["content"][0]["text"] for name in ("chosen", "rejected"))
        totals = reward.score([chosen, rejected], [wanted[row["study_id"]]] * 2).total.tolist()
        assert [row["chosen_reward"], row["rejected_reward"]] == pytest.approx(totals)
        assert "impression" in row["prompt"][0]["content"][-1]["text"].lower()
        answers.append((chosen, rejected))
    assert any("IMPRESSION:" in chosen and "IMPRESSION:" not in one for chosen, one in answers), (
        "a section that the rollout lacks is added under its heading"
    )


@pytest.mark.slow
def test_predictions_of_findings_are_as_they_were(
    tiny: Tiny, studies: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.jsonl"
    generate_predictions(
        model=str(tiny.checkpoint),
        data=data(studies, Target.FINDINGS),
        split=Split.VALIDATION,
        output=output,
        config=GenerationConfig(max_completion_tokens=8),
    )
    keys = {"study_id", "patient_id", "prediction", "reference", "truncated"}
    assert all(set(json.loads(line)) == keys for line in output.read_text().splitlines())
