"""Where every random number of a run comes from: a hash of the run's seed and of what is drawn.

No draw touches a global generator, so a draw depends neither on what was drawn before it nor on the
number of processes, and a resumed run draws what the uninterrupted run would have drawn.
"""

import hashlib
import random
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Purpose(StrEnum):
    """What a random stream is for; two purposes never share a stream."""

    ORDER = "order"
    FINDING = "finding"
    HARDNESS = "hardness"
    SAMPLING = "sampling"
    EDIT = "edit"
    EDIT_SOURCE = "edit_source"
    EDITED_GROUPS = "edited_groups"
    TRAINING = "training"


def derive_seed(seed: int, purpose: Purpose, *parts: int | str) -> int:
    """Hash a run's seed, a purpose and the coordinates of a draw to a 63-bit seed.

    Args:
        seed: The seed of the run.
        purpose: What is drawn.
        *parts: Coordinates such as step, study id and rollout index.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join([str(seed), purpose.value, *(str(part) for part in parts)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def random_generator(seed: int, purpose: Purpose, *parts: int | str) -> random.Random:
    """Return the `random.Random` that belongs to one draw (see `derive_seed`)."""
    return random.Random(derive_seed(seed, purpose, *parts))


def uniform_draws(seed: int, *parts: int | str, count: int) -> "torch.Tensor":
    """Return (count,) float64 uniform draws in [0, 1) of the sampling stream at these
    coordinates."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, Purpose.SAMPLING, *parts))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def rollout_draws(
    seed: int, step: int, study_ids: Sequence[str], *, rows: int | range, count: int
) -> "torch.Tensor":
    """Return the draws of a step's rollouts.

    Args:
        seed: The seed of the run.
        step: Which step.
        study_ids: The P studies that are sampled.
        rows: Which K of the rollouts of each; a number stands for the first so many.
        count: T, tokens of each at most.

    Returns:
        (P, K, T) float64 in [0, 1), decided for each row by seed, step, study and row alone.
    """
    import torch

    which = range(rows) if isinstance(rows, int) else rows
    return torch.stack(
        [
            torch.stack([uniform_draws(seed, step, name, k, count=count) for k in which])
            for name in study_ids
        ]
    )
