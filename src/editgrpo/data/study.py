"""A chest X-ray study: the views that are shown to the model, the clinical context, and the report
sections.

This is the one form of a study in the package; `store.py` reads and writes it, one JSON object a
line.
"""

from dataclasses import dataclass
from enum import StrEnum


class Split(StrEnum):
    """The part of a data set that a study belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class View(StrEnum):
    """Projection of a radiograph, normalised over all data sets."""

    FRONTAL = "frontal"
    PA = "PA"
    AP = "AP"
    LATERAL = "lateral"
    OBLIQUE = "oblique"
    DECUBITUS = "decubitus"
    OTHER = "other"
    UNKNOWN = "unknown"


class Timepoint(StrEnum):
    """Whether an image belongs to the study being read or to the patient's most recent prior
    study."""

    CURRENT = "current"
    PRIOR = "prior"


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyImage:
    """One radiograph of a study.

    Attributes:
        path: Absolute, or relative to the folder of `studies.jsonl`.
        view: Its projection.
        timepoint: CURRENT or PRIOR.
    """

    path: str
    view: View
    timepoint: Timepoint = Timepoint.CURRENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One study.

    Missing sections are empty strings.
        The prior report is not a field: it is never an input (paper, Task).
    """

    study_id: str
    patient_id: str
    split: Split
    images: tuple[StudyImage, ...]
    indication: str = ""
    technique: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""
