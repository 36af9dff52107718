"""Preference sets of rollouts and their edits: what is in them, and that TRL trains on them."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from PIL import Image

from editgrpo.config import EditConfig, EditLevel, RolloutConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, DataError
from editgrpo.reports import load_annotator
from editgrpo.rewards import load_reward
from editgrpo.training.pairs import PairConfig, preferred, recorded_pairs, sampled_pairs
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import StudyProcessor
from editgrpo.training.preference_set import Pair, write_preference_set
from editgrpo.training.train import run_training
from tests.training.policy.test_processor import stock_processor
from tests.training.tiny_run import Tiny

CONFIG = PairConfig(samples=2, max_completion_tokens=48, batch_size=4)
PAIR = Pair(
    study_id="s",
    chosen="The heart is enlarged.",
    rejected="No pneumothorax.",
    rule="replacement",
    chosen_reward=0.75,
    rejected_reward=0.5,
)


def test_pairs_without_gain_and_repeated_ones_are_left_out() -> None:
    worse, equal = replace(PAIR, chosen_reward=0.25), replace(PAIR, chosen_reward=0.5)
    other = replace(PAIR, study_id="t")
    again = replace(PAIR, rule="deletion")
    assert preferred([worse, equal, PAIR, again, other], min_gain=0) == [PAIR, other]
    assert preferred([PAIR], min_gain=0.25) == []


@pytest.fixture(scope="module")
def sampled(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Pair], Path]:
    partial = tmp_path_factory.mktemp("pairs") / "pairs.parquet.partial"
    found = sampled_pairs(str(tiny.checkpoint), tiny.data(), Split.TRAIN, partial, CONFIG)
    return found, partial


@pytest.mark.slow
def test_sampled_pairs_are_edits_of_the_studys_own_rollouts(
    tiny: Tiny, sampled: tuple[list[Pair], Path]
) -> None:
    """What is chosen differs, and both rewards are those of the reward against the reference."""
    pairs, _ = sampled
    studies = StudySet.load(tiny.studies, split=Split.TRAIN)
    assert len(pairs) > 10
    reward = load_reward("rules")
    for pair in pairs:
        study = studies.find(pair.study_id)
        assert study is not None and pair.chosen != pair.rejected
        totals = reward.score([pair.chosen, pair.rejected], [study.findings] * 2).total.tolist()
        assert [pair.chosen_reward, pair.rejected_reward] == pytest.approx(totals)
    better = [pair for pair in preferred(pairs, min_gain=0) if pair.rule == "augmentation"]
    annotator = load_annotator("rules")
    for pair in better:  # a sentence is added: all sentences of the rollout that ended are kept
        kept = [one.text for one in annotator.annotate([pair.rejected])[0].sentences]
        assert set(kept[:-1]) <= {
            one.text for one in annotator.annotate([pair.chosen])[0].sentences
        }


@pytest.mark.slow
def test_sampling_goes_on_where_it_was_stopped(
    tiny: Tiny, tmp_path: Path, sampled: tuple[list[Pair], Path]
) -> None:
    """After 8 of 18 studies a crash: whole batches are kept, and the pairs are the same."""
    pairs, whole = sampled
    lines = whole.read_text("utf-8").splitlines(keepends=True)
    assert len(lines) == 1 + 18
    partial = tmp_path / "parts.partial"
    marked = json.loads(lines[1])
    marked["pairs"] = [{**json.loads(json.dumps(vars_of(PAIR))), "study_id": marked["study_id"]}]
    partial.write_text(lines[0] + json.dumps(marked) + "\n" + "".join(lines[2:10]) + '{"stu')
    found = sampled_pairs(str(tiny.checkpoint), tiny.data(), Split.TRAIN, partial, CONFIG)
    first = sum(len(json.loads(line)["pairs"]) for line in lines[1:2])
    assert found[0].chosen == PAIR.chosen, "the studies that were done are not sampled again"
    assert found[1:] == pairs[first:]
    with pytest.raises(DataError, match=r"begun with another model.*samples of the settings"):
        changed = replace(CONFIG, samples=3)
        sampled_pairs(str(tiny.checkpoint), tiny.data(), Split.TRAIN, partial, changed)


def vars_of(pair: Pair) -> dict[str, Any]:
    return {name: getattr(pair, name) for name in pair.__dataclass_fields__}


def test_pairs_are_made_by_edits(tiny: Tiny, tmp_path: Path) -> None:
    config = replace(CONFIG, edit=EditConfig(level=EditLevel.NONE))
    with pytest.raises(ConfigError, match=r"edit\.level is 'none'; it must be sentence"):
        sampled_pairs(str(tiny.checkpoint), tiny.data(), Split.TRAIN, tmp_path / "p", config)


@pytest.fixture(scope="module")
def recorded_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    rollout = RolloutConfig(group_size=4, max_completion_tokens=48)
    run_training(tiny.train_config(run, rollout=rollout, steps=2))
    return run


@pytest.mark.slow
def test_recorded_pairs_are_the_best_and_worst_responses_that_are_edited(
    recorded_run: Path,
) -> None:
    rows = [json.loads(line) for line in (recorded_run / "rollouts.jsonl").open()]
    edited = [row for row in rows if row["kind"] == "edited" and row["edit"] is not None]
    pairs = recorded_pairs(recorded_run)
    assert len(pairs) == len(edited) > 2
    for pair, row in zip(pairs, edited, strict=True):
        assert (pair.chosen, pair.rejected) == (row["report"], row["edit"]["source_report"])
        assert pair.gain == pytest.approx(
            row["reward"]["total"] - row["edit"]["source_reward"]["total"]
        )
    with (recorded_run / "rollouts.jsonl").open("a") as stream:
        stream.write('{"step": 3, "edit": {}}\n')
    with pytest.raises(DataError, match=rf"rollouts\.jsonl, line {len(rows) + 1}: "):
        recorded_pairs(recorded_run)


@pytest.fixture(scope="module")
def preference_set(
    tiny: Tiny, sampled: tuple[list[Pair], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("set") / "pairs.parquet"
    pairs = preferred(sampled[0], min_gain=0)[:6]
    write_preference_set(path, pairs, StudySet.load(tiny.studies), tiny.data())
    return path


@pytest.mark.slow
def test_the_file_holds_prompt_answers_and_images_as_trl_names_them(
    tiny: Tiny, sampled: tuple[list[Pair], Path], preference_set: Path
) -> None:
    rows = load_dataset("parquet", data_files=str(preference_set), split="train")
    pairs = preferred(sampled[0], min_gain=0)[:6]
    studies = StudySet.load(tiny.studies)
    assert len(rows) == len(pairs) == 6
    assert preference_set.stat().st_mode & 0o077 == 0, "reports and films are their owner's"
    for row, pair in zip(rows, pairs, strict=True):
        study = studies.find(pair.study_id)
        assert study is not None
        shown = build_messages(study, max_images=6)
        (message,) = row["prompt"]
        parts = [(part["type"], part["text"]) for part in message["content"]]
        wanted = [(part["type"], part.get("text")) for part in shown.messages[0]["content"]]
        assert message["role"] == "user" and parts == wanted
        for name in ("chosen", "rejected"):
            (answer,) = row[name]
            assert answer["role"] == "assistant"
            assert [part["text"] for part in answer["content"]] == [getattr(pair, name)]
        films = [Image.open(io.BytesIO(studies.images.png(one.image_id))) for one in shown.images]
        assert [list(one.getdata()) for one in row["images"]] == [
            list(one.getdata()) for one in films
        ]


def test_a_study_that_the_set_lacks_is_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no study 's'; name the set .* with --studies"):
        write_preference_set(tmp_path / "p", [PAIR], StudySet.load(tiny.studies), tiny.data())
    assert not (tmp_path / "p").exists()


@pytest.mark.slow
def test_trls_dpo_trainer_trains_on_it(
    tiny: Tiny, preference_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first step policy and reference are one: the loss is log 2, the margin 0. Then the
    margin of these pairs grows."""
    from trl import DPOConfig, DPOTrainer

    ours = load_processor(tiny.checkpoint)
    assert isinstance(ours, StudyProcessor)
    stock = stock_processor(ours, monkeypatch)
    stock.chat_template = ours.tokenizer.chat_template
    rows = load_dataset(
        "parquet", data_files=str(preference_set), split="train", cache_dir=str(tmp_path / "cache")
    )
    trainer = DPOTrainer(
        model=tiny.load(),
        ref_model=tiny.load(),
        args=DPOConfig(
            output_dir=str(tmp_path / "dpo"),
            per_device_train_batch_size=3,
            max_steps=6,
            learning_rate=1e-3,
            max_length=None,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            disable_tqdm=True,
        ),
        train_dataset=rows,
        processing_class=stock,
    )
    trainer.train()
    steps = [row for row in trainer.state.log_history if "rewards/margins" in row]
    assert steps[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert steps[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert steps[-1]["rewards/margins"] > 0.01
    assert steps[-1]["loss"] < steps[0]["loss"]
