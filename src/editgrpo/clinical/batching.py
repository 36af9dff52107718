"""Running a model over texts of many lengths with little padding.

Texts are sorted by length, so that a batch holds texts of like length; a batch that does not fit
into memory is halved.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from editgrpo.errors import RewardError

T = TypeVar("T")

# A batch of this share of the bound is large enough to be worth computing by itself: it ends where
# the next item is so much longer than its first that padding would cost more than another batch.
_ENOUGH_SHARE = 1 / 16
_LONGER = 1.15

_OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")


def run_batched(
    lengths: Sequence[int],
    run: Callable[[list[int]], Sequence[T]],
    *,
    max_tokens: int,
) -> list[T]:
    """Call a model with batches of items of like length.

    Args:
        lengths: (N,) tokens of each item, special tokens included.
        run: Takes the indices of a batch, longest item last, and returns one value for each.
        max_tokens: Most tokens of a batch, padding included; a longer item makes a batch of its
            own.

    Returns:
        (N,) values in the order of `lengths`.

    Raises:
        RewardError: a single item does not fit into memory.
    """
    values: dict[int, T] = {}
    for batch in length_batches(lengths, max_tokens=max_tokens):
        values.update(zip(batch, _run_halving(batch, run), strict=True))
    return [values[index] for index in range(len(lengths))]


def run_rows(
    rows: Sequence[list[int]],
    run: Callable[[list[list[int]]], Sequence[T]],
    *,
    max_tokens: int,
) -> list[T]:
    """Call a model with batches of token ids, longest row last; see `run_batched`."""
    return run_batched(
        [len(row) for row in rows],
        lambda batch: run([rows[index] for index in batch]),
        max_tokens=max_tokens,
    )


def length_batches(lengths: Sequence[int], *, max_tokens: int) -> Iterator[list[int]]:
    """Cut the indices, sorted by length, into batches of at most `max_tokens`, padding included.

    Args:
        lengths: (N,) tokens of each item.
        max_tokens: Bound on items times their longest; an item above it stands alone. A batch ends
            earlier where that spares more padding than it costs.

    Yields:
        Indices, ascending in length; equal lengths keep their order.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length, shortest = lengths[index], lengths[batch[0]] if batch else 0
        is_full = (len(batch) + 1) * length > max_tokens
        is_enough = len(batch) * shortest >= _ENOUGH_SHARE * max_tokens
        if batch and (is_full or (is_enough and length > _LONGER * shortest)):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _run_halving(batch: list[int], run: Callable[[list[int]], Sequence[T]]) -> list[T]:
    """Run a batch; where memory runs out, run its halves."""
    try:
        return list(run(batch))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise RewardError(
                "a single report does not fit into memory; lower clinical.batch_tokens, "
                "or run the clinical models on another device (clinical.device)"
            ) from error
    _release_memory()
    middle = len(batch) // 2
    return [*_run_halving(batch[:middle], run), *_run_halving(batch[middle:], run)]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on the host or on a GPU.

    torch raises `torch.OutOfMemoryError` where its own allocator fails on a GPU, and errors that
    only their words tell apart for the host and for what CUDA's libraries allocate by themselves.
    """
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _release_memory() -> None:
    """Give cached blocks of the GPU back before the smaller batch is tried."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
