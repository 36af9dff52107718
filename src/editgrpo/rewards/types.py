"""What a reward returns, and the protocol that every reward obeys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardScores:
    """Per-report values of a reward and of its components.

    Attributes:
        total: (N,) float64, the weighted sum of the components.
        components: Component name with its variant, such as `entity_f1/partial@rules`, to (N,)
            float64.
    """

    total: NDArray[np.float64]
    components: Mapping[str, NDArray[np.float64]]


class Reward(Protocol):
    """Scores candidate reports against reference reports."""

    name: str
    component_names: tuple[str, ...]

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        """Score each candidate against the reference at the same index.

        Args:
            candidates: N reports.
            references: N reference reports, in the same order.

        Returns:
            The total and every component for each of the N reports.

        Raises:
            RewardError: the lengths differ, or a component gives something else than one finite
                number a report (the message names component and index, or both lengths).
        """
        ...
