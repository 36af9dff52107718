"""The annotator and labeler `rules` on sentences of our own."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editgrpo.errors import ConfigError
from editgrpo.reports import EntityType, Presence, load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS, LabelClass

ANNOTATOR = load_annotator("rules")
LABELER = load_labeler("rules")

CODES = {"+": LabelClass.POSITIVE, "-": LabelClass.NEGATIVE, "?": LabelClass.UNCERTAIN}


def labels(text: str) -> dict[str, str]:
    """Return the findings a text labels, as name to + (positive), - (negative) or ? (uncertain)."""
    codes = {code: sign for sign, code in CODES.items()}
    row = LABELER.classify([text])[0]
    return {
        name: codes[LabelClass(value)]
        for name, value in zip(FINDINGS, row, strict=True)
        if value and name != "No Finding"
    }


def expected(short: str) -> dict[str, str]:
    """Expand "+Edema -Fracture"; underscores stand for spaces."""
    return {word[1:].replace("_", " "): word[0] for word in short.split()}


@pytest.mark.parametrize(
    ("text", "short"),
    [
        # negation and its scope
        ("No effusion or pneumothorax.", "-Pleural_Effusion -Pneumothorax"),
        (
            "No focal consolidation, pleural effusion, or pneumothorax.",
            "-Consolidation -Pleural_Effusion -Pneumothorax",
        ),
        ("No effusion, but there is edema.", "-Pleural_Effusion +Edema"),
        ("Without pneumothorax but with edema.", "-Pneumothorax +Edema"),
        ("No pneumothorax and mild cardiomegaly.", "-Pneumothorax +Cardiomegaly"),
        ("No effusion is seen, and the heart is enlarged.", "-Pleural_Effusion +Cardiomegaly"),
        ("No edema with stable cardiomegaly.", "-Edema +Cardiomegaly"),
        ("The lungs are free of edema.", "-Edema"),
        ("Lungs are clear of consolidation.", "-Lung_Opacity -Consolidation"),
        ("Negative for pneumonia.", "-Pneumonia"),
        ("Pneumothorax is not seen.", "-Pneumothorax"),
        ("Effusion and pneumothorax are absent.", "-Pleural_Effusion -Pneumothorax"),
        ("Cardiomegaly, pneumothorax is not seen.", "+Cardiomegaly -Pneumothorax"),
        ("No findings to suggest pneumonia.", "-Pneumonia"),
        ("No evidence of pneumonia.", "-Pneumonia"),
        # not negations
        ("No change in the effusion.", "+Pleural_Effusion"),
        ("Not significantly changed cardiomegaly.", "+Cardiomegaly"),
        ("No significant interval change in left basilar atelectasis.", "+Atelectasis"),
        ("Unchanged cardiomegaly.", "+Cardiomegaly"),
        # gone
        ("The left effusion has resolved.", "-Pleural_Effusion"),
        ("Interval resolution of the right pneumothorax.", "-Pneumothorax"),
        ("Resolved effusion.", "-Pleural_Effusion"),
        ("Improved edema.", "+Edema"),
        # uncertain
        ("Possible pneumonia.", "?Pneumonia"),
        ("Cannot exclude pneumonia.", "?Pneumonia"),
        ("A small effusion cannot be excluded.", "?Pleural_Effusion"),
        ("Atelectasis versus pneumonia.", "?Atelectasis ?Pneumonia"),
        ("Opacity may represent pneumonia.", "+Lung_Opacity ?Pneumonia"),
        # statements of normality
        ("Heart size is normal.", "-Cardiomegaly"),
        ("The heart is not enlarged.", "-Cardiomegaly"),
        ("The heart is moderately enlarged.", "+Cardiomegaly"),
        ("Lungs are clear.", "-Lung_Opacity"),
        (
            "The cardiomediastinal silhouette is within normal limits.",
            "-Enlarged_Cardiomediastinum -Cardiomegaly",
        ),
        # history and questions
        ("History of pneumonia.", ""),
        ("No acute cardiopulmonary abnormality.", ""),
        # several sentences: positive before uncertain before negative
        ("No edema. Possible edema.", "?Edema"),
        ("Possible edema. No edema. Edema is seen.", "+Edema"),
        # devices
        ("Endotracheal tube tip above the carina.", "+Support_Devices"),
        ("A left chest pacemaker is present.", "+Support_Devices"),
    ],
)
def test_classify(text: str, short: str) -> None:
    assert labels(text) == expected(short)


@pytest.mark.parametrize(
    ("text", "is_normal"),
    [
        ("", True),
        ("Heart size is normal. Lungs are clear.", True),
        ("Lungs are clear. Degenerative change of the spine.", False),
        ("Pacemaker in place. Lungs are clear.", True),
        ("Possible pneumonia.", False),
        ("No pneumonia.", True),
    ],
)
def test_no_finding_means_that_no_abnormality_is_asserted(text: str, is_normal: bool) -> None:
    assert bool(LABELER.label([text])[0, FINDINGS.index("No Finding")]) is is_normal


def test_label_merges_positive_and_uncertain() -> None:
    row = LABELER.label(["Possible edema. Cardiomegaly. No fracture."])
    assert row.dtype == np.uint8 and row.shape == (1, 14)
    assert {FINDINGS[i] for i in np.flatnonzero(row[0])} == {"Edema", "Cardiomegaly"}


def test_entities_carry_text_type_and_presence() -> None:
    (report,) = ANNOTATOR.annotate(
        ["No pneumothorax in the left lung. Heart size is normal. Edema."]
    )
    assert [(e.text, e.type) for e in report.entities] == [
        ("pneumothorax", EntityType.NON_DISEASE),
        ("left lung", EntityType.ANATOMY),
        ("Heart size is normal", EntityType.NON_ABNORMALITY),
        ("Edema", EntityType.DISEASE),
    ]
    assert [e.type.presence for e in report.entities[:2]] == [Presence.ABSENT, None]


def test_sentences_hold_the_text_of_their_spans() -> None:
    text = "  1. Mild edema.\n\nno effusion "
    (report,) = ANNOTATOR.annotate([text])
    spans = [text[span.start : span.end] for span in ANNOTATOR.split(text)]
    assert (
        [sentence.text for sentence in report.sentences]
        == spans
        == ["1. Mild edema.", "no effusion"]
    )


def test_equal_sentences_are_read_once() -> None:
    first, second = ANNOTATOR.annotate(["Small effusion. Edema.", "Edema. Small effusion."])
    assert first.sentences[0] is second.sentences[1]


@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(st.text() | st.from_regex(r"(no |heart |size |[,./(]|is |normal |effusion )*")))
def test_any_text_is_annotated_and_labelled(texts: list[str]) -> None:
    reports = ANNOTATOR.annotate(texts)
    assert [len(report.sentences) for report in reports] == [len(ANNOTATOR.split(t)) for t in texts]
    assert LABELER.classify(texts).shape == (len(texts), 14)


def seconds_for(text: str) -> float:
    """Return the least processor time of three labellings, of texts that are not the same."""
    times = []
    for end in ("a", "b", "c"):
        start = time.process_time()
        LABELER.classify([f"{text} {end}"])
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["effusion - none ", "effusion: none, ", "no change in ", "a: "])
def test_words_that_repeat_without_end_take_time_by_their_length(unit: str) -> None:
    """As a policy writes that has collapsed; eight times the text took 60 times the time."""
    assert seconds_for(unit * 1600) < 24 * seconds_for(unit * 200) + 0.05


@pytest.mark.parametrize("load", [load_annotator, load_labeler])
def test_an_unknown_name_suggests_the_nearest(load: object) -> None:
    with pytest.raises(ConfigError, match="did you mean 'rules'"):
        load("rule")  # type: ignore[operator]
