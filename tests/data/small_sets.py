"""A prepared set of seven studies that the library writes, and ways to change it afterwards."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import Candidates, PrepareOptions, finish
from editgrpo.data.prepared.arrow_files import read_arrow, write_arrow
from editgrpo.data.priors import attach_priors
from editgrpo.data.redact import Redactor
from editgrpo.data.study import Split, Study, StudyImage, View

# One or two patches: an image of 20 x 20 becomes 28 x 28, one of 20 x 40 becomes 28 x 56.
TINY = PixelBudget(min_pixels=784, max_pixels=1568)

# Patient, split, time; two or three studies of a patient let a prior be wrong in every way.
_STUDIES = {
    "s1": ("p1", Split.TRAIN, "2150-01-01T08:00:00.250"),
    "s2": ("p1", Split.TRAIN, "2150-01-03T20:00:00.250"),
    "s3": ("p1", Split.TRAIN, "2150-02-01"),
    "s4": ("p2", Split.TRAIN, "2149-05-05"),
    "s5": ("p3", Split.VALIDATION, "2151-01-01"),
    "s6": ("p3", Split.VALIDATION, "2151-01-02"),
    "s7": ("p4", Split.TEST, ""),
}


def small_studies() -> list[Study]:
    """Return the studies, each with a frontal and a lateral image, and with their priors."""
    return attach_priors(
        [
            Study(
                study_id=study_id,
                patient_id=patient,
                split=split,
                images=(
                    StudyImage(image_id=f"{study_id}-front", view=View.PA),
                    StudyImage(image_id=f"{study_id}-side", view=View.LATERAL),
                ),
                time=time,
                indication="Cough.",
                findings=f"Clear lungs in {study_id[1:]}.",
            )
            for study_id, (patient, split, time) in _STUDIES.items()
        ]
    )


def draw_images(folder: Path, image_ids: list[str], *, seed: int = 0) -> dict[str, str]:
    """Write an image of noise for each id and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths: dict[str, str] = {}
    for number, image_id in enumerate(image_ids):
        pixels = rng.integers(0, 256, (20, 20 + 20 * (number % 2)), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        paths[image_id] = str(path)
    return paths


def write_small_set(
    folder: Path,
    *,
    dataset: str = "iu-xray",
    studies: list[Study] | None = None,
    originals: dict[str, str] | None = None,
    redactor: Redactor | None = None,
) -> Path:
    """Prepare the studies into `folder`/set and return that."""
    studies = small_studies() if studies is None else studies
    if originals is None:
        ids = sorted({image.image_id for study in studies for image in study.images})
        originals = draw_images(folder / "originals", ids)
    candidates = Candidates(
        dataset=dataset, studies=studies, image_files=originals, split_rule="by hand"
    )
    options = PrepareOptions(budget=TINY, workers=1, redactor=redactor)
    finish(candidates, folder / "set", options, root=folder / "originals")
    return folder / "set"


def reseal(folder: Path, *names: str) -> None:
    """Make prepared.json promise the files as they are now, as if they had been written so."""
    path = folder / "prepared.json"
    prepared = json.loads(path.read_text())
    for name in names:
        if (folder / name).exists():
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            prepared["files"][name] = digest
        else:
            prepared["files"].pop(name, None)
    path.write_text(json.dumps(prepared))


def change_table(
    folder: Path, name: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]] | None]
) -> None:
    """Rewrite an Arrow file of a set with its rows changed, and reseal it."""
    path = folder / name
    table = read_arrow(path)
    rows = table.to_pylist()
    changed = change(rows)
    write_arrow(path, pa.Table.from_pylist(rows if changed is None else changed, table.schema))
    reseal(folder, name)


def change_study(folder: Path, study_id: str, /, **fields: Any) -> None:
    """Give a study other values, behind the back of the hashes."""
    (split,) = [
        split
        for split in Split
        if study_id
        in read_arrow(folder / "studies" / f"{split.value}.arrow")["study_id"].to_pylist()
    ]

    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["study_id"] == study_id:
                row.update(fields)

    change_table(folder, f"studies/{split.value}.arrow", change)


def shown_images(*names: str, prior: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Return images as a table holds them."""
    times = [("current", names), ("prior", prior)]
    return [
        {"image_id": name, "view": "PA", "timepoint": time} for time, part in times for name in part
    ]
