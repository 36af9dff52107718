"""Tables of studies without images."""

import json
from pathlib import Path

from editgrpo.data.prepared.store import FORM, StudySet, write_tables
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View


def a_study(study_id: str = "s1", split: Split = Split.TRAIN, **fields: str) -> Study:
    return Study(
        study_id=study_id,
        patient_id=f"p{study_id}",
        split=split,
        images=(
            StudyImage(image_id=f"{study_id}-a", view=View.PA),
            StudyImage(image_id=f"{study_id}-b", view=View.LATERAL, timepoint=Timepoint.PRIOR),
        ),
        **fields,
    )


def tables_alone(folder: Path, studies: list[Study]) -> StudySet:
    """Write tables and the least account with which they load; no images."""
    write_tables(folder, studies)
    files = {path.relative_to(folder).as_posix(): "" for path in folder.rglob("*.arrow")}
    (folder / "prepared.json").write_text(json.dumps({"form": FORM, "files": files}))
    return StudySet.load(folder)


FIVE = [
    a_study("s0"),
    a_study("s1", time="2150-01-01"),
    a_study("s2", Split.VALIDATION),
    a_study("s3", Split.TEST),
    a_study("s4", Split.TEST, findings="Œdème, 2 µm – 'ok'\u2028end\x00\r\n\tNUL"),
]
