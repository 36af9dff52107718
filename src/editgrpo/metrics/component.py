"""A metric of one report against its reference, in two halves."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

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


class PairwiseComponent(Component[Facts]):
    """A component that compares one pair after another."""

    @abstractmethod
    def score(self, candidate: Facts, reference: Facts) -> float:
        """Return the score of one pair."""

    def compare(
        self, candidates: Sequence[Facts], references: Sequence[Facts]
    ) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs."""
        pairs = zip(candidates, references, strict=True)
        return np.array([self.score(*pair) for pair in pairs], dtype=np.float64)
