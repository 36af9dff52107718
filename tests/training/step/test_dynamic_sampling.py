"""Groups without a signal are dropped and refilled, up to a cap, and every draw is accounted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from editgrpo.config import (
    AdvantageScale,
    Baseline,
    Credit,
    PromptOrder,
    RolloutConfig,
    TrainConfig,
)
from editgrpo.errors import ConfigError
from editgrpo.files import read_jsonl
from editgrpo.rewards.types import RewardScores
from editgrpo.training import train as train_module
from editgrpo.training.step.batches import StepSampler
from editgrpo.training.step.dynamic_sampling import StepDraws
from editgrpo.training.step.prompt_stream import PromptStream
from editgrpo.training.step.records import group_rows, step_metrics
from editgrpo.training.step.responses import Group, Kind, Response
from editgrpo.training.step.scoring import ScoredGroup, score_groups
from editgrpo.training.train import run_training
from tests.training.tiny_run import MAX_TOKENS, PLAIN, Tiny

STUDIES = 12
ORDER = list(StepSampler(STUDIES, steps=1, prompts_per_step=STUDIES, seed=0))


@dataclass
class OneProcess:
    """An accelerator that has no other process."""

    num_processes: int = 1
    process_index: int = 0
    device: torch.device = torch.device("cpu")  # noqa: RUF009

    def reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


def scored(study: int, *totals: float, failure: str | None = None) -> Any:
    group = Group(study_id=str(study), reference="", responses=())
    return SimpleNamespace(
        scored=ScoredGroup(
            group=group,
            totals_G=totals,
            components={},
            advantages_G=tuple(total - fmean(totals) for total in totals),
            failure=failure,
        )
    )


def draws_of(*, dynamic: bool = True, cap: int = 10, prompts: int = 4) -> StepDraws:
    rollout = RolloutConfig(dynamic_sampling=dynamic, max_draws=cap)
    sampler = StepSampler(STUDIES, steps=1, prompts_per_step=prompts, seed=0)
    stream = PromptStream(sampler, studies=STUDIES, seed=0, is_by_hardness=False)
    config = TrainConfig(rollout=rollout, prompts_per_step=prompts)
    studies: Any = range(STUDIES)
    return StepDraws(config, studies, stream, OneProcess())


def scorer(flat: Sequence[int], asked: list[list[int]]) -> Callable[[Any], Any]:
    """Return what scores studies, some of them without a signal, and notes what it was asked."""

    def score(studies: list[int]) -> list[Any]:
        asked.append(studies)
        return [scored(one, 0.5, 0.5 if one in flat else 0.75) for one in studies]

    return score


def names(groups: Sequence[Any]) -> list[int]:
    return [int(getattr(one, "scored", one).group.study_id) for one in groups]


def test_places_of_groups_without_a_signal_are_refilled_in_order() -> None:
    """Of the first four the second and third are flat, of the next two the first."""
    flat, asked = [ORDER[1], ORDER[2], ORDER[4]], list[list[int]]()
    drawn = draws_of().groups([], scorer(flat, asked))
    assert asked == [ORDER[:4], ORDER[4:6], ORDER[6:7]]
    assert names(drawn.trained) == [ORDER[0], ORDER[3], ORDER[5], ORDER[6]]
    assert names(drawn.scored) == ORDER[:7]
    assert drawn.metrics == {
        "prompts/drawn": 7.0,
        "prompts/draws": 3.0,
        "prompts/without_signal": 0.0,
        "prompts/passes": 7 / 12,
    }


@pytest.mark.parametrize(
    ("cap", "asked", "drawn"), [(1, 1, 4), (2, 2, 8), (10, 3, 12)], ids=["1", "2", "no study left"]
)
def test_the_cap_or_the_last_study_ends_the_draws(cap: int, asked: int, drawn: int) -> None:
    """Nothing has a signal: the first groups that came are trained on, as without the setting."""
    calls: list[list[int]] = []
    found = draws_of(cap=cap).groups([], scorer(range(STUDIES), calls))
    assert len(calls) == asked
    assert names(found.trained) == ORDER[:4]
    assert found.metrics["prompts/drawn"] == drawn
    assert found.metrics["prompts/draws"] == asked
    assert found.metrics["prompts/without_signal"] == 4.0


def test_the_next_step_goes_on_behind_the_last_draw() -> None:
    draws, asked = draws_of(), list[list[int]]()
    draws.groups([], scorer(ORDER[:2], asked))
    draws.groups([], scorer([], asked))
    assert asked == [ORDER[:4], ORDER[4:6], ORDER[6:10]]


def test_a_failed_group_is_refilled_and_without_the_setting_nothing_is() -> None:
    def score(studies: Any) -> Any:
        return [scored(one, failure="out of order") for one in studies[:1]] + [
            scored(one, 0.0, 1.0) for one in studies[1:]
        ]

    assert names(draws_of(cap=2).groups([], score).trained) == ORDER[:4]
    plain = draws_of(dynamic=False).groups([], score)
    assert names(plain.trained) == ORDER[:4]
    assert plain.metrics == {"prompts/drawn": 4.0, "prompts/passes": 4 / 12}


def test_each_process_takes_its_part_and_as_many_as_the_one_that_lacks_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two processes with two places each the first lacks one, the other two: both draw two."""
    asked: list[list[int]] = []
    draws = draws_of()
    draws._accelerator = OneProcess(num_processes=2, process_index=0)
    draws._wanted = 2
    answers = iter([[2], [1, 2], [0, 0]])
    monkeypatch.setattr(
        "editgrpo.training.step.dynamic_sampling.gather_object",
        lambda own: next(answers) if isinstance(own[0], int) else own,
    )
    drawn = draws.groups([], scorer([ORDER[1]], asked))
    assert asked == [ORDER[0:2], ORDER[4:6]]  # the other has 2, 3 and 6, 7
    assert names(drawn.trained) == [ORDER[0], ORDER[4]]


def test_rewards_that_differ_by_rounding_are_no_signal() -> None:
    assert not scored(0, 0.3, 0.1 + 0.2).scored.has_signal
    assert scored(0, 0.3, 0.3001).scored.has_signal
    assert not scored(0, failure="out of order").scored.has_signal


class GivenReward:
    """Pays what it was given."""

    name = "given"

    def __init__(self, totals: Sequence[float]) -> None:
        self._totals = np.array(totals)

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        return RewardScores(total=self._totals, components={"given": self._totals})


@pytest.mark.parametrize(
    ("baseline", "credit", "totals", "expected"),
    [
        (Baseline.HALVES, Credit.RESPONSE, (0.5, 0.5, 0.75, 0.75), False),
        (Baseline.HALVES, Credit.RESPONSE, (0.5, 0.5, 0.75, 0.5), True),
        (Baseline.HALVES, Credit.RESPONSE, (0.5, 0.25, 0.75, 0.75), True),
        (Baseline.HALVES, Credit.SPAN, (0.5, 0.5, 0.75, 0.75), True),  # each edit gained
        (Baseline.SAMPLED, Credit.RESPONSE, (0.5, 0.5, 0.75, 0.75), True),
        (Baseline.GROUP, Credit.RESPONSE, (0.5, 0.5, 0.75, 0.75), True),
        # Rounding apart, which the scale of the group divides by 1e-4.
        (Baseline.GROUP, Credit.RESPONSE, (0.3, 0.3, 0.1 + 0.2, 0.3), False),
    ],
)
@pytest.mark.parametrize("scale", list(AdvantageScale))
def test_halves_that_are_equal_in_themselves_teach_nothing_apart(
    baseline: Baseline,
    credit: Credit,
    totals: tuple[float, ...],
    expected: bool,
    scale: AdvantageScale,
) -> None:
    """Rewards 0.5 and 0.5 beside 0.75 and 0.75 have the means 0.5 and 0.75: advantages of 0."""
    kinds = (Kind.SAMPLED, Kind.SAMPLED, Kind.EDITED, Kind.EDITED)
    sources = (None, None, 0, 1)
    responses = tuple(
        Response(kind=kind, token_ids=(1,), text="", source=source)
        for kind, source in zip(kinds, sources, strict=True)
    )
    group = Group(study_id="0", reference="", responses=responses)
    (one,) = score_groups(
        GivenReward(totals), [group], scale=scale, baseline=baseline, credit=credit
    )
    assert one.has_signal is expected
    metrics = step_metrics([group_rows(one)])
    assert metrics["zero_advantage_groups"] == (not expected)


def test_a_cap_of_no_draw_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rollout\.max_draws is 0; it must be at least 1"):
        RolloutConfig(max_draws=0)


# Runs of a small model ---------------------------------------------------------------------------


class SomeReward:
    """Pays the share of a report's length, but nothing for the reports of some studies."""

    name = "some"

    def __init__(self, flat: frozenset[str]) -> None:
        self._flat = flat

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        totals = np.array(
            [
                0.0 if reference in self._flat else (len(one) % 50) / 50
                for one, reference in zip(candidates, references, strict=True)
            ]
        )
        return RewardScores(total=totals, components={"some": totals})


@pytest.fixture
def flat_ids(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Let the groups of half of the studies have no signal; return their ids."""
    studies, _ = tiny.encoder()
    flat = frozenset(study.findings for study in studies[::2])
    monkeypatch.setattr(train_module, "configured_reward", lambda *_: SomeReward(flat))
    return {study.study_id for study in studies if study.findings in flat}


def dynamic_config(tiny: Tiny, output: Path, **changes: Any) -> TrainConfig:
    rollout = RolloutConfig(
        group_size=4, max_completion_tokens=MAX_TOKENS, dynamic_sampling=True, max_draws=3
    )
    return tiny.train_config(output, rollout=rollout, edit=PLAIN, **changes)


@pytest.mark.slow
def test_a_run_trains_on_groups_with_a_signal_and_says_what_it_drew(
    tiny: Tiny, tmp_path: Path, flat_ids: set[str]
) -> None:
    run, told = tmp_path / "run", list[list[str]]()
    model = tiny.model(freeze_vision_tower=True)  # features of images are kept
    run_training(
        dynamic_config(tiny, run, model=model),
        on_groups=lambda _, groups: told.append([one.group.study_id for one in groups]),
    )
    rows = [row for _, row in read_jsonl(run / "metrics.jsonl")]
    assert [row["prompts/drawn"] for row in rows] == [len(one) for one in told]
    assert sum(map(len, told)) > 16 and all(len(set(one)) == len(one) for one in told)
    for row, drawn in zip(rows, told, strict=True):
        flat = sum(one in flat_ids for one in drawn)
        assert row["zero_advantage_groups"] >= flat / len(drawn)
        assert row["prompts/without_signal"] <= max(0, 4 - (len(drawn) - flat)) + 1
    # One stream: what all steps drew are passes over the 18 studies.
    assert rows[-1]["prompts/passes"] == pytest.approx(sum(map(len, told)) / 18, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("order", list(PromptOrder))
def test_a_run_is_continued_to_the_byte(
    tiny: Tiny, tmp_path: Path, flat_ids: set[str], order: PromptOrder
) -> None:
    whole = dynamic_config(tiny, tmp_path / "whole", prompt_order=order)
    part = replace(whole, output=str(tmp_path / "part"))
    run_training(whole)
    run_training(replace(part, steps=2))
    run_training(part, resume=True)
    for name in ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


@pytest.mark.slow
def test_a_run_that_refills_nothing_is_the_run_without_the_setting(
    tiny: Tiny, tmp_path: Path, flat_ids: set[str]
) -> None:
    """Sixteen of eighteen studies: no step meets a study twice, so the order is the loader's."""
    once = dynamic_config(tiny, tmp_path / "once")
    once = replace(once, rollout=replace(once.rollout, max_draws=1))
    plain = replace(once, rollout=replace(once.rollout, dynamic_sampling=False))
    run_training(once)
    run_training(replace(plain, output=str(tmp_path / "plain")))
    for name in ("rollouts.jsonl", "model/model.safetensors"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.slow
def test_studies_without_a_signal_are_drawn_more_rarely(
    tiny: Tiny, tmp_path: Path, flat_ids: set[str]
) -> None:
    drawn: list[str] = []
    config = tiny.train_config(
        tmp_path, edit=PLAIN, steps=14, save_every=14, prompt_order=PromptOrder.BY_HARDNESS
    )
    run_training(
        config, on_groups=lambda _, groups: drawn.extend(one.group.study_id for one in groups)
    )
    first, later = drawn[:18], drawn[18:]
    assert len(set(first)) == 18, "the first pass has every study once"
    assert sum(one in flat_ids for one in later) < 0.45 * len(later)
