"""The splitter: right on its own, and equal to PyRuSH, of which it asks only a part.

That the sentences are medSpaCy's as a whole is shown in tests/parity/clinical/test_ratescore.py.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from loguru import logger
from PyFastNER import FastCNER
from PyRuSH import RuSH
from PyRuSH.StaticSentencizerFun import cpredict_split_gaps
from spacy.lang.en import English

from editgrpo.reports.rate import boundaries
from editgrpo.reports.rate.boundaries import load_rush, sentence_rules
from editgrpo.reports.rate.sentences import sentence_starts, split_sentences
from editgrpo.reports.types import Span
from tests.checkpoints.corpus import SENTENCES

FRAGMENTS = [
    *(word for sentence in SENTENCES for word in sentence.split()),
    *("  ", "\n", "\n\n", "\t", ". ", "..", ":", ";", ",", "-", "1.", "2)", "(", "3.5 cm", ")"),
    *("Dr. ", '"', "\xa0", "\u2003", "é", "Ω", "…", "—", "A", "b", "XXXX", "p.m.", "and", "*"),
    *("#", "+", "01/02/2020", "\r\n", "😀", "\x00", "?", "!", "No", "IMPRESSION:", "1. No"),
]
messy_texts = st.lists(st.sampled_from([*FRAGMENTS, " ", " ", ". "]), max_size=40).map("".join)

PLAIN = RuSH(rules=sentence_rules(), max_repeat=50)
PLAIN.fastner.span_compare_method = "scorewidth"
FAST = load_rush()
TOKENIZE = English().make_doc
logger.disable("tests")  # PyRuSH logs every text, and takes its caller's name


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("Effusion", ["Effusion"]),
        ("The heart is normal. No effusion.", ["The heart is normal.", "No effusion."]),
        ("  Clear lungs.\n\nNo edema. ", ["Clear lungs.", "No edema."]),
        # No space and no capital letter: PyRuSH sees no boundary.
        ("clear lungs.no edema.", ["clear lungs.no edema."]),
        ("no effusion no edema heart normal", ["no effusion no edema heart normal"]),
        # PyRuSH cuts off the first mark of a list and keeps the others.
        ("1. No edema. 2. Old fracture.", ["1.", "No edema.", "2. Old fracture."]),
        ("A 1.5 cm nodule. Unchanged.", ["A 1.5 cm nodule.", "Unchanged."]),
    ],
)
def test_sentences_of_plain_reports(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.slow
@given(messy_texts)
def test_sentences_are_stripped_in_order_and_lose_no_character(text: str) -> None:
    spans = split_sentences(text)
    found = sentences(text)
    assert all(one and one == one.strip() for one in found)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert "".join("".join(found).split()) == "".join(text.split())


@given(messy_texts)
@example("a" * 60 + "b. C")  # a run longer than PyFastNER repeats
@example("Seen.\n\n\n\n 1)  Clear")
@example("1+ edema.2+ \\ edema.  Ça va. \x7fA² ǅ b.")  # signs of rules, characters of odd classes
def test_boundaries_are_found_where_pyrush_finds_them(text: str) -> None:
    def spans(rush: RuSH) -> list[tuple[int, int]]:
        return [(span.begin, span.end) for span in rush.segToSentenceSpans(text)]

    assert spans(FAST) == spans(PLAIN)


@pytest.mark.slow
@given(messy_texts)
def test_no_position_at_which_a_rule_matches_is_passed_over(text: str) -> None:
    matcher = FAST.fastner
    matcher.process(text, 0, {})
    for position in range(1, len(text)):
        matches: dict[str, list[object]] = {}
        matcher.overlap_checkers.clear()
        FastCNER.processRules(
            matcher, text, matcher.rule_map, position, 0, position, matches, " ", False, " "
        )
        if matches:
            assert matcher._may_match.match(text, position)


@pytest.mark.slow
@given(messy_texts)
def test_sentences_start_at_pyrushs_tokens(text: str) -> None:
    tokens = TOKENIZE(text)
    proposed = FAST.segToSentenceSpans(text)
    (expected,) = cpredict_split_gaps([tokens], lambda _: proposed)
    found = sentence_starts(
        [(token.idx, token.is_space) for token in tokens],
        [Span(span.begin, span.end) for span in proposed],
    )
    assert sorted(set(found)) == [index for index, starts in enumerate(expected) if starts]


def test_rules_of_another_pyrush_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "_MEDSPACY_RULES", {"no such rule": []})
    with pytest.raises(boundaries.ModelError, match=r"rush_rules\.tsv: not the rules of PyRuSH"):
        sentence_rules()


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns as often as Python can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_that_split_at_once_do_not_disturb_each_other(restless: None) -> None:
    texts = [" ".join(SENTENCES[i % 5 : i % 5 + 4]) + f" Seen {i} times." for i in range(40)]
    split_sentences.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(split_sentences, texts))
    split_sentences.cache_clear()
    assert found == [split_sentences(text) for text in texts]
