"""What can be wrong with a prepared set."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """One rule of a prepared set; the value is what is wrong where it is broken."""

    FILE_CHANGED = "file changed since it was written"
    FILE_MISSING = "file missing"
    FILE_EXTRA = "file that is not of the set"
    TABLE_DAMAGED = "table of studies damaged"
    VALUE = "value that no study may have"
    STUDY_TWICE = "study appears twice"
    PATIENT_IN_TWO_SPLITS = "patient is in two splits"
    TIME = "time that cannot be read"
    IMAGE_ABSENT = "image is not in the store"
    IMAGE_DAMAGED = "image cannot be decoded"
    IMAGE_BLANK = "image is blank, of one value everywhere"
    IMAGE_SIZE = "image is not of the model's size"
    INDEX = "index of images disagrees with the images"
    IMAGE_TWICE = "image appears twice in a study"
    IMAGE_OF_TWO_STUDIES = "image is current in two studies"
    PRIOR_UNNAMED = "prior images of no named study"
    PRIOR_NOT_EARLIER = "prior study is not earlier"
    PRIOR_OF_OTHER_PATIENT = "prior study is of another patient"
    BOX = "box lies in no image"
    PRIOR_TIME = "prior study has another time"
    PRIOR_IMAGE = "prior image is of another study"
    SAME_IMAGE_IN_TWO_SPLITS = "two splits show the same picture"


_WARNINGS = frozenset({ProblemKind.IMAGE_BLANK, ProblemKind.SAME_IMAGE_IN_TWO_SPLITS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One place where a set breaks a rule.

    Attributes:
        kind: The rule.
        message: What is wrong and where, in one line, with identifiers and no report text.
        remedy: What to do.
        study_id: The study; empty if it is not about one.
        file: The file, relative to the folder of the set; empty if it is not about one.
        harmless: Whether nothing that is learnt or scored changes by it.
    """

    kind: ProblemKind
    message: str
    remedy: str
    study_id: str = ""
    file: str = ""
    harmless: bool = False

    @property
    def is_warning(self) -> bool:
        """Whether the set may be used all the same."""
        return self.harmless or self.kind in _WARNINGS

    def __str__(self) -> str:
        """Return message and remedy, as an error would say them."""
        return f"{self.message}; {self.remedy}"


Report = Callable[[Problem], None]
"""Takes a problem that was found."""

RESTORE = "restore the file, or prepare the set again"
PREPARE = "prepare the set again"


def of_study(kind: ProblemKind, study_id: str, what: str, remedy: str) -> Problem:
    """Return a problem of a study."""
    message = f"study {study_id!r}: {what}"
    return Problem(kind=kind, message=message, remedy=remedy, study_id=study_id)


def of_file(kind: ProblemKind, file: str, what: str, remedy: str = RESTORE) -> Problem:
    """Return a problem of a file."""
    return Problem(kind=kind, message=f"{file}: {what}", remedy=remedy, file=file)
