"""A chest X-ray study: the views that are shown to the model, the clinical context, and the report
sections.

This is the one form of a study in the package; `store.py` keeps it on disk.
"""

from dataclasses import dataclass
from enum import StrEnum

from editgrpo.config import Target


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


class Language(StrEnum):
    """Language of a report."""

    ENGLISH = "en"
    SPANISH = "es"


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyImage:
    """One radiograph of a study.

    Attributes:
        image_id: Its key in the image store, unique in the set.
        view: Its projection.
        timepoint: CURRENT or PRIOR.
    """

    image_id: str
    view: View
    timepoint: Timepoint = Timepoint.CURRENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One study.

    What is not given is an empty string. The prior report is not a field: it is never an input
    (paper, Task).

    Attributes:
        study_id: Unique in the set.
        patient_id: All studies of a patient stand in one split.
        split: Its part of the set.
        images: Current images, then those of the prior study.
        time: When it was taken: ISO 8601 local time, or days on any scale as text; `times.py`.
        prior_study_id: The study that the prior images are of; it need not be in the set.
        prior_time: When that one was taken, in the form of `time`.
        indication: Section shown to the model.
        technique: Section shown to the model.
        comparison: Section shown to the model.
        findings: Section of the report; no prompt shows it.
        impression: Section of the report; no prompt shows it.
        target: What is asked for; a set says so when it is loaded, it is not kept with the study.
    """

    study_id: str
    patient_id: str
    split: Split
    images: tuple[StudyImage, ...]
    time: str = ""
    prior_study_id: str = ""
    prior_time: str = ""
    indication: str = ""
    technique: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""
    target: Target = Target.FINDINGS

    @property
    def reference(self) -> str:
        """The text to learn: the sections of `target`, empty if one is missing."""
        if self.target is not Target.BOTH:
            return self.impression if self.target is Target.IMPRESSION else self.findings
        # It brings numpy, which no help text waits for.
        from editgrpo.reports.headings import with_headings

        is_whole = self.findings and self.impression
        return with_headings(self.findings, self.impression) if is_whole else ""

    @property
    def current_images(self) -> tuple[StudyImage, ...]:
        """The images of the study itself."""
        return tuple(image for image in self.images if image.timepoint is Timepoint.CURRENT)

    @property
    def prior_images(self) -> tuple[StudyImage, ...]:
        """The images of the prior study."""
        return tuple(image for image in self.images if image.timepoint is Timepoint.PRIOR)
