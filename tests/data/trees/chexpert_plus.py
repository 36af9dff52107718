"""Trees in the layout of CheXpert Plus, with invented ids and texts of our own.

The columns are those that the data set documents, in its order; a table that pandas wrote begins
with one that has no name.
"""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEADER = (
    "", "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id",
    "patient_report_date_order", "report", "section_narrative", "section_clinical_history",
    "section_history", "section_comparison", "section_technique", "section_procedure_comments",
    "section_findings", "section_impression", "section_end_of_impression", "section_summary",
    "section_accession_number", "age", "sex", "race", "ethnicity", "interpreter_needed",
    "insurance_type", "recent_bmi", "deceased", "split",
)  # fmt: skip

Row = dict[str, Any]


def row(place: str, **fields: Any) -> Row:
    """Make the row of a film.

    Args:
        place: Such as `train/patient1/study1/view1_frontal`.
        **fields: Cells that shall be otherwise.

    Returns:
        The row; the report says nothing abnormal.
    """
    split, patient, _, film = place.split("/")
    made: Row = {
        "path_to_image": f"{place}.jpg",
        "path_to_dcm": f"{place}.dcm",
        "frontal_lateral": "Frontal" if film.endswith("frontal") else "Lateral",
        "ap_pa": "AP" if film.endswith("frontal") else "",
        "deid_patient_id": patient,
        "patient_report_date_order": 1,
        "report": "NARRATIVE: not read here.",
        "section_clinical_history": "Cough for a week.",
        "section_comparison": "None.",
        "section_findings": "The lungs are clear.",
        "section_impression": "Normal film.",
        "age": 57.0,
        "sex": "Female",
        "split": split,
    }
    return made | fields


def standard_rows() -> list[Row]:
    """Make a set with one study for every rule; tests/data/chexpert_plus counts it by hand."""
    return [
        # Two reports of a patient, the later one first, and with two films.
        row("train/patient1/study2/view1_frontal", patient_report_date_order=2, ap_pa="PA",
            section_findings="Small left effusion.\nThe heart is large."),
        row("train/patient1/study2/view2_lateral", patient_report_date_order=2,
            section_findings="Small left effusion.\nThe heart is large."),
        row("train/patient1/study1/view1_frontal"),
        # An impression alone; history under its other name.
        row("train/patient2/study1/view1_frontal", section_findings="", section_clinical_history="",
            section_history="Fall.", patient_report_date_order="1.0"),
        # Rows that disagree on their report, and a patient without an id.
        row("train/patient3/study1/view1_frontal"),
        row("train/patient3/study1/view2_lateral", section_findings="Something else is seen."),
        row("train/patient4/study1/view1_frontal", deid_patient_id=""),
        row("train/patient4/study1/view2_lateral", deid_patient_id=""),
        row("valid/patient5/study1/view1_frontal", ap_pa="", section_impression="nan"),
    ]  # fmt: skip


def draw(path: Path, shade: int) -> None:
    """Draw a film as a PNG file."""
    pixels = np.full((40, 56), shade, dtype=np.uint8)
    pixels[:8, :8] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


def build(
    root: Path,
    rows: Iterable[Row] | None = None,
    *,
    films: str = "PNG/PNG",
    suffix: str = ".png",
    paint: Callable[[Path, int], None] = draw,
) -> Path:
    """Write the table, and a film for every row.

    Args:
        root: Made if missing.
        rows: The rows; None takes the standard ones.
        films: Folder of `train` and `valid` in the root.
        suffix: Of the films.
        paint: Draws a film of a shade, 20 for the first row, 30 for the next.

    Returns:
        The root.
    """
    rows = list(standard_rows() if rows is None else rows)
    root.mkdir(parents=True, exist_ok=True)
    with (root / "df_chexpert_plus_240401.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, HEADER, restval="")
        writer.writeheader()
        writer.writerows({"": number} | each for number, each in enumerate(rows))
    for number, each in enumerate(rows):
        path = root / films / each["path_to_image"]
        paint(path.with_suffix(suffix), 20 + 10 * number)
    return root
