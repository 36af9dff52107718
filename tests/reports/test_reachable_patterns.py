"""Every pattern of the ontology, and every alternative in it, matches some text.

A pattern is compiled from words in their normal form, so one that is written as no text is ever
normalised ("s p" for "s/p", once) is dead without a sign. Each is given examples made from itself
that together take every alternative once; they go through the tokeniser like any text.
"""

import itertools
import re
from collections.abc import Iterator
from importlib import resources
from itertools import zip_longest
from types import ModuleType
from typing import Any, TypeVar

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
Found = TypeVar("Found")


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


def finding_patterns(name: str) -> Iterator[tuple[str, bool]]:
    """Yield the patterns of a system or a finding, and whether they deny."""
    entry = (DATA["systems"] | DATA["findings"])[name]
    for key, denies in {
        "normal": True,
        "abnormal": False,
        "present": False,
        "absent": True,
    }.items():
        yield from ((pattern, denies) for pattern in entry.get(key, ()))
    denials = map(denial_of, entry.get("present", ()))
    yield from ((pattern, True) for pattern in denials if pattern)


FINDINGS = [*DATA["systems"], *DATA["findings"]]
EVERY: dict[str, list[str]] = {
    **{name: [pattern for pattern, _ in finding_patterns(name)] for name in FINDINGS},
    **{f"anatomy: {name}": patterns for name, patterns in DATA["anatomy"].items()},
    **{f"context: {kind}": patterns for kind, patterns in DATA["context"].items()},
    **{f"values: {kind}": patterns for kind, patterns in DATA["values"].items()},
}


def test_examples_take_every_alternative() -> None:
    assert examples("(a|b c)? ~ d (e|f)") == ["a d e", "b c d f", "d e"]
    assert examples("a|b") == ["a", "b"]


@pytest.mark.parametrize("patterns", EVERY.values(), ids=EVERY)
def test_every_alternative_matches_its_own_text(patterns: list[str]) -> None:
    dead = [
        (source, text)
        for source in patterns
        for text in examples(source)
        if text and not whole(PatternIndex([(compile_pattern(source, MACROS), None)]), text)
    ]
    assert dead == []


def whole(index: PatternIndex[Any], text: str) -> bool:
    tokens = tokenize(text)
    return [(start, end) for start, end, _ in index.matches(tokens)] == [(0, len(tokens))]


BRACKETS = [
    inside
    for source in (*itertools.chain(*EVERY.values()), *(f"({m})" for m in MACROS.values()))
    for inside in re.findall(r"\(([^()]*)\)", source)
]


def test_no_alternative_stands_twice() -> None:
    def repeats(inside: str) -> bool:
        words = [alternative for alternative in inside.split("|") if "<" not in alternative]
        normal = [" ".join(token.form for token in tokenize(text)) for text in words]
        return len(normal) != len(set(normal))

    assert len(BRACKETS) > 100
    assert [inside for inside in BRACKETS if repeats(inside)] == []


def found_in(index: PatternIndex[Found], source: str) -> list[Found]:
    """Return what an index finds in the examples of a pattern."""
    return [value for text in examples(source) for *_, value in index.matches(tokenize(text))]


@pytest.mark.slow
@pytest.mark.parametrize("name", FINDINGS)
def test_every_pattern_decides_for_its_finding(name: str) -> None:
    senses = {
        (source, denied): found_in(load_ontology().findings, source)
        for source, denied in finding_patterns(name)
    }
    assert [
        (source, denied)
        for (source, denied), found in senses.items()
        if not any(sense.concept.name == name and sense.denied is denied for sense in found)
    ] == []


@pytest.mark.parametrize("name", DATA["anatomy"])
def test_every_pattern_decides_for_its_place(name: str) -> None:
    places = {p: found_in(load_ontology().anatomy, p) for p in DATA["anatomy"][name]}
    assert [p for p, found in places.items() if name not in {s.concept.name for s in found}] == []


@pytest.mark.parametrize("kind", DATA["context"])
def test_every_cue_acts(kind: str) -> None:
    def acts(text: str) -> bool:
        # Something follows, for a phrase is read otherwise before "or".
        cues = find_cues(tokenize(f"{text} xxxx"), (), load_ontology())
        return any(start == 0 and cue is Cue(kind) for start, _, cue in cues)

    assert [p for p in DATA["context"][kind] if not any(map(acts, examples(p)))] == []


@pytest.mark.parametrize("kind", DATA["values"])
def test_every_value_word_is_read(kind: str) -> None:
    values = {p: found_in(load_ontology().values, p) for p in DATA["values"][kind]}
    assert [p for p, found in values.items() if kind not in {v.value for v in found}] == []


@pytest.mark.parametrize("module", [context, fields, location, mentions, tokens])
def test_every_word_of_a_list_is_a_normal_form(module: ModuleType) -> None:
    for name, words in vars(module).items():
        is_list = isinstance(words, frozenset) and all(isinstance(word, str) for word in words)
        if is_list and name not in RAW:
            assert [word for word in words if [t.form for t in tokenize(word)] != [word]] == []


def test_a_dead_alternative_is_found() -> None:
    index = PatternIndex([(compile_pattern("(non enlarged|normal)", {}), None)])
    assert whole(index, "normal") and not whole(index, "non enlarged")  # one token, "non-enlarged"
