"""Every pattern of the ontology, and every alternative in it, matches some text.

A pattern is compiled from words in their normal form, so one that is written as no text is ever
normalised ("s p" for "s/p", once) is dead without a sign. Each is given examples made from itself
that together take every alternative once; they go through the tokeniser like any text.
"""

import re
from collections.abc import Iterator
from importlib import resources
from itertools import zip_longest
from types import ModuleType
from typing import Any

import pytest
import yaml

from editgrpo.reports import context, fields, location, mentions, tokens
from editgrpo.reports.context import find_cues
from editgrpo.reports.ontology import Cue, load_ontology
from editgrpo.reports.patterns import PatternIndex, compile_pattern, denial_of
from editgrpo.reports.tokens import tokenize

DATA: dict[str, Any] = yaml.safe_load(
    resources.files("editgrpo.reports").joinpath("ontology.yaml").read_text()
)
MACROS: dict[str, str] = DATA["macros"]
# Looked for before words are normalised.
RAW = ("_RARE_SIGNS", "_RARE_WORDS")
GAPS = ("~", "=", "*")


def parts_of(source: str) -> Iterator[str]:
    for part in re.findall(r"<[A-Z]+>|\)\?|[()|]|[^\s()|<>]+", source.replace("-", " ")):
        if part.startswith("<"):
            yield from ("(", *parts_of(MACROS[part[1:-1]]), ")")
        else:
            yield part


def alternatives(parts: list[str]) -> list[list[str]]:
    """Return texts for the parts up to the closing bracket, one list a branch, taking them off."""
    branches: list[list[list[str]]] = [[]]
    while parts:
        part = parts.pop(0)
        if part in (")", ")?"):
            parts.insert(0, part)
            break
        if part == "|":
            branches.append([])
        elif part == "(":
            inside = [text for branch in alternatives(parts) for text in branch]
            branches[-1].append([*inside, ""] if parts.pop(0) == ")?" else inside)
        elif part not in GAPS:
            branches[-1].append([part])
    return [
        [
            " ".join(filter(None, choice))
            for choice in zip_longest(*(fill(step, branch) for step in branch))
        ]
        for branch in branches
    ]


def fill(choices: list[str], branch: list[list[str]]) -> list[str]:
    """Repeat the first choice until it goes with every choice of its neighbours."""
    longest = max(map(len, branch))
    return choices + choices[:1] * (longest - len(choices))


def examples(source: str) -> list[str]:
    return [text for branch in alternatives(list(parts_of(source))) for text in branch]


def finding_patterns() -> Iterator[tuple[str, str, bool]]:
    """Yield pattern, name and whether it denies."""
    for name, entry in DATA["systems"].items():
        yield from ((pattern, name, True) for pattern in entry["normal"])
        yield from ((pattern, name, False) for pattern in entry.get("abnormal", ()))
    for name, entry in DATA["findings"].items():
        yield from ((pattern, name, False) for pattern in entry["present"])
        yield from ((pattern, name, True) for pattern in entry.get("absent", ()))
        denials = map(denial_of, entry["present"])
        yield from ((pattern, name, True) for pattern in denials if pattern)


ANATOMY = [(p, name) for name, patterns in DATA["anatomy"].items() for p in patterns]
CUES = [(p, kind) for kind, patterns in DATA["context"].items() for p in patterns]
VALUES = [(p, kind) for kind, patterns in DATA["values"].items() for p in patterns]
EVERY = [p for p, *_ in (*finding_patterns(), *ANATOMY, *CUES, *VALUES)]


def test_examples_take_every_alternative() -> None:
    assert examples("(a|b c)? ~ d (e|f)") == ["a d e", "b c d f", "d e"]
    assert examples("a|b") == ["a", "b"]


@pytest.mark.parametrize("source", EVERY)
def test_every_alternative_matches_its_own_text(source: str) -> None:
    index = PatternIndex([(compile_pattern(source, MACROS), None)])
    dead = [text for text in examples(source) if text and not whole(index, text)]
    assert not dead


def whole(index: PatternIndex[Any], text: str) -> bool:
    tokens = tokenize(text)
    return [(start, end) for start, end, _ in index.matches(tokens)] == [(0, len(tokens))]


@pytest.mark.parametrize("source", [*dict.fromkeys(EVERY), *(f"({m})" for m in MACROS.values())])
def test_no_alternative_stands_twice(source: str) -> None:
    for inside in re.findall(r"\(([^()]*)\)", source):
        words = [alternative for alternative in inside.split("|") if "<" not in alternative]
        normal = [" ".join(token.form for token in tokenize(text)) for text in words]
        assert len(normal) == len(set(normal)), inside


@pytest.mark.parametrize(("source", "name", "denied"), finding_patterns())
def test_every_pattern_decides_for_its_finding(source: str, name: str, denied: bool) -> None:
    found = [load_ontology().findings.matches(tokenize(text)) for text in examples(source)]
    assert any(
        sense.concept.name == name and sense.denied is denied for row in found for *_, sense in row
    )


@pytest.mark.parametrize(("source", "name"), ANATOMY)
def test_every_pattern_decides_for_its_place(source: str, name: str) -> None:
    found = [load_ontology().anatomy.matches(tokenize(text)) for text in examples(source)]
    assert any(sense.concept.name == name for row in found for *_, sense in row)


@pytest.mark.parametrize(("source", "kind"), CUES)
def test_every_cue_acts(source: str, kind: str) -> None:
    # Something follows, for a phrase is read otherwise before "or".
    found = [find_cues(tokenize(f"{text} xxxx"), (), load_ontology()) for text in examples(source)]
    assert any(start == 0 and cue is Cue(kind) for row in found for start, _, cue in row)


@pytest.mark.parametrize(("source", "kind"), VALUES)
def test_every_value_word_is_read(source: str, kind: str) -> None:
    found = [load_ontology().values.matches(tokenize(text)) for text in examples(source)]
    assert any(value.value == kind for row in found for *_, value in row)


@pytest.mark.parametrize("module", [context, fields, location, mentions, tokens])
def test_every_word_of_a_list_is_a_normal_form(module: ModuleType) -> None:
    for name, words in vars(module).items():
        is_list = isinstance(words, frozenset) and all(isinstance(word, str) for word in words)
        if is_list and name not in RAW:
            assert [word for word in words if [t.form for t in tokenize(word)] != [word]] == []


def test_a_dead_alternative_is_found() -> None:
    index = PatternIndex([(compile_pattern("(non enlarged|normal)", {}), None)])
    assert whole(index, "normal") and not whole(index, "non enlarged")  # one token, "non-enlarged"
