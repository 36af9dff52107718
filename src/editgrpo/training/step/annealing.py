"""How much of a setting is left at a step, where it falls in the course of a run."""

import math

from editgrpo.config import Anneal


def what_is_left(anneal: Anneal, step: int, *, until: float) -> float:
    """Compute what a setting is multiplied by.

    Args:
        anneal: How it falls.
        step: Steps taken before this one, from 0.
        until: The step from which on nothing is left, above 0.

    Returns:
        In [0, 1]; 1 at step 0, and at all steps where nothing falls.
    """
    if anneal is Anneal.NONE:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / until)))
