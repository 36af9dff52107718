"""What stands where in a packed row, and how groups are shared out to passes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.errors import DataError, TrainingError
from editgrpo.training.packed.packing import pack_groups, packed_length, plan_passes
from tests.training.tiny_run import Tiny

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(LENGTHS, st.integers(1, 80))
def test_every_group_stands_in_one_pass_within_the_budget(lengths: list[int], budget: int) -> None:
    passes = plan_passes(lengths, budget)
    assert sorted(index for one in passes for index in one) == list(range(len(lengths)))
    assert all(one == sorted(one) and one for one in passes)
    assert all(sum(lengths[k] for k in one) <= budget or len(one) == 1 for one in passes)


def test_longest_groups_are_placed_first() -> None:
    # 9 | 7 | 5 + 4 (first with room for 5 is none: 9 and 7 are full at 10) | 3 joins 7
    assert plan_passes([4, 9, 3, 7, 5], 10) == [[1], [2, 3], [0, 4]]


def test_a_group_over_the_budget_stands_alone() -> None:
    assert plan_passes([50, 3, 4], 10) == [[0], [1, 2]]


def test_columns_positions_and_targets_of_two_groups(tiny: Tiny) -> None:
    """By hand: prompts of T tokens take T - 1 columns; responses [7, 8, 9] and [5] take 3 and 1."""
    model, prompts = tiny.load(), tiny.prompts(2)
    packed = pack_groups(model, prompts, [[[7, 8, 9], [5]], [[6, 6]]])
    t0, t1 = (prompt.input_ids_T.shape[0] for prompt in prompts)
    assert packed.input_ids_1L.shape == (1, t0 - 1 + 4 + t1 - 1 + 2)
    assert packed_length(prompts[0], [[7, 8, 9], [5]]) == t0 + 3
    last = int(prompts[0].input_ids_T[-1])
    assert packed.input_ids_1L[0, t0 - 1 : t0 + 3].tolist() == [last, 7, 8, last]
    assert packed.target_R.tolist() == [7, 8, 9, 5, 6, 6]
    second = t0 + 3 + t1 - 1
    columns = [t0 - 1, t0, t0 + 1, t0 + 2, second, second + 1]
    assert packed.response_column_R.tolist() == columns
    # Both responses of the first group start at the position of the prompt's last token.
    positions = packed.position_ids[:, 0, t0 - 1 : t0 + 3]
    assert (positions == positions[0, 0] + torch.tensor([0, 1, 2, 0])).all()
    assert packed.is_response_BC.int().tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    rows = packed.rows(torch.tensor([1.0, 2, 3, 4, 5, 6]))
    assert rows.tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    is_image = torch.zeros(packed.input_ids_1L.shape[1], dtype=torch.bool)
    is_image[packed.image_column_N] = True
    assert (packed.input_ids_1L[0][is_image] == model.config.image_token_id).all()
    assert int(is_image.sum()) == sum(int(p.is_image_token_T.sum()) for p in prompts)


def test_what_cannot_be_packed_is_refused(tiny: Tiny) -> None:
    model, prompts = tiny.load(), tiny.prompts(2)
    with pytest.raises(TrainingError, match="2 prompts need a group"):
        pack_groups(model, prompts, [[[5]]])
    with pytest.raises(TrainingError, match="2 prompts need a group"):
        pack_groups(model, prompts, [[[5]], []])
    with pytest.raises(TrainingError, match="no token"):
        pack_groups(model, prompts[:1], [[[5], []]])
    first = prompts[0]
    within = int(first.is_image_token_T.nonzero()[1])  # cut behind the first image token
    cut = replace(
        first,
        study_id="s17",
        input_ids_T=first.input_ids_T[within:],
        is_image_token_T=first.is_image_token_T[within:],
    )
    with pytest.raises(DataError, match="study s17: the prompt holds"):
        pack_groups(model, [cut], [[[5], [6]]])
