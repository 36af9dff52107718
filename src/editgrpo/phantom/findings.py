"""What can be wrong in a phantom study, as values.

A `Finding` is the ground truth behind both the picture and the report. How it looks is in
`frontal.py` and `lateral.py`, how it is worded in `grammar.py`, how often it occurs in `sites.py`.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Topic(StrEnum):
    """What a sentence of a report is about; sentences of one topic come together."""

    DEVICES = "devices"
    HEART = "heart"
    LUNGS = "lungs"
    PLEURA = "pleura"
    BONES = "bones"
    OTHER = "other"


class Kind(StrEnum):
    """The findings of the phantom: name, CheXpert class and topic.

    A consolidation may also be called pneumonia (`grammar.py`).
    """

    chexpert_class: str
    topic: Topic

    CARDIOMEGALY = "cardiomegaly", "Cardiomegaly", Topic.HEART
    WIDE_MEDIASTINUM = "wide_mediastinum", "Enlarged Cardiomediastinum", Topic.HEART
    OPACITY = "opacity", "Lung Opacity", Topic.LUNGS
    CONSOLIDATION = "consolidation", "Consolidation", Topic.LUNGS
    EDEMA = "edema", "Edema", Topic.LUNGS
    ATELECTASIS = "atelectasis", "Atelectasis", Topic.LUNGS
    NODULE = "nodule", "Lung Lesion", Topic.LUNGS
    PNEUMOTHORAX = "pneumothorax", "Pneumothorax", Topic.PLEURA
    EFFUSION = "effusion", "Pleural Effusion", Topic.PLEURA
    PLEURAL_THICKENING = "pleural_thickening", "Pleural Other", Topic.PLEURA
    FRACTURE = "fracture", "Fracture", Topic.BONES
    ENDOTRACHEAL_TUBE = "endotracheal_tube", "Support Devices", Topic.DEVICES
    GASTRIC_TUBE = "gastric_tube", "Support Devices", Topic.DEVICES
    CENTRAL_LINE = "central_line", "Support Devices", Topic.DEVICES
    PACEMAKER = "pacemaker", "Support Devices", Topic.DEVICES

    def __new__(cls, name: str, chexpert_class: str, topic: Topic) -> "Kind":
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.chexpert_class, kind.topic = chexpert_class, topic
        return kind


class Side(StrEnum):
    """The patient's side; a frontal image shows the patient's right on its left."""

    RIGHT = "right"
    LEFT = "left"
    BILATERAL = "bilateral"
    NONE = "none"


class Zone(StrEnum):
    """Height in the lung; lobes are named after it (the left middle zone is the lingula)."""

    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"
    NONE = "none"


class Size(IntEnum):
    """Small (mild), moderate, large (severe)."""

    SMALL = 1
    MODERATE = 2
    LARGE = 3


class Progress(StrEnum):
    """Change since the prior study; NONE where there is no prior study."""

    NONE = "none"
    NEW = "new"
    UNCHANGED = "unchanged"
    LARGER = "larger"
    SMALLER = "smaller"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding of one study.

    Attributes:
        kind: What it is.
        side: NONE for findings of the midline.
        zone: NONE for findings that have no height.
        size: Its grade.
        progress: Change since the prior study; a RESOLVED finding is worded but not drawn.
        offset: Two numbers in [-1, 1] that move it within its zone; constant over a patient's
            studies.
    """

    kind: Kind
    side: Side = Side.NONE
    zone: Zone = Zone.NONE
    size: Size = Size.MODERATE
    progress: Progress = Progress.NONE
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The single sides that it affects; empty for the midline."""
        if self.side is Side.BILATERAL:
            return (Side.RIGHT, Side.LEFT)
        return () if self.side is Side.NONE else (self.side,)


DEVICES = frozenset(kind for kind in Kind if kind.topic is Topic.DEVICES)
CHEXPERT_CLASS: dict[Kind, str] = {kind: kind.chexpert_class for kind in Kind}
