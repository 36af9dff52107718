"""Studies drawn by finding: which half, how often, and always the same."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from editgrpo.config import PromptOrder, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.step.batches import StepSampler
from editgrpo.training.step.prompt_order import FindingSampler, step_sampler
from editgrpo.training.train import run_training
from tests.training.tiny_run import Tiny

# 100 studies: 40 with the first finding, 8 with the second, 4 with the third, none with the fourth.
HOLDS = np.zeros((100, 4), dtype=np.bool_)
HOLDS[:40, 0] = HOLDS[40:48, 1] = HOLDS[48:52, 2] = True


def steps_of(
    holds: np.ndarray, *, steps: int = 50, prompts: int = 12, seed: int = 0
) -> list[list[int]]:
    sampler = FindingSampler(holds, steps=steps, prompts_per_step=prompts, seed=seed)
    order = list(sampler)
    assert len(order) == len(sampler) == steps * prompts
    assert order == list(sampler), "a second walk differs"
    return [order[k : k + prompts] for k in range(0, len(order), prompts)]


@pytest.mark.parametrize(("prompts", "uniform"), [(12, 6), (7, 4), (2, 1)])
def test_half_of_a_step_is_the_uniform_order_and_half_holds_a_finding(
    prompts: int, uniform: int
) -> None:
    drawn = steps_of(HOLDS, prompts=prompts)
    in_order = iter(StepSampler(100, steps=50, prompts_per_step=uniform, seed=0))
    for step in drawn:
        assert step[:uniform] == [next(in_order) for _ in range(uniform)]
        assert all(study < 52 for study in step[uniform:])
        assert len(set(step[uniform:]) - set(step[:uniform])) == prompts - uniform


def test_findings_are_as_frequent_as_each_other_however_rare() -> None:
    drawn = [study for step in steps_of(HOLDS) for study in step[6:]]
    counts = HOLDS[drawn].sum(axis=0).tolist()
    assert counts == [100, 100, 100, 0]  # 50 steps of 6, three findings
    # The rare studies take their turns.
    assert {Counter(drawn)[study] for study in range(48, 52)} == {25}


def test_a_study_of_several_findings_counts_for_each() -> None:
    """Those with the second hold the first too: what holds the first alone is needed no more."""
    holds = HOLDS.copy()
    holds[40:48, 0] = True
    drawn = [study for step in steps_of(holds) for study in step[6:]]
    first, second, third, _ = holds[drawn].sum(axis=0).tolist()
    assert abs(first - second) <= 1 and abs(second - third) <= 1
    assert not any(study < 39 for study in drawn[6:])


def test_a_step_never_draws_a_study_twice_by_finding() -> None:
    """Two studies alone hold a finding: where both are taken, the uniform order goes on."""
    holds = np.zeros((20, 1), dtype=np.bool_)
    holds[:2] = True
    drawn = steps_of(holds, prompts=8)
    assert all({0, 1} <= set(step) for step in drawn)
    others = Counter(study for step in drawn for study in step if study >= 2)
    assert set(others) == set(range(2, 20))
    assert max(others.values()) - min(others.values()) <= 1


def test_the_seed_decides_and_more_steps_begin_alike() -> None:
    assert steps_of(HOLDS, seed=1) != steps_of(HOLDS, seed=2)
    assert steps_of(HOLDS, steps=80)[:50] == steps_of(HOLDS, steps=50)


def test_the_findings_are_those_of_the_references() -> None:
    config = TrainConfig(steps=40, prompts_per_step=4, prompt_order=PromptOrder.BY_FINDING)
    normal = ["The lungs are clear. No pneumothorax."] * 16
    references = [*normal, "There is a left pleural effusion.", "The heart is enlarged.", *normal]
    drawn = list(step_sampler(config, references))
    counts = Counter(drawn)
    # Two of four in 40 steps are these two, wherever the uniform half does not hold them already.
    assert 40 <= counts[16] <= 44 and 40 <= counts[17] <= 44
    uniform = step_sampler(replace(config, prompt_order=PromptOrder.UNIFORM), references)
    assert type(uniform) is StepSampler and Counter(uniform)[16] <= 5


def test_references_without_findings_cannot_be_drawn_by_them() -> None:
    config = TrainConfig(prompt_order=PromptOrder.BY_FINDING)
    with pytest.raises(ConfigError, match="finds nothing in the references of 2 training studies"):
        step_sampler(config, ["The lungs are clear.", "No pneumothorax."])
    with pytest.raises(ConfigError, match="prompts_per_step is 1; it must be at least 2"):
        TrainConfig(prompt_order=PromptOrder.BY_FINDING, prompts_per_step=1)


@pytest.mark.slow
def test_a_run_by_finding_is_lengthened_to_the_byte(tiny: Tiny, tmp_path: Path) -> None:
    """The order of the first steps does not depend on how many follow, nor on where they began."""
    whole = tiny.train_config(tmp_path / "whole", prompt_order=PromptOrder.BY_FINDING)
    part = replace(whole, output=str(tmp_path / "part"), steps=2)
    run_training(whole)
    run_training(part)
    run_training(replace(part, steps=4), resume=True)
    for name in ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
