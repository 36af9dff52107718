"""Which studies a step gets, and what the loss reads."""

from collections import Counter

import torch

from editgrpo.training.step.batches import StepSampler, loss_inputs
from editgrpo.training.step.groups import Group, Kind, Response
from editgrpo.training.step.scoring import ScoredGroup


def sampled(studies: int, steps: int, prompts: int, seed: int = 0) -> list[int]:
    sampler = StepSampler(studies, steps=steps, prompts_per_step=prompts, seed=seed)
    order = list(sampler)
    assert len(sampler) == len(order) == steps * prompts
    return order


def test_each_pass_covers_all_studies_once() -> None:
    order = sampled(7, steps=9, prompts=7)
    passes = [order[k : k + 7] for k in range(0, 63, 7)]
    assert all(sorted(p) == list(range(7)) for p in passes)
    assert len({tuple(p) for p in passes}) == 9, "passes are shuffled anew"


def test_passes_follow_without_a_break_when_steps_do_not_divide_them() -> None:
    """35 draws from 7 studies in steps of 5: five whole passes, so every study five times."""
    order = sampled(7, steps=7, prompts=5)
    assert set(Counter(order).values()) == {5}
    assert order == sampled(7, steps=5, prompts=7)


def test_the_seed_decides_the_order() -> None:
    assert sampled(9, 3, 3, seed=1) == sampled(9, 3, 3, seed=1) != sampled(9, 3, 3, seed=2)


def scored(tokens: list[list[int]], advantages: list[float], failure: str | None) -> ScoredGroup:
    responses = tuple(Response(kind=Kind.SAMPLED, token_ids=tuple(t), text="") for t in tokens)
    return ScoredGroup(
        group=Group(study_id="s", reference="", responses=responses),
        totals_G=() if failure else (0.0,) * len(tokens),
        components={},
        advantages_G=tuple(advantages),
        failure=failure,
    )


def test_rows_hold_responses_and_advantages() -> None:
    groups = [
        scored([[11, 12, 13], [14]], [0.5, -0.5], None),
        scored([[15, 16], [17]], [0.0, 0.0], "no score"),
    ]
    inputs = loss_inputs(groups, pad_token_id=0, device=torch.device("cpu"))
    assert inputs["completion_ids"].tolist() == [[11, 12, 13], [14, 0, 0], [15, 16, 0], [17, 0, 0]]
    assert inputs["completion_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    # The second group was dropped: its rows stay in the batch, and out of the loss.
    assert inputs["tool_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert inputs["advantages"].tolist() == [0.5, -0.5, 0.0, 0.0]
    assert inputs["prompt_ids"].shape == inputs["prompt_mask"].shape == (4, 0)
