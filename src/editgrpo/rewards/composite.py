"""A reward as a weighted sum of components, each a metric of one candidate against one
reference."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.memo import DEFAULT_CAPACITY, Memo
from editgrpo.errors import RewardError
from editgrpo.metrics.check import checked_read, require_finite, score_pairs
from editgrpo.metrics.component import Component
from editgrpo.metrics.silence import is_silent
from editgrpo.reports.types import Annotator
from editgrpo.rewards.types import RewardScores


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
        statements: Annotator | None = None,
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        """Take the components and remember what they read.

        Args:
            name: Name of the reward.
            components: The metrics; their names are distinct.
            weights: Weight of every component by name, finite.
            statements: Finds what a report states; a candidate that states nothing earns nothing
                from any component. None pays what the components say, as a metric does.
            capacity: Texts that are remembered for each component.
        """
        self.name = name
        self.component_names = tuple(component.name for component in components)
        self.weights = dict(weights)
        self._components = tuple(components)
        self._statements = statements
        self._memos = tuple(Memo(checked_read(part), capacity=capacity) for part in components)

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        """Score each candidate against the reference at the same index.

        Args:
            candidates: N reports; N may be 0.
            references: N reference reports, in the same order.

        Returns:
            The total and every component for each of the N reports, a silent one's at most 0.

        Raises:
            RewardError: the lengths differ, or a component gives something else than one finite
                number a report.
        """
        count = len(candidates)
        if count != len(references):
            raise RewardError(
                f"{self.name}: {count} candidates but {len(references)} references; "
                "give one reference for each candidate"
            )
        texts = [*candidates, *references]
        is_unpaid_N = self._is_unpaid(candidates)
        total_N = np.zeros(count)
        values: dict[str, NDArray[np.float64]] = {}
        for component, memo in zip(self._components, self._memos, strict=True):
            facts = memo(texts)
            scores_N = np.zeros(0)
            if count:
                scores_N = score_pairs(component, facts[:count], facts[count:])
            require_finite(component.name, scores_N)
            # Deviation from the metrics, for rewards only: saying nothing earns nothing.
            scores_N = np.where(is_unpaid_N, np.minimum(scores_N, 0.0), scores_N)
            values[component.name] = scores_N
            total_N = total_N + self.weights[component.name] * scores_N
        return RewardScores(total=total_N, components=values)

    def _is_unpaid(self, candidates: Sequence[str]) -> NDArray[np.bool_]:
        if self._statements is None:
            return np.zeros(len(candidates), dtype=np.bool_)
        return is_silent(self._statements, candidates)
