"""What a source might have read, put together by hand, and a preparation of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editgrpo.data.prepare import (
    Candidates,
    Inclusion,
    PrepareOptions,
    PrepareSummary,
    finish,
)
from editgrpo.data.prepared.flow import FlowKind
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from tests.builders import SMALL_BUDGET, noise
from tests.data.faults import FAULTS


def an_image(name: str, view: View = View.PA) -> StudyImage:
    return StudyImage(image_id=name, view=view)


def a_prior(name: str, view: View = View.PA) -> StudyImage:
    return StudyImage(image_id=name, view=view, timepoint=Timepoint.PRIOR)


def a_study(study_id: str, *images: StudyImage, **fields: Any) -> Study:
    prior = {"prior_study_id": "before", "prior_time": "1"}
    has_prior = any(image.timepoint is Timepoint.PRIOR for image in images)
    values: dict[str, Any] = {
        "patient_id": study_id,
        "split": Split.TRAIN,
        "time": "2",
        "findings": "Clear.",
        **(prior if has_prior else {}),
        **fields,
    }
    return Study(study_id=study_id, images=images, **values)


def candidates(root: Path, studies: Sequence[Study], **more: Any) -> Candidates:
    """Draw the images of some studies; those whose id begins with `bad` cannot be read."""
    root.mkdir(exist_ok=True)
    names = {image.image_id for study in studies for image in study.images}
    for k, name in enumerate(sorted(names)):
        noise(40, 40, seed=k).save(root / f"{name}.png")
        if name.startswith("bad"):
            (root / f"{name}.png").write_bytes(FAULTS["half a PNG"])
        if name.startswith("absent"):
            (root / f"{name}.png").unlink()
    return Candidates(
        dataset="folder",
        studies=list(studies),
        image_files={name: str(root / f"{name}.png") for name in names},
        split_rule="as given",
        **more,
    )


def run(
    tmp_path: Path, studies: Sequence[Study], inclusion: Inclusion | None = None, **more: Any
) -> PrepareSummary:
    options = PrepareOptions(
        inclusion=inclusion or Inclusion(), budget=SMALL_BUDGET, workers=1, **more
    )
    root = tmp_path / "root"
    return finish(candidates(root, studies), tmp_path / "out", options, root=root)


def rejected(tmp_path: Path) -> list[tuple[str, str | None]]:
    """Return study and image of everything that was left out."""
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    return [(line["study_id"], line["image"]) for line in map(json.loads, lines)]


def left_out(summary: PrepareSummary) -> dict[str, int]:
    return {row.name: row.total for row in summary.flow.rows if row.kind is FlowKind.LEFT_OUT}


def shown(tmp_path: Path) -> dict[str, list[str]]:
    return {
        study.study_id: [image.image_id for image in study.images]
        for study in StudySet.load(tmp_path / "out")
    }
