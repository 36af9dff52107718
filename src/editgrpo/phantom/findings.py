"""What can be wrong in a phantom study, as values.

A `Finding` is the ground truth behind both the picture and the report. How it looks is in
`frontal.py` and `lateral.py`, how it is worded in `grammar.py`, how often it occurs in `sites.py`.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Kind(StrEnum):
    """The findings of the phantom."""

    CARDIOMEGALY = "cardiomegaly"
    WIDE_MEDIASTINUM = "wide_mediastinum"
    OPACITY = "opacity"
    CONSOLIDATION = "consolidation"
    EDEMA = "edema"
    ATELECTASIS = "atelectasis"
    NODULE = "nodule"
    PNEUMOTHORAX = "pneumothorax"
    EFFUSION = "effusion"
    PLEURAL_THICKENING = "pleural_thickening"
    FRACTURE = "fracture"
    ENDOTRACHEAL_TUBE = "endotracheal_tube"
    GASTRIC_TUBE = "gastric_tube"
    CENTRAL_LINE = "central_line"
    PACEMAKER = "pacemaker"


class Topic(StrEnum):
    """What a sentence of a report is about; sentences of one topic stand together."""

    DEVICES = "devices"
    HEART = "heart"
    LUNGS = "lungs"
    PLEURA = "pleura"
    BONES = "bones"
    OTHER = "other"


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


DEVICES = frozenset({Kind.ENDOTRACHEAL_TUBE, Kind.GASTRIC_TUBE, Kind.CENTRAL_LINE, Kind.PACEMAKER})

# The CheXpert class of each finding; a consolidation may also be called pneumonia (grammar.py).
CHEXPERT_CLASS: dict[Kind, str] = {
    Kind.CARDIOMEGALY: "Cardiomegaly",
    Kind.WIDE_MEDIASTINUM: "Enlarged Cardiomediastinum",
    Kind.OPACITY: "Lung Opacity",
    Kind.CONSOLIDATION: "Consolidation",
    Kind.EDEMA: "Edema",
    Kind.ATELECTASIS: "Atelectasis",
    Kind.NODULE: "Lung Lesion",
    Kind.PNEUMOTHORAX: "Pneumothorax",
    Kind.EFFUSION: "Pleural Effusion",
    Kind.PLEURAL_THICKENING: "Pleural Other",
    Kind.FRACTURE: "Fracture",
    **dict.fromkeys(DEVICES, "Support Devices"),
}

TOPIC: dict[Kind, Topic] = {
    Kind.CARDIOMEGALY: Topic.HEART,
    Kind.WIDE_MEDIASTINUM: Topic.HEART,
    Kind.OPACITY: Topic.LUNGS,
    Kind.CONSOLIDATION: Topic.LUNGS,
    Kind.EDEMA: Topic.LUNGS,
    Kind.ATELECTASIS: Topic.LUNGS,
    Kind.NODULE: Topic.LUNGS,
    Kind.PNEUMOTHORAX: Topic.PLEURA,
    Kind.EFFUSION: Topic.PLEURA,
    Kind.PLEURAL_THICKENING: Topic.PLEURA,
    Kind.FRACTURE: Topic.BONES,
    **dict.fromkeys(DEVICES, Topic.DEVICES),
}
