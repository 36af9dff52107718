"""Trees in the layout of PadChest-GR, with invented ids and texts of our own.

`standard_tree` holds one study for every rule; `tests/data/padchest_gr` counts it by hand. Every
builder gives the same files each time.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_MASTER_HEADER = (
    "StudyID,ImageID,label,boxes_count,extra_boxes_count,locations,prior_study,progression_status,"
    "prior_imageID,sentence_en,sentence_es,study_is_benchmark,study_is_validation,split,PatientID,"
    "patient_is_benchmark,PatientBirth,PatientSex_DICOM,StudyDate_DICOM,StudyDate,PatientAge,"
    "label_group,Year"
)
MASTER_COLUMNS = tuple(_MASTER_HEADER.split(","))
CURRENT = "Padchest_GR_files/PadChest_GR"
PRIOR = "PadChest_GR_progression_prior_studies/PadChest_GR_progression_prior_studies"

Report = dict[str, Any]
Row = dict[str, Any]


def abnormal(english: str, spanish: str) -> dict[str, Any]:
    """Make a finding with everything that one has."""
    return {
        "sentence_en": english,
        "sentence_es": spanish,
        "abnormal": True,
        "boxes": [[0.1, 0.05, 0.35, 0.15]],
        "extra_boxes": [],
        "labels": ["pleural thickening"],
        "locations": ["pleural"],
        "progression": None,
    }


def normal(english: str, spanish: str) -> dict[str, Any]:
    """Make a finding without the keys that entries of normal sentences lack."""
    return {"sentence_en": english, "sentence_es": spanish, "abnormal": False}


THICKENING = abnormal("Slight pleural thickening", "Leve engrosamiento pleural")
NO_EFFUSION = normal("No effusion is seen.", "No se ve derrame.")


def report(study: str, image: str, /, *findings: dict[str, Any], **fields: Any) -> Report:
    """Make an entry of the grounded reports.

    Args:
        study: StudyID.
        image: ImageID.
        *findings: Its findings.
        **fields: Fields that shall be otherwise; `...` takes a field away.

    Returns:
        The entry.
    """
    made: Report = {
        "StudyID": study,
        "ImageID": image,
        "PreviousStudyID": None,
        "PreviousImageID": None,
        "findings": list(findings),
    }
    made |= fields
    return {name: value for name, value in made.items() if value is not ...}


def row(study: str, image: str, split: str, patient: str, day: str, /, **cells: Any) -> Row:
    """Make a row of the master table, with the sentences of no report."""
    made: Row = dict.fromkeys(MASTER_COLUMNS, "")
    made |= {
        "StudyID": study,
        "ImageID": image,
        "label": "pleural thickening",
        # As numpy prints a list, over two lines: PadChest's own table has such cells.
        "locations": "['pleural'\n 'apical']",
        "prior_study": "False",
        "split": split,
        "PatientID": patient,
        "StudyDate_DICOM": day,
        "StudyDate": f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else "",
    }
    return made | cells


def standard_reports() -> list[Report]:
    """Make the reports: one study for every rule."""
    both = (THICKENING, NO_EFFUSION)
    return [
        report("101", "101_aaa.png", *both),
        report("102", "102_aaa.png", *both, PreviousStudyID="901", PreviousImageID="901_pri.png"),
        report("103", "103_aaa.png", *both, PreviousStudyID="101", PreviousImageID="101_aaa.png"),
        # 104 was taken before the study that it calls previous.
        report("104", "104_aaa.png", *both, PreviousStudyID="103", PreviousImageID="103_aaa.png"),
        report("105", "105_aaa.png"),
        report("106", "106_aaa.png", normal("Cardiomegaly.", "")),
        report("107", "107_aaa.png", *both),
        report("108", "108_aaa.png", *both),
        report("201", "201_aaa.png", NO_EFFUSION, PreviousStudyID="902", PreviousImageID=None),
        report("301", "301_aaa.png", *both, PreviousStudyID="201", PreviousImageID="201_aaa.png"),
        report("302", "302_aaa", NO_EFFUSION),
    ]


def standard_rows() -> list[Row]:
    """Make the master table: 107 is missing, 108 is in two splits, 109 has no report."""
    return [
        row("101", "101_aaa.png", "train", "11", "20100101"),
        row("101", "101_aaa.png", "train", "11", "20100101", label="normal"),
        row("102", "102_aaa.png", "train", "12", "20110101"),
        row("103", "103_aaa.png", "train", "11", "20120101"),
        row("104", "104_aaa.png", "train", "11", "20110601.0"),
        row("105", "105_aaa.png", "train", "13", "20100101"),
        row("106", "106_aaa.png", "train", "14", "20100101"),
        row("108", "108_aaa.png", "train", "15", "20100101"),
        row("108", "108_aaa.png", "test", "15", "20100101"),
        row("109", "109_aaa.png", "train", "16", "20100101"),
        row("201", "201_aaa.png", "validation", "21", "20100101"),
        row("301", "301_aaa.png", "test", "31", "20100101"),
        row("301", "301_bbb.png", "test", "31", "20100101"),
        row("302", "302_aaa.png", "test", "32", ""),
    ]


def standard_tree(root: Path) -> Path:
    """Write the standard tree, its images with 8 and 16 bits, the prior ones in a folder apart."""
    return build(root, standard_reports(), standard_rows(), draw=draw_film)


def build(
    root: Path,
    reports: Iterable[Report],
    rows: Iterable[Row],
    *,
    draw: Callable[[Path, int], None] | None = None,
    table: str = "master_table.csv",
) -> Path:
    """Write a tree.

    Args:
        root: Where it is made.
        reports: Of `grounded_reports_20240819.json`.
        rows: Of the master table.
        draw: Writes the image of a path and number; None writes none.
        table: `master_table.csv`, or with `.zip` behind it as it is shipped.

    Returns:
        `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    reports, rows = list(reports), list(rows)
    path = root / "grounded_reports_20240819.json"
    path.write_text(json.dumps(reports, indent=1, ensure_ascii=False), encoding="utf-8")
    write_table(root / table, MASTER_COLUMNS, rows)
    current = {name for made in (*reports, *rows) if (name := made.get("ImageID"))}
    prior = {name for made in reports if (name := made.get("PreviousImageID"))} - current
    names = [(CURRENT, name) for name in sorted(current)] + [
        (PRIOR, name) for name in sorted(prior)
    ]
    for number, (folder, name) in enumerate(names):
        if draw is not None:
            (root / folder).mkdir(parents=True, exist_ok=True)
            draw(root / folder / f"{name.removesuffix('.png')}.png", number)
    return root


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Row]) -> Path:
    """Write a CSV table, in a zip archive if the name asks for one."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode("utf-8")
    if path.suffix != ".zip":
        path.write_bytes(content)
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__MACOSX/._master_table.csv"), b"\0")
        archive.writestr(zipfile.ZipInfo("master_table.csv"), content)
    return path


def write_padchest(path: Path, *images: tuple[str, str, str, str, str]) -> Path:
    """Write PadChest's own table.

    Args:
        path: Where.
        *images: ImageID, StudyID, PatientID, StudyDate_DICOM and Projection of each.

    Returns:
        `path`.
    """
    columns = ("", "ImageID", "StudyID", "PatientID", "StudyDate_DICOM", "Projection", "Report")
    rows = [dict(zip(columns, ("0", *image, "texto\n y mas"), strict=True)) for image in images]
    return write_table(path, columns, rows)


def draw_film(path: Path, number: int) -> None:
    """Write a tiny film of 16 bits, of which it uses 12; every fourth one has 8."""
    rows, columns = np.mgrid[0:26, 0:22]
    pixels = (rows * 8 + columns * 2 + number * 3) % 256
    if number % 4 == 3:
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    else:
        Image.fromarray((pixels * 16).astype(np.uint16)).save(path)
