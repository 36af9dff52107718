"""Sentence splitting: cases by hand, and what must hold for any text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from editgrpo.reports.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("Clear lungs. Normal heart.", ["Clear lungs.", "Normal heart."]),
        ("the heart is normal . no effusion .", ["the heart is normal .", "no effusion ."]),
        ("No effusion.The heart is big.", ["No effusion.", "The heart is big."]),
        (
            "1. Mild edema. 2. No effusion or\n pneumothorax.",
            ["1. Mild edema.", "2. No effusion or\n pneumothorax."],
        ),
        ("1. mild edema 2. no effusion", ["1. mild edema", "2. no effusion"]),
        (
            "A nodule of 2.5 cm. XXXX is at T10. XXXX XXXX.",
            ["A nodule of 2.5 cm.", "XXXX is at T10.", "XXXX XXXX."],
        ),
        (
            "Told Dr. Gray at 5 a.m. by phone, i.e. at once. Edema vs. pneumonia.",
            ["Told Dr. Gray at 5 a.m. by phone, i.e. at once.", "Edema vs. pneumonia."],
        ),
        ("Film No. 2 is dark. No. 3 is not.", ["Film No. 2 is dark.", "No. 3 is not."]),
        ("Tube at approx. 4 cm above.", ["Tube at approx. 4 cm above."]),
        ("Normal heart\nClear lungs", ["Normal heart", "Clear lungs"]),
        ("Opacity in the\nRight lung", ["Opacity in the\nRight lung"]),
        ("One line that\n goes on. Two\n\nthree", ["One line that\n goes on.", "Two", "three"]),
        ("Big heart. . No edema..", ["Big heart. .", "No edema.."]),
        ("- Big heart\n- No edema", ["- Big heart", "- No edema"]),
        ("Big\u00a0heart.\u2003No edema.", ["Big\u00a0heart.", "No edema."]),
        ("Is there edema? No!", ["Is there edema?", "No!"]),
        ("1 . mild edema . 2 . no effusion .", ["1 . mild edema .", "2 . no effusion ."]),
        ("1.\nMild edema.", ["1.\nMild edema."]),
        ("(No edema.) Big heart.", ["(No edema.)", "Big heart."]),
    ],
)
def test_split_gives_the_sentences_a_reader_would(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_long_text_without_punctuation_is_cut_at_cue_words() -> None:
    text = (
        "no acute disease the heart is enlarged there is a small left effusion in the left lung "
        "base lungs are otherwise clear no pneumothorax or fracture"
    )
    assert sentences(text) == [
        "no acute disease",
        "the heart is enlarged",
        "there is a small left effusion in the left lung base",
        "lungs are otherwise clear",
        "no pneumothorax or fracture",
    ]


PIECES = st.sampled_from(
    [*"aZ.,;:?!()-0\n\t \u00a0\u2009\u200b\u0130é", "XXXX", "1. ", "2. ", "Dr. ", " no ", " the ",
     "2.5 cm", " heart", "i.e. ", ". ", "\n\n", "\r\n", "a.m. "]
)  # fmt: skip


@given(st.lists(PIECES).map("".join) | st.text())
@example("")
@example(". . .")
def test_spans_are_ordered_tight_and_cover_every_visible_character(text: str) -> None:
    covered: set[int] = set()
    last = 0
    for span in split_sentences(text):
        assert last <= span.start < span.end <= len(text)
        assert text[span.start : span.end] == text[span.start : span.end].strip()
        covered.update(range(span.start, span.end))
        last = span.end
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


@given(st.lists(PIECES).map("".join))
def test_what_follows_a_blank_line_never_changes_the_sentence_before_it(text: str) -> None:
    if text[:1].isalnum():
        assert sentences("Big heart.\n\n" + text)[0] == "Big heart."
