"""The 14 CheXpert findings: names, order and CheXbert's classes, stated once for the whole package.

Source: stanfordmlgroup/CheXbert `src/constants.py` (order of its 14 heads) and CheXbert, EMNLP
2020.
"""

from enum import IntEnum

FINDINGS: tuple[str, ...] = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)

# The five findings of CheXpert's leaderboard, over which micro-F1-5 and macro-F1-5 run.
FIVE_FINDINGS: tuple[str, ...] = (
    "Cardiomegaly",
    "Edema",
    "Consolidation",
    "Atelectasis",
    "Pleural Effusion",
)

NO_FINDING_INDEX = FINDINGS.index("No Finding")


class LabelClass(IntEnum):
    """CheXbert's classes of one finding; positive and uncertain count as 1 in every F1 of this
    package."""

    BLANK = 0
    POSITIVE = 1
    NEGATIVE = 2
    UNCERTAIN = 3
