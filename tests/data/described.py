"""A small set whose statistics are worked out by hand, for the tests of what describes sets."""

from pathlib import Path

from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from tests.builders import write_set

INDICATION = "Cough."


def image(image_id: str, view: View, timepoint: Timepoint = Timepoint.CURRENT) -> StudyImage:
    return StudyImage(image_id=image_id, view=view, timepoint=timepoint)


STUDIES = [
    Study(
        study_id="s1",
        patient_id="p1",
        split=Split.TRAIN,
        images=(image("a", View.PA), image("b", View.LATERAL)),
        time="2150-01-01T08:00:00",
        findings="The lungs are clear.",
    ),
    Study(
        study_id="s2",
        patient_id="p1",
        split=Split.TRAIN,
        images=(
            image("c", View.AP),
            image("a", View.PA, Timepoint.PRIOR),
            image("b", View.LATERAL, Timepoint.PRIOR),
        ),
        time="2150-01-11T07:00:00",  # 9 days and 23 hours later
        prior_study_id="s1",
        prior_time="2150-01-01T08:00:00",
        indication=INDICATION,
        findings="Small left pleural effusion. No pneumothorax.",
    ),
    Study(
        study_id="s3",
        patient_id="p2",
        split=Split.TRAIN,
        images=(image("d", View.PA),),
        indication=INDICATION,
        comparison="None.",
        findings="Edema.",
    ),
    Study(study_id="s4", patient_id="p3", split=Split.TEST, images=(image("e", View.UNKNOWN),)),
]


def described_set(folder: Path) -> StudySet:
    """Write the studies and open them."""
    return StudySet.load(write_set(folder, STUDIES))
