"""Trees in the layout of ReXGradient-160K, with invented ids and texts of our own.

`standard_entries` is a small set with one study for every rule; `tests/data/rexgradient` counts it
by hand. Every builder gives the same files each time.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Entry = dict[str, Any]
Draw = Callable[[Path, int], None]


def entry(
    patient: str, accession: str, views: Iterable[str | None] = ("PA",), **fields: Any
) -> tuple[str, Entry]:
    """Make an entry of the metadata, and its key.

    Args:
        patient: PatientID.
        accession: AccessionNumber; the UIDs are made from it.
        views: ImageViewPosition; one image each.
        **fields: Fields that shall be otherwise; `...` takes a field away.

    Returns:
        The key and the entry.
    """
    study = f"1.2.{accession}"
    below = f"../deid_png/{patient}/{accession}/studies/{study}/series"
    views = list(views)
    number = len(views)
    made: Entry = {
        "PatientID": patient,
        "AccessionNumber": accession,
        "StudyInstanceUid": study,
        "PatientSex": "F",
        "PatientAge": "057Y",
        "StudyDate": 20150101,
        "Indication": "Cough for a week.",
        "Comparison": "None.",
        "Findings": "Both lungs are well aerated. The heart is not enlarged.",
        "Impression": "Normal film.",
        "ImagePath": [f"{below}/{study}.{k}/instances/{study}.{k}.1.png" for k in range(number)],
        "ImageViewPosition": views,
        "ImageModality": ["DX"] * number,
        "ImageBodyPart": ["CHEST"] * number,
        "ImageShape": [[24, 20]] * number,
    }
    made |= fields
    kept = {name: value for name, value in made.items() if value is not ...}
    return f"p{patient}_a{accession}_s{study}", kept


def standard_entries() -> dict[str, dict[str, Entry]]:
    """Make a set with one study for every rule of inclusion.

    Returns:
        Entries by key, by the set's own name of the split.
    """
    seven = ["PA"] * 7
    return {
        "train": dict(
            [
                entry("A", "101", ["PA", "LATERAL"], StudyDate=20150101),
                entry("A", "102", ["AP"], StudyDate=20150301, Comparison="Film of January."),
                entry("A", "103", ["AP", "LL"], StudyDate=20150301),
                entry("B", "104", ["PA"], StudyDate=20140101, Findings="None"),
                entry("B", "105", ["POSTERO_ANTERIOR", None], StudyDate=20160101),
                entry("C", "106", seven),
                entry("C", "107", seven[:6], StudyDate=20150201),
                entry("D", "108", ["PA", "LATERAL"], ImageViewPosition=["PA"]),
                entry("E", "109", Findings=float("nan"), Impression=None),
                entry("E", "110", ["KUB"], ImageBodyPart=["ABDOMEN"], StudyDate="unknown"),
                entry("E", "111", []),
            ]
        ),
        "valid": dict([entry("F", "201", ["PA", "LATERAL"]), entry("G", "202", Impression="")]),
        "test": dict([entry("H", "301", ["AP"]), entry("H", "302", PatientID=None)]),
    }


def build(
    root: Path,
    splits: Mapping[str, Mapping[str, Entry]],
    *,
    draw: Draw | None = None,
    metadata: str = "metadata",
) -> Path:
    """Write a tree.

    Args:
        root: Where it is made.
        splits: Entries by key, by the set's own name of the split.
        draw: Writes the image of a path and number; None writes none.
        metadata: The folder of the metadata, below `root`.

    Returns:
        `root`.
    """
    (root / metadata).mkdir(parents=True, exist_ok=True)
    number = 0
    for split, entries in splits.items():
        path = root / metadata / f"{split}_metadata_view_position.json"
        path.write_text(json.dumps(entries, indent=1), encoding="utf-8")
        for made in entries.values():
            for listed in made["ImagePath"]:
                number += 1
                if draw is not None:
                    path = root.joinpath(*Path(listed).parts[1:])
                    path.parent.mkdir(parents=True, exist_ok=True)
                    draw(path, number)
    return root


def draw_film(path: Path, number: int) -> None:
    """Write a tiny film; every third one has 16 bits, of which it uses 12."""
    rows, columns = np.mgrid[0:24, 0:20]
    pixels = (rows * 8 + columns * 2 + number * 3) % 256
    if number % 3 == 0:
        Image.fromarray((pixels * 16).astype(np.uint16)).save(path)
    else:
        Image.fromarray(pixels.astype(np.uint8)).save(path)
