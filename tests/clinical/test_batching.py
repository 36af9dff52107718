"""Batches of like length: every item once, in order, within the bound, halved when memory runs
out."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.clinical.batching import length_batches, run_batched
from editgrpo.clinical.device import batch_tokens
from editgrpo.config import ClinicalConfig
from editgrpo.errors import RewardError

LENGTHS = st.lists(st.integers(1, 50), max_size=60)


@given(lengths=LENGTHS, max_tokens=st.integers(1, 200))
def test_batches_hold_every_item_once_and_keep_the_bound(
    lengths: list[int], max_tokens: int
) -> None:
    batches = list(length_batches(lengths, max_tokens=max_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert lengths[batch[-1]] == longest
        assert len(batch) * longest <= max_tokens or len(batch) == 1


@given(lengths=LENGTHS, max_tokens=st.integers(1, 200))
def test_values_come_back_in_order(lengths: list[int], max_tokens: int) -> None:
    values = run_batched(lengths, lambda batch: [10 * i for i in batch], max_tokens=max_tokens)
    assert values == [10 * index for index in range(len(lengths))]


def test_items_of_like_length_share_a_batch() -> None:
    # Sorted: 2 2 (items 1, 3), 9 9 (items 0, 2). 2 + 2 + 9 would be 3 * 9 = 27 > 20.
    assert list(length_batches([9, 2, 9, 2], max_tokens=20)) == [[1, 3], [0, 2]]


def test_a_large_enough_batch_ends_where_padding_would_begin() -> None:
    # A sixteenth of 320 is 20 tokens. Four items of 5 are enough, and 6 is more than 1.15 * 5.
    assert list(length_batches([5, 5, 5, 5, 6], max_tokens=320)) == [[0, 1, 2, 3], [4]]
    # Three items of 5 are not enough yet.
    assert list(length_batches([5, 5, 5, 6], max_tokens=320)) == [[0, 1, 2, 3]]
    # 22 is not more than 1.15 * 20.
    assert list(length_batches([20, 20, 22], max_tokens=320)) == [[0, 1, 2]]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=["gpu", "host", "cublas", "python"],
)
def test_a_batch_that_does_not_fit_is_halved(error: Exception) -> None:
    sizes: list[int] = []

    def run(batch: list[int]) -> Sequence[int]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise error
        return batch

    assert run_batched([1] * 8, run, max_tokens=100) == list(range(8))
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_a_single_item_that_does_not_fit_is_an_error() -> None:
    def run(batch: list[int]) -> Sequence[int]:
        raise torch.OutOfMemoryError

    with pytest.raises(RewardError, match=r"lower clinical\.batch_tokens"):
        run_batched([5, 5], run, max_tokens=100)


def test_other_errors_are_not_retried() -> None:
    calls: list[int] = []

    def run(batch: list[int]) -> Sequence[int]:
        calls.append(len(batch))
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        run_batched([1, 1], run, max_tokens=100)
    assert calls == [2]


def test_a_cpu_takes_small_batches() -> None:
    assert batch_tokens(ClinicalConfig(device="cpu")) == 512
    assert batch_tokens(ClinicalConfig(device="cpu", batch_tokens=64)) == 64
