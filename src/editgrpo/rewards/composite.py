"""A reward as a weighted sum of components, each a metric of one candidate against one
reference."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.memo import DEFAULT_CAPACITY, Memo
from editgrpo.errors import RewardError
from editgrpo.rewards.types import RewardScores

Facts = TypeVar("Facts")


class Component(Protocol[Facts]):
    """One metric in two halves: what it reads from a text, and how it compares two readings.

    The halves are apart so that a text, above all a reference, is read once however often it is
    compared.
    """

    name: str

    def read(self, texts: Sequence[str]) -> Sequence[Facts]:
        """Return what the metric needs of each text, in order."""
        ...

    def compare(
        self, candidates: Sequence[Facts], references: Sequence[Facts]
    ) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs, N at least 1."""
        ...


class CompositeReward:
    """The weighted sum of components.

    Attributes:
        name: What `load_reward` was asked for.
        component_names: Names with their variants, in the order of the components.
        weights: Component name to weight.
    """

    def __init__(
        self,
        name: str,
        components: Sequence[Component[Any]],
        *,
        weights: Mapping[str, float],
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        """Take the components and remember what they read.

        Args:
            name: Name of the reward.
            components: The metrics; their names are distinct.
            weights: Weight of every component by name, finite.
            capacity: Texts that are remembered for each component.
        """
        self.name = name
        self.component_names = tuple(component.name for component in components)
        self.weights = dict(weights)
        self._components = tuple(components)
        self._memos = tuple(Memo(part.read, capacity=capacity) for part in components)

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        """Score each candidate against the reference at the same index.

        Args:
            candidates: N reports; N may be 0.
            references: N reference reports, in the same order.

        Returns:
            The total and every component for each of the N reports.

        Raises:
            RewardError: the lengths differ, or a component is NaN or infinite.
        """
        count = len(candidates)
        if count != len(references):
            raise RewardError(
                f"{self.name}: {count} candidates but {len(references)} references; "
                "give one reference for each candidate"
            )
        texts = [*candidates, *references]
        total_N = np.zeros(count)
        values: dict[str, NDArray[np.float64]] = {}
        for component, memo in zip(self._components, self._memos, strict=True):
            facts = memo(texts)
            scores_N = np.zeros(0) if not count else component.compare(facts[:count], facts[count:])
            _require_finite(component.name, scores_N)
            values[component.name] = scores_N
            total_N = total_N + self.weights[component.name] * scores_N
        return RewardScores(total=total_N, components=values)


def _require_finite(name: str, scores_N: NDArray[np.float64]) -> None:
    """Raise RewardError for the first score that is NaN or infinite."""
    wrong = np.flatnonzero(~np.isfinite(scores_N))
    if len(wrong):
        raise RewardError(
            f"{name}: the score at index {wrong[0]} is {scores_N[wrong[0]]}; "
            "check the annotator's embeddings and labels for that report"
        )
