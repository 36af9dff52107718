"""Rewards that can be told to fail."""

from collections.abc import Sequence

import numpy as np

from editgrpo.errors import RewardError
from editgrpo.rewards import RewardScores


class LengthReward:
    """Pays a report's length; fails for some references as scorers fail."""

    name = "length"
    component_names = ("length",)

    def __init__(self, *, fails: Sequence[str] = (), error: Exception | None = None) -> None:
        self.calls: list[int] = []
        self._fails = fails
        self._error = error or RewardError("the scorer is broken")

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        self.calls.append(len(candidates))
        if any(reference in self._fails for reference in references):
            raise self._error
        total = np.array([float(len(text)) for text in candidates])
        return RewardScores(total=total, components={"length": total})
