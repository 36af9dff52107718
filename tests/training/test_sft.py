"""Fine-tuning: only the findings are learnt, and which epochs are kept."""

import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from editgrpo.config import OptimConfig, SFTConfig
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, RewardError
from editgrpo.files import read_jsonl
from editgrpo.rewards.types import RewardScores
from editgrpo.training import epochs, sft
from editgrpo.training.collator import FindingsCollator
from editgrpo.training.epochs import EpochScore, keep_best, write_epochs
from editgrpo.training.run.folder import last_checkpoint
from editgrpo.training.sft import (
    FindingsTrainer,
    _check_size,
    _epoch_ends,
    _warn_of_few,
    run_sft,
)
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import Tiny


def test_only_the_findings_and_the_end_are_scored(tiny: Tiny) -> None:
    studies, encoder = tiny.encoder()
    tokenizer = encoder.processor.tokenizer
    batch = FindingsCollator(studies, encoder)([{"index": 3}, {"index": 0}])
    for row, study in enumerate((studies[3], studies[0])):
        is_scored = batch["labels"][row] != -100
        assert tokenizer.decode(batch["labels"][row][is_scored]) == study.findings + "<|im_end|>"
        is_token = batch["attention_mask"][row].bool()
        prompt = encoder.encode(study)
        both = torch.cat([prompt.input_ids_T, batch["labels"][row][is_scored]])
        assert torch.equal(batch["input_ids"][row][is_token], both)
        assert not bool((is_scored & ~is_token).any())
        images = int(prompt.is_image_token_T.sum())
        assert int(batch["mm_token_type_ids"][row].sum()) == images


def test_a_tokenizer_without_padding_fills_up_with_its_end(tiny: Tiny) -> None:
    """As sampling does; the mask leaves it out."""
    studies, encoder = tiny.encoder()
    tokenizer = encoder.processor.tokenizer
    named = FindingsCollator(studies, encoder)([{"index": k} for k in range(4)])
    tokenizer.pad_token = None
    batch = FindingsCollator(studies, encoder)([{"index": k} for k in range(4)])
    is_padding = batch["attention_mask"] == 0
    assert bool(is_padding.any())
    assert set(batch["input_ids"][is_padding].tolist()) == {tokenizer.eos_token_id}
    assert torch.equal(batch["input_ids"][~is_padding], named["input_ids"][~is_padding])
    assert torch.equal(batch["labels"], named["labels"])


@pytest.mark.parametrize(("studies", "is_warned"), [(1, True), (19, True), (20, False)])
def test_few_validation_studies_are_warned_of(
    caplog: pytest.LogCaptureFixture, studies: int, is_warned: bool
) -> None:
    _warn_of_few(SFTConfig(), studies)
    assert (f"chosen by {studies} validation studies, fewer than 20" in caplog.text) is is_warned


def test_a_batch_larger_than_the_set_is_refused_and_a_long_warm_up_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match="batch_size is 8 for 7 training studies"):
        _check_size(SFTConfig(batch_size=8, micro_batch_size=4), 7, 1)
    config = SFTConfig(batch_size=4, micro_batch_size=4, optim=OptimConfig(warmup_steps=3))
    _check_size(config, 16, 4)
    assert not caplog.messages
    _check_size(config, 12, 3)
    config = dataclasses.replace(config, optim=OptimConfig(warmup_steps=30))
    _check_size(config, 80, 20)
    first, second = caplog.messages
    assert first.startswith("optim.warmup_steps is 3 of 3 steps: ")
    assert second.endswith("; train longer, or set it to 2")


def test_a_batch_that_processes_cannot_share_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "processes_of_launch", lambda: 3)
    config = SFTConfig(output=str(tmp_path / "run"), batch_size=8, micro_batch_size=4)
    with pytest.raises(ConfigError, match=r"batch_size is 8; .* micro_batch_size x .* \(4 x 3\)"):
        run_sft(config)
    assert not (tmp_path / "run").exists()


def test_epochs_end_where_their_studies_do() -> None:
    """10 studies in batches of 4: 2.5 steps an epoch, so after steps 2, 5 and 8 (7.5 rounded)."""
    config = SFTConfig(epochs=3, batch_size=4, micro_batch_size=4)
    assert _epoch_ends(config, 10) == [2, 5, 8]
    short = SFTConfig(epochs=3, batch_size=4, micro_batch_size=4, max_steps=4)
    assert _epoch_ends(short, 10) == [2, 4]


@pytest.mark.parametrize(("best", "before"), [(1, 1), (2, 1), (3, 2)])
def test_the_best_epoch_and_the_one_before_it_are_kept(
    tmp_path: Path, best: int, before: int
) -> None:
    for epoch in (1, 2, 3):
        folder = tmp_path / "epochs" / f"epoch-{epoch}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(str(epoch))
    write_epochs(
        tmp_path,
        [EpochScore(epoch=e, loss=1.0, reward=float(e == best), reward_se=0.1) for e in (1, 2, 3)],
    )
    assert json.loads((tmp_path / "epochs.json").read_text())["best"] == best
    keep_best(tmp_path)
    assert (tmp_path / "model/config.json").read_text() == str(best)
    assert (tmp_path / "model-for-rl/config.json").read_text() == str(before)
    assert not (tmp_path / "epochs").exists()


@pytest.mark.slow
def test_the_validation_loss_is_the_mean_over_findings_tokens(tiny: Tiny, tmp_path: Path) -> None:
    """With a learning rate of almost zero it is the loss of the model that was started from."""
    run_sft(
        SFTConfig(
            model=tiny.model(),
            data=tiny.data(validation_limit=3),
            optim=OptimConfig(learning_rate=1e-12),
            epochs=1,
            max_steps=1,
            batch_size=4,
            micro_batch_size=2,
            max_completion_tokens=4,
            output=str(tmp_path / "run"),
        )
    )
    rows = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl")]
    (found,) = [row["validation/loss"] for row in rows if "validation/loss" in row]
    studies, encoder = tiny.encoder(Split.VALIDATION)
    collate, model = FindingsCollator(studies, encoder), tiny.load().eval()
    total, tokens = 0.0, 0
    for index in range(3):  # one at a time, with the stock loss
        batch = collate([{"index": index}])
        count = int((batch["labels"] != -100).sum())
        with torch.no_grad():
            total += float(model(**batch).loss) * count
        tokens += count
    assert found == pytest.approx(total / tokens, rel=1e-5)


class FailingReward:
    """Fails at its n-th call, as a scorer without memory or network would."""

    name = "failing"
    component_names = ("failing",)

    def __init__(self, call: int) -> None:
        self.calls, self._fails_at = 0, call

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        self.calls += 1
        if self.calls == self._fails_at:
            raise RewardError("the scorer is gone")
        values = np.full(len(candidates), 0.5)
        return RewardScores(total=values, components={"failing": values})


def short_run(tiny: Tiny, output: Path) -> SFTConfig:
    """Two epochs of two steps, without a checkpoint of its own before the end."""
    return SFTConfig(
        model=tiny.model(),
        data=tiny.data(validation_limit=2, train_limit=8),
        epochs=2,
        batch_size=4,
        micro_batch_size=4,
        max_completion_tokens=4,
        output=str(output),
    )


@pytest.mark.slow
def test_a_report_is_written_and_scored_before_the_first_step(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "configured_reward", lambda *_: FailingReward(1))
    steps: list[object] = []
    with pytest.raises(RewardError, match="the scorer is gone"):
        run_sft(short_run(tiny, tmp_path / "run"), on_metrics=steps.append)
    assert not steps
    assert list(tmp_path.iterdir()) == []  # a run that never began leaves no folder


@pytest.mark.slow
def test_a_validation_that_fails_loses_no_step(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation of epoch 1 fails; the run goes on behind step 2, and ends as a whole one."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    monkeypatch.setattr(epochs, "configured_reward", lambda *_: FailingReward(0))
    run_sft(short_run(tiny, whole))
    monkeypatch.setattr(epochs, "configured_reward", lambda *_: FailingReward(2))
    with pytest.raises(RewardError, match="the scorer is gone"):
        run_sft(short_run(tiny, run))
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None and checkpoint.name == "checkpoint-2"
    assert [row["step"] for _, row in read_jsonl(run / "metrics.jsonl")] == [1, 2]
    monkeypatch.setattr(epochs, "configured_reward", lambda *_: FailingReward(0))
    shown: list[float] = []
    run_sft(short_run(tiny, run), resume=True, on_metrics=lambda row: shown.append(row["step"]))
    assert shown == [2, 3, 4, 4]  # the evaluation comes first
    assert_same_run(whole, run)


@pytest.mark.slow
def test_trying_a_report_draws_from_no_generator(tiny: Tiny, tmp_path: Path) -> None:
    draws: list[object] = []

    class Note(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            draws.append((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()))

    original = FindingsTrainer.__init__

    def noting(self: Any, *arguments: Any, callbacks: list[Any], **keywords: Any) -> None:
        original(self, *arguments, callbacks=[Note(), *callbacks, Note()], **keywords)

    with pytest.MonkeyPatch.context() as spy:
        spy.setattr(FindingsTrainer, "__init__", noting)
        run_sft(short_run(tiny, tmp_path / "run"))
    before, after = draws
    assert repr(before) == repr(after)
