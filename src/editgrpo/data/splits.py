"""Training, validation and test: by patient, so that no patient's studies are in two of them."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from editgrpo.data.prepared.record import nearest, shown
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, DataError

_SPLIT_OF_NAME: dict[str, Split] = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validate": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "dev": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRule:
    """A seeded split by patient.

    A patient's split depends on its id and the seed alone: adding or removing other patients moves
    nobody. The shares hold in expectation.
    """

    seed: int = 0
    """Another seed gives another split."""

    train: float = 0.7
    """Share of patients for training.

    R2Gen's split of IU X-Ray: 0.7, 0.1, 0.2.
    """

    validation: float = 0.1
    """Share of patients for choosing a checkpoint."""

    test: float = 0.2
    """Share of patients for the final scores."""

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        # A NaN is neither below 0 nor does it add up.
        if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-9):
            raise ConfigError(
                f"split shares train={self.train}, validation={self.validation}, test={self.test}: "
                "each must be 0 or more and their sum 1"
            )

    def split_of(self, patient_id: str) -> Split:
        """Return the split of a patient."""
        digest = hashlib.sha256(f"{self.seed}:{patient_id}".encode()).digest()
        position = int.from_bytes(digest[:8]) / 2**64  # uniform in [0, 1)
        if position < self.train:
            return Split.TRAIN
        if position < self.train + self.validation:
            return Split.VALIDATION
        return Split.TEST

    def describe(self) -> str:
        """Return the rule in words."""
        return (
            f"by patient, seed {self.seed}: {100 * self.train:.4g}% train, "
            f"{100 * self.validation:.4g}% validation, {100 * self.test:.4g}% test"
        )


def parse_split_shares(text: str, *, seed: int = 0) -> SplitRule:
    """Read shares of patients as they are typed on a command line.

    Args:
        text: Such as `train=0.8,validation=0.1,test=0.1`; a split that is not named gets none.
        seed: Of the rule.

    Returns:
        The rule.

    Raises:
        ConfigError: A part is no share, a split is unknown or named twice, or the shares do not add
            up to 1.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        split = _SPLIT_OF_NAME.get(name.lower())
        if not equals or split is None or split.value in shares:
            raise ConfigError(
                f"split share {shown(part)}: name each of train, validation and test once, as in "
                "train=0.8,validation=0.1,test=0.1"
            )
        try:
            shares[split.value] = float(number)
        except ValueError as error:
            raise ConfigError(
                f"split share {shown(part)}: {shown(number)} is no number; give one from 0 to 1"
            ) from error
    return SplitRule(seed=seed, **(dict.fromkeys(map(str, Split), 0.0) | shares))


def parse_split(name: str, *, where: str) -> Split:
    """Return the split that a name stands for, such as `val` or `Training`.

    Args:
        name: Case does not matter.
        where: File, line and column, for messages.

    Returns:
        The split.

    Raises:
        DataError: The name is none of the usual ones.
    """
    split = _SPLIT_OF_NAME.get(name.strip().lower())
    if split is None:
        raise DataError(f"{where} is {shown(name)}; {nearest(name, _SPLIT_OF_NAME)}")
    return split


def check_patients_apart(studies: Iterable[Study]) -> None:
    """Check that all studies of a patient are in one split.

    Args:
        studies: All studies of a data set.

    Raises:
        DataError: Names the first patient that stands in two.
    """
    split_of_patient: dict[str, Split] = {}
    for study in studies:
        first = split_of_patient.setdefault(study.patient_id, study.split)
        if first is not study.split:
            raise DataError(
                f"patient {study.patient_id!r} is in both {first} and {study.split} (study "
                f"{study.study_id!r}); give each patient one split"
            )
