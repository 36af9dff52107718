"""Which studies a step gets, and what the loss reads."""

from collections import Counter

import pytest
import torch

from editgrpo.training.batches import StepSampler, loss_inputs, pack_rows
from editgrpo.training.groups import Group, Kind, Response
from editgrpo.training.scoring import ScoredGroup
from editgrpo.training.shared_prefix import pack_groups
from tests.training.tiny_run import Tiny


def sampled(studies: int, steps: int, prompts: int, repeats: int = 1, seed: int = 0) -> list[int]:
    sampler = StepSampler(
        studies, steps=steps, prompts_per_step=prompts, repeats=repeats, seed=seed
    )
    order = list(sampler)
    assert len(sampler) == len(order) == steps * prompts * repeats
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


@pytest.mark.parametrize("repeats", [2, 4])
def test_accumulation_only_repeats_what_a_step_gets(repeats: int) -> None:
    once, more = sampled(9, 6, 4), sampled(9, 6, 4, repeats)
    for step in range(6):
        block = more[step * 4 * repeats : (step + 1) * 4 * repeats]
        assert block == once[step * 4 : (step + 1) * 4] * repeats


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


def test_rows_hold_prompts_responses_and_advantages(tiny: Tiny) -> None:
    prompts = tiny.prompts(2)
    groups = [
        scored([[11, 12, 13], [14]], [0.5, -0.5], None),
        scored([[15, 16], [17]], [0.0, 0.0], "no score"),
    ]
    inputs = loss_inputs(prompts, groups, pad_token_id=0, device=torch.device("cpu"))
    assert inputs["completion_ids"].tolist() == [[11, 12, 13], [14, 0, 0], [15, 16, 0], [17, 0, 0]]
    assert inputs["completion_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    # The second group was dropped: its rows stay in the batch, and out of the loss.
    assert inputs["tool_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert inputs["advantages"].tolist() == [0.5, -0.5, 0.0, 0.0]
    assert inputs["num_images"] == [p.image_grid_thw.shape[0] for p in prompts]  # type: ignore[union-attr]
    images = [p.pixel_values for p in prompts if p.pixel_values is not None]
    assert torch.equal(inputs["pixel_values"], torch.cat(images)), "one copy a group"
    for row in range(4):
        tokens = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
        assert torch.equal(tokens, prompts[row // 2].input_ids_T)
        assert bool(inputs["prompt_mask"][row, -1]), "prompts are padded on the left"


def test_packing_rows_again_gives_the_groups_that_were_laid_out(tiny: Tiny) -> None:
    model, prompts = tiny.load(), tiny.prompts(2)
    tokens = [[[11, 12, 13], [14]], [[15, 16], [17]]]
    groups = [scored(group, [0.5, -0.5], None) for group in tokens]
    inputs = loss_inputs(prompts, groups, pad_token_id=0, device=torch.device("cpu"))
    again = pack_rows(
        model,
        torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
        torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
        completion_length=3,
        group_size=2,
        images=(inputs["pixel_values"], inputs["image_grid_thw"], inputs["num_images"]),
    )
    direct = pack_groups(model, prompts, tokens, pad_token_id=0)
    for name in direct.__dataclass_fields__:
        assert torch.equal(getattr(again, name), getattr(direct, name)), name
