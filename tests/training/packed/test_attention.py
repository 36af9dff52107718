"""Kernels of grouped attention against a mask that is written out by hand."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from editgrpo.config import AttentionKernel
from editgrpo.training.packed.attention import GroupPlan, GroupSpan

GROUPS = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.integers(1, 6), max_size=4)), min_size=1, max_size=4
)


def spans_of(groups: list[tuple[int, list[int]]]) -> list[GroupSpan]:
    spans: list[GroupSpan] = []
    for prefix, lengths in groups:
        start = spans[-1].end if spans else 0
        spans.append(GroupSpan(start, prefix, tuple(lengths)))
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
    found = plan.attend(SimpleNamespace(), query, key, value, scaling=0.5)
    torch.testing.assert_close(found, attended(query, key, value, seen), rtol=1e-5, atol=1e-6)


@given(GROUPS)
@settings(max_examples=40)
def test_splitting_gives_what_the_whole_mask_gives(groups: list[tuple[int, list[int]]]) -> None:
    """Values and gradients, four query heads on two key heads."""
    spans = spans_of(groups)
    results = []
    for kernel in (AttentionKernel.SPLIT, AttentionKernel.DENSE):
        heads = random_heads(spans[-1].end, 4, 2)
        found = GroupPlan(spans, kernel).attend(SimpleNamespace(), *heads, scaling=0.5)
        weights = torch.linspace(-1, 1, found.numel()).view_as(found)
        results.append((found, *torch.autograd.grad((found * weights).sum(), heads)))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_heads_that_share_keys_equal_heads_with_keys_of_their_own() -> None:
    spans = [GroupSpan(0, 4, (3, 2, 5))]
    query, key, value = random_heads(14, 6, 2)
    for kernel in (AttentionKernel.SPLIT, AttentionKernel.DENSE):
        plan = GroupPlan(spans, kernel)
        shared = plan.attend(SimpleNamespace(), query, key, value, scaling=0.5)
        repeated = [x.repeat_interleave(3, dim=1) for x in (key, value)]
        own = plan.attend(SimpleNamespace(), query, *repeated, scaling=0.5)
        torch.testing.assert_close(shared, own, rtol=1e-5, atol=1e-6)
