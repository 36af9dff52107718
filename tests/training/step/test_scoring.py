"""Rewards of groups; a scorer that fails costs its group and nothing else."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import editgrpo.rewards.registry as registry
import editgrpo.training.train as train_module
from editgrpo.clinical.batching import run_batched
from editgrpo.config import AdvantageScale, RewardConfig
from editgrpo.errors import ConfigError, RewardError, TrainingError
from editgrpo.files import read_jsonl
from editgrpo.rewards.types import RewardScores
from editgrpo.training.step.advantages import group_advantages
from editgrpo.training.step.groups import Group, Kind, Response
from editgrpo.training.step.loss_budget import LossBudget
from editgrpo.training.step.scoring import score_groups
from tests.training.tiny_run import PLAIN, Tiny


class LengthReward:
    """Pays a tenth for each character, and fails at chosen references."""

    name = "length"
    component_names = ("length",)

    def __init__(self, fail_at: frozenset[str] = frozenset()) -> None:
        self._fail_at = fail_at

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        if self._fail_at & set(references):
            raise RewardError("the scorer is out of order; start it again")
        values = np.array([len(text) / 10 for text in candidates])
        return RewardScores(total=values, components={"length": values})


def group(study: str, texts: Sequence[str]) -> Group:
    responses = tuple(Response(kind=Kind.SAMPLED, token_ids=(5,), text=text) for text in texts)
    return Group(study_id=study, reference=f"reference {study}", responses=responses)


GROUPS = [group("a", ["12345", "1"]), group("b", ["", "12"]), group("c", ["1234", "12"])]


def test_every_response_is_measured_against_its_group() -> None:
    scored = score_groups(LengthReward(), GROUPS, scale=AdvantageScale.NONE)
    # Group a: 0.5 and 0.1, mean 0.3. Group b: 0.0 and 0.2. Group c: 0.4 and 0.2.
    assert [s.totals_G for s in scored] == [(0.5, 0.1), (0.0, 0.2), (0.4, 0.2)]
    assert scored[0].advantages_G == pytest.approx((0.2, -0.2))
    assert scored[1].advantages_G == pytest.approx((-0.1, 0.1))
    assert scored[2].components == {"length": (0.4, 0.2)}


def test_a_failure_drops_its_group_only() -> None:
    reward = LengthReward(frozenset({"reference b"}))
    scored = score_groups(reward, GROUPS, scale=AdvantageScale.NONE)
    assert [s.is_dropped for s in scored] == [False, True, False]
    assert scored[1].failure == "the scorer is out of order; start it again"
    assert scored[1].totals_G == () and scored[1].advantages_G == (0.0, 0.0)
    assert scored[0].advantages_G == pytest.approx((0.2, -0.2))


def test_advantages_sum_to_zero_and_scale_by_the_standard_deviation() -> None:
    rewards = torch.tensor([1.0, 2.0, 3.0, 0.5, 0.5, 0.5])
    plain = group_advantages(rewards, 3, scale=AdvantageScale.NONE)
    assert plain.tolist() == [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    # The unbiased standard deviation of 1, 2, 3 is 1.
    scaled = group_advantages(rewards, 3, scale=AdvantageScale.GROUP)
    assert scaled.tolist() == pytest.approx([-1 / 1.0001, 0, 1 / 1.0001, 0, 0, 0])


def test_rewards_that_are_no_numbers_or_no_groups_are_refused() -> None:
    with pytest.raises(RewardError, match="response 1 of prompt 1 is not finite"):
        group_advantages(torch.tensor([1.0, 2.0, 1.0, float("nan")]), 2, scale=AdvantageScale.NONE)
    with pytest.raises(ConfigError, match="3 rewards do not form groups of 2"):
        group_advantages(torch.ones(3), 2, scale=AdvantageScale.NONE)


def use_failing_reward(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    studies, _ = tiny.encoder()
    failing = frozenset(study.findings for study in studies[:count])
    monkeypatch.setattr(train_module, "configured_reward", lambda *_: LengthReward(failing))


@pytest.mark.slow
def test_dropped_groups_are_counted_and_the_run_goes_on(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_failing_reward(tiny, monkeypatch, 6)
    config = tiny.train_config(tmp_path / "run", edit=PLAIN, steps=3, prompts_per_step=6)
    train_module.run_training(config)
    rows = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl")]
    studies, _ = tiny.encoder()
    bad = {s.study_id for s in studies if s.findings in {t.findings for t in studies[:6]}}
    # Three steps of six prompts walk through the eighteen studies once.
    assert sum(row["errors/dropped_groups"] for row in rows) == len(bad)
    kept = {row["study_id"] for _, row in read_jsonl(tmp_path / "run/rollouts.jsonl")}
    assert not kept & bad
    assert all(np.isfinite([row["loss"], row["grad_norm"], row["kl"]]).all() for row in rows)


@pytest.mark.slow
def test_too_many_dropped_groups_stop_the_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share is of 20 steps of 4 groups at least: 2 % of 80 are 1.6, so step 1 is too much."""
    use_failing_reward(tiny, monkeypatch, 18)
    config = tiny.train_config(
        tmp_path / "run", edit=PLAIN, prompts_per_step=4, max_dropped_share=0.02
    )
    with pytest.raises(TrainingError) as error:
        train_module.run_training(config)
    assert str(error.value) == (
        "step 1: scoring failed for 4 of 4 groups so far, more than max_dropped_share (2%) allows; "
        "last reason: the scorer is out of order; start it again"
    )


def test_lost_groups_are_measured_against_a_least_number() -> None:
    """10 % of 40 groups: 4 may be lost early; later 10 % of what was seen, so 10 of 100."""
    losses = LossBudget(share=0.1, grace=40)
    assert not losses.spend(10, 4)
    assert losses.spend(10, 1)
    later = LossBudget(share=0.1, grace=40)
    assert not later.spend(100, 10)
    assert later.spend(1, 1)


class Faulty:
    """A component that fails in one way at one reference, and else pays the share of its length."""

    name = "entity_f1/partial@rules"

    def __init__(self, fault: str, bad: str) -> None:
        self._fault, self._bad = fault, bad

    def read(self, texts: Sequence[str]) -> list[str]:
        return list(texts)

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        values = np.array([len(text) % 7 / 7 for text in candidates])
        if self._bad not in references:
            return values
        if self._fault == "raises":
            raise ValueError(f"cannot read {self._bad}")
        if self._fault == "hangs":
            time.sleep(1.0)
        if self._fault == "nan":
            values[0] = np.nan
        if self._fault == "memory":  # of the whole step; a group alone fits
            return np.array(run_batched([1] * len(values), self._small(values), max_tokens=10**6))
        return values

    def _small(self, values: NDArray[np.float64]) -> Callable[[list[int]], list[float]]:
        def run(batch: list[int]) -> list[float]:
            if len(batch) > 3:
                raise torch.OutOfMemoryError
            return [float(values[index]) for index in batch]

        return run


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raises", "hangs", "nan", "memory"])
def test_no_fault_of_a_scorer_becomes_a_reward(
    fault: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, _ = tiny.encoder()
    bad = studies[0].findings
    monkeypatch.setattr(registry, "load_component", lambda *_, **__: Faulty(fault, bad))
    config = tiny.train_config(
        tmp_path / "run",
        edit=PLAIN,
        steps=3,
        prompts_per_step=6,
        reward=RewardConfig(
            name="custom",
            weights={Faulty.name: 1.0},
            timeout_s=0.5 if fault == "hangs" else None,
        ),
        max_dropped_share=0.9,
    )
    train_module.run_training(config)
    rows = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl")]
    dropped = sum(row["errors/dropped_groups"] for row in rows)
    equal = sum(study.findings == bad for study in studies)
    if fault == "memory":
        assert dropped == 0
    elif fault == "hangs":  # while the call hangs, the groups beside it cannot be scored either
        assert dropped >= equal
    else:
        assert dropped == equal
    rewards = [row["reward/all/mean"] for row in rows if "reward/all/mean" in row]
    assert rewards and np.isfinite(rewards).all() and 0 <= min(rewards) <= max(rewards) < 1
    kept = {row["study_id"] for _, row in read_jsonl(tmp_path / "run/rollouts.jsonl")}
    failing = {study.study_id for study in studies if study.findings == bad}
    assert fault == "memory" or not kept & failing
