"""What is drawn at random: patients with all of their studies.

Studies of one patient resemble each other, so that they say less than as many studies of different
patients would. Resampling and exchanging whole patients takes that into account; where the patients
are not known, every study counts as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Units:
    """The patients of some studies.

    Attributes:
        of_study_N: (N,) the unit of each study, in 0..M-1; every unit has a study.
    """

    of_study_N: NDArray[np.intp]

    @property
    def count(self) -> int:
        """M, how many units there are."""
        return int(self.of_study_N.max()) + 1

    @property
    def studies(self) -> NDArray[np.float64]:
        """(M,) float64, how many studies each unit has."""
        return np.bincount(self.of_study_N).astype(np.float64)

    def sums(self, values_NK: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the rows of each unit: (N, K) to (M, K)."""
        order = np.argsort(self.of_study_N, kind="stable")
        starts = np.searchsorted(self.of_study_N[order], np.arange(self.count))
        return np.add.reduceat(values_NK[order], starts, axis=0)


def units_of(patients: Sequence[str] | None, *, studies: int) -> Units:
    """Return the units of studies.

    Args:
        patients: The patient of each study; None if they are not known.
        studies: N, at least 1.

    Returns:
        One unit for each patient, in the order of their ids, so that the order of the studies
        changes nothing; without patients, one for each study.
    """
    if patients is None:
        return Units(np.arange(studies))
    _, of_study_N = np.unique(np.array(patients, dtype=object), return_inverse=True)
    return Units(of_study_N.astype(np.intp))
