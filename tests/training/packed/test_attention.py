"""Kernels of grouped attention against a mask that is written out by hand."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from editgrpo.config import AttentionKernel
from editgrpo.training.packed.attention import GroupPlan
from editgrpo.training.packed.visibility import GroupSpan


@st.composite
def groups(draw: st.DrawFn) -> list[GroupSpan]:
    """Up to four groups in one row, some with blocks in their prompts."""
    spans: list[GroupSpan] = []
    for _ in range(draw(st.integers(1, 4))):
        prefix = draw(st.integers(1, 9))
        cuts = sorted(draw(st.sets(st.integers(0, prefix), max_size=4)))
        spans.append(
            GroupSpan(
                spans[-1].end if spans else 0,
                prefix,
                tuple(draw(st.lists(st.integers(1, 6), max_size=4))),
                blocks=tuple(zip(cuts[::2], cuts[1::2], strict=False)),
            )
        )
    return spans


def attended(query: Tensor, key: Tensor, value: Tensor, visible: list[list[int]]) -> Tensor:
    """Attend, token by token, to the columns that are listed for it; one query head a key head."""
    rows = []
    for column, seen in enumerate(visible):
        scores = torch.einsum("hd,hkd->hk", query[0, :, column], key[0][:, seen]) * 0.5
        rows.append(torch.einsum("hk,hkd->hd", scores.softmax(-1), value[0][:, seen]))
    return torch.stack(rows)[None]


def random_heads(length: int, heads: int, key_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(  # type: ignore[return-value]
        torch.randn(1, count, length, 4, generator=generator, requires_grad=True)
        for count in (heads, key_heads, key_heads)
    )


@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
def test_tokens_see_their_prompt_and_their_own_response(kernel: AttentionKernel) -> None:
    """Columns 0-2: a prompt; 3, 4: its first response; 5: its second; 6, 7: another prompt."""
    plan = GroupPlan([GroupSpan(0, 3, (2, 1)), GroupSpan(6, 2, ())], kernel)
    query, key, value = random_heads(8, 2, 2)
    seen = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 5], [6], [6, 7]]
    found = plan.attend(SimpleNamespace(), query, key, value, scaling=0.5, window=None)
    torch.testing.assert_close(found, attended(query, key, value, seen), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
@pytest.mark.parametrize(
    ("window", "seen"),
    [
        (None, [[0], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3],
                [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 6]]),
        (2, [[0], [0, 1, 2], [1, 2], [2, 3], [3, 4], [4, 5], [3, 6]]),
    ],
)  # fmt: skip
def test_a_block_sees_itself_both_ways_and_a_window_the_last_tokens(
    kernel: AttentionKernel, window: int | None, seen: list[list[int]]
) -> None:
    """Columns 0-3: a prompt with an image in 1 and 2; 4, 5: its first response; 6: its second."""
    plan = GroupPlan([GroupSpan(0, 4, (2, 1), blocks=((1, 3),))], kernel)
    query, key, value = random_heads(7, 2, 2)
    found = plan.attend(SimpleNamespace(), query, key, value, scaling=0.5, window=window)
    torch.testing.assert_close(found, attended(query, key, value, seen), rtol=1e-5, atol=1e-6)


@given(groups(), st.none() | st.integers(1, 12))
@settings(max_examples=60)
def test_splitting_gives_what_the_whole_mask_gives(
    spans: list[GroupSpan], window: int | None
) -> None:
    """Values and gradients, four query heads on two key heads."""
    results = []
    for kernel in (AttentionKernel.SPLIT, AttentionKernel.DENSE):
        heads = random_heads(spans[-1].end, 4, 2)
        plan = GroupPlan(spans, kernel)
        found = plan.attend(SimpleNamespace(), *heads, scaling=0.5, window=window)
        weights = torch.linspace(-1, 1, found.numel()).view_as(found)
        results.append((found, *torch.autograd.grad((found * weights).sum(), heads)))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_heads_that_share_keys_equal_heads_with_keys_of_their_own() -> None:
    spans = [GroupSpan(0, 4, (3, 2, 5))]
    query, key, value = random_heads(14, 6, 2)
    for kernel in (AttentionKernel.SPLIT, AttentionKernel.DENSE):
        plan = GroupPlan(spans, kernel)
        shared = plan.attend(SimpleNamespace(), query, key, value, scaling=0.5, window=None)
        repeated = [x.repeat_interleave(3, dim=1) for x in (key, value)]
        own = plan.attend(SimpleNamespace(), query, *repeated, scaling=0.5, window=None)
        torch.testing.assert_close(shared, own, rtol=1e-5, atol=1e-6)
