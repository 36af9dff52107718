"""The words of a report, for each checkpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.reports.radgraph.tokens import split_words

XL, OLD = ClinicalModel.RADGRAPH_XL, ClinicalModel.RADGRAPH


def texts(report: str, model: ClinicalModel) -> list[str]:
    return [word.text for word in split_words(report, model)]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("No right-sided effusion.", ["No", "right", "-", "sided", "effusion", "."]),
        # Word characters are letters, digits and underscores of any alphabet.
        ("T_4 is 5.3 cm, naïve µm", ["T_4", "is", "5", ".", "3", "cm", ",", "naïve", "µm"]),
        # A run of punctuation is one word, cut in five places only.
        ("(stable).", ["(", "stable", ")", "."]),
        ("(90%).", ["(", "90", "%", ")", "."]),
        ("90%, 80%.", ["90", "%", ",", "80", "%", "."]),
        ("'no change.'", ["'", "no", "change", ".", "'"]),
        ("new?! --", ["new", "?!", "--"]),
        ("and/. or", ["and", "/.", "or"]),
        # Written escapes stand for white space; an escaped quote is two back-ticks.
        (r"a\nb\fc", ["a", "b", "c"]),
        ("a\\u2122b", ["a", "b"]),
        ('\\"clear\\"', ["``", "clear", "``"]),
        ("", []),
        (" \n\t\u00a0", []),
    ],
)
def test_radgraph_xl_separates_letters_from_punctuation(report: str, words: list[str]) -> None:
    assert texts(report, XL) == words


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("No right-sided effusion.", ["No", "right-sided", "effusion", "."]),
        ("and/or: (new)!?", ["and", "/", "or", ":", "(", "new", ")", "!", "?"]),
        ("5.3cm, 2", ["5", ".", "3cm", ",", "2"]),
        ("a;b 90%.", ["a;b", "90%", "."]),
        ("  ", []),
    ],
)
def test_radgraph_separates_eight_marks_only(report: str, words: list[str]) -> None:
    assert texts(report, OLD) == words


def test_the_encoder_is_given_a_stop_without_its_slash() -> None:
    words = split_words("and/. or/", XL)
    assert [word.encoded for word in words] == ["and", ".", "or", "/"]


@pytest.mark.parametrize("model", [XL, OLD])
@given(report=st.text(alphabet=st.sampled_from("aé5_%).,'/\"\\nfu2 \n:("), max_size=60))
def test_words_lie_in_the_report_in_order(model: ClinicalModel, report: str) -> None:
    end = 0
    for word in split_words(report, model):
        assert end <= word.start < word.end <= len(report)
        assert len(word.text) == word.end - word.start
        end = word.end


@given(report=st.text(max_size=60))
def test_words_of_radgraph_are_slices_of_the_report(report: str) -> None:
    assert all(report[w.start : w.end] == w.text for w in split_words(report, OLD))
