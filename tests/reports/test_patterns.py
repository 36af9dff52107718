"""The pattern language of the ontology."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.errors import ConfigError
from editgrpo.reports.patterns import PatternIndex, compile_pattern
from editgrpo.reports.tokens import tokenize

MACROS = {"SIDE": "left|right", "BIG": "large|<SIDE> sided"}


def found(pattern: str, text: str) -> list[str]:
    tokens = tokenize(text)
    matches = PatternIndex([(compile_pattern(pattern, MACROS), None)]).matches(tokens)
    return [text[tokens[start].start : tokens[end - 1].end] for start, end, _ in matches]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("effusion", "Effusions, effusion.", ["Effusions", "effusion"]),
        ("effusion", "effusionless", []),
        ("(pleural)? effusion", "A pleural effusion", ["pleural effusion"]),
        ("(a|a b c) d", "a b c d", ["a b c d"]),
        ("(be|be related to) x", "is related to x", ["is related to x"]),
        ("air space", "the air-spaces", ["air-spaces"]),
        ("<BIG> mass", "right-sided masses", ["right-sided masses"]),
        ("heart ~ enlarged", "heart is now much enlarged", ["heart is now much enlarged"]),
        ("heart ~ enlarged", "heart is not enlarged", []),
        ("heart ~ enlarged", "heart, liver enlarged", []),
        ("heart ~ enlarged", "heart one two three four five six enlarged", []),
    ],
)
def test_pattern_matches(pattern: str, text: str, expected: list[str]) -> None:
    assert found(pattern, text) == expected


def test_the_longest_match_wins_and_matches_do_not_overlap() -> None:
    index = PatternIndex(
        (compile_pattern(source, {}), source) for source in ("rib", "rib fracture", "fracture line")
    )
    assert index.matches(tokenize("rib fracture line, rib")) == [
        (0, 2, "rib fracture"),
        (4, 5, "rib"),
    ]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(rib", "does not parse"), ("<BONE>", "unknown macro"), ("(rib)?", "can match nothing")],
)
def test_a_wrong_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_pattern(pattern, MACROS)


@given(st.text())
def test_tokens_keep_their_place_in_the_text(text: str) -> None:
    last = 0
    for token in tokenize(text):
        assert last <= token.start < token.end <= len(text)
        last = token.end
