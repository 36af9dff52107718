"""What a sentence says of a finding, in the wordings that turn it round or seem to.

`polarity.jsonl` holds sentences of our own: kind, text, and the class of each named label. Labels
that are not named are not judged.
"""

import json
from pathlib import Path

import pytest

from editgrpo.reports import Presence, load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS, LabelClass
from editgrpo.rewards import load_reward
from tests.builders import shared_data

Row = dict[str, str]

ROWS: list[Row] = [
    json.loads(line)
    for line in (Path(__file__).parent / "polarity.jsonl").read_text("utf-8").splitlines()
]
KINDS = sorted({row["kind"] for row in ROWS})
NOUNS = {
    "Enlarged Cardiomediastinum": "mediastinal widening",
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "lung opacity",
    "Lung Lesion": "lung nodule",
    "Edema": "pulmonary edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural effusion",
    "Pleural Other": "pleural thickening",
    "Fracture": "fracture",
    "Support Devices": "pacemaker",
}


def wanted(row: Row) -> dict[str, str]:
    return {label: value for label, value in row.items() if label in FINDINGS}


def found(row: Row) -> dict[str, str]:
    classes = load_labeler("rules").classify([row["text"]])[0]
    return {label: LabelClass(classes[FINDINGS.index(label)]).name.lower() for label in wanted(row)}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kind']}: {row['text']}")
def test_a_sentence_has_its_class(row: Row) -> None:
    assert found(row) == wanted(row)


def test_the_cases_of_the_outside_look_have_their_class() -> None:
    cases = shared_data().parent / "cases" / "polarity.jsonl"
    if not cases.is_file():
        pytest.skip("the cases are not at hand: no ../shared/cases beside the repository")
    rows = [json.loads(line) for line in cases.read_text("utf-8").splitlines()]
    assert [(row["text"], found(row)) for row in rows] == [
        (row["text"], wanted(row)) for row in rows
    ]


def mentions(label: str, text: str) -> bool:
    """Tell whether a text, by itself, is about a finding."""
    return bool(load_labeler("rules").classify([text])[0, FINDINGS.index(label)])


def agrees(row: Row) -> bool:
    """Tell whether the entities of a sentence say of each finding what its label should say."""
    (report,) = load_annotator("rules").annotate([row["text"]])
    for label, value in wanted(row).items():
        said = {e.type.presence for e in report.entities if mentions(label, e.text)}
        if value in ("positive", "uncertain"):
            if Presence.PRESENT not in said:
                return False
        elif said != ({Presence.ABSENT} if value == "negative" else set()):
            return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_the_entities_say_what_the_labels_say(kind: str) -> None:
    rows = [row for row in ROWS if row["kind"] == kind and "No Finding" not in row]
    assert [row["text"] for row in rows if not agrees(row)] == []


def plain(row: Row, *, inverted: bool) -> str:
    """Say plainly what a sentence means, or its opposite."""
    return " ".join(
        f"There is {'no ' * ((value == 'negative') is not inverted)}{NOUNS[label]}."
        for label, value in wanted(row).items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_right_rollout_earns_more_than_the_wrong_one(kind: str) -> None:
    rows = [
        row
        for row in ROWS
        if row["kind"] == kind and wanted(row).keys() <= NOUNS.keys()
        if set(wanted(row).values()) <= {"positive", "negative"}
    ]
    references = [row["text"] for row in rows]
    reward = load_reward("rules")
    right = reward.score([plain(row, inverted=False) for row in rows], references).total
    wrong = reward.score([plain(row, inverted=True) for row in rows], references).total
    assert len(rows) > 20
    assert [text for text, r, w in zip(references, right, wrong, strict=True) if r <= w] == []
