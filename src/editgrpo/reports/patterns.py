"""The pattern language of `ontology.yaml`, compiled to regular expressions over normal forms.

A sentence's normal forms are joined as `"form form form "`; a compiled pattern consumes whole
forms, each with its space. Patterns are looked up by a word they must begin with, so that the cost
of a sentence does not grow with the size of the ontology.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from editgrpo.errors import ConfigError
from editgrpo.reports.tokens import Token, tokenize

T = TypeVar("T")

MASK = "\x00"
"""The form of a token that no pattern may match: it belongs to a mention."""

# Words that a gap may not run over: they begin a new phrase or turn its meaning round.
_BREAKS = rf"and|but|or|nor|with|without|no|not|never|there|,|;|:|\.|\?|\(|\)|/|{MASK}"
_GAP = rf"(?:(?!(?:{_BREAKS}) )[^ ]+ ){{0,5}}?"
# Adverbs and auxiliary verbs are never one of these.
_NO_ADVERBS = "as|on|in|at|of|for|by|from|than|which|that|who|because|due"
_ADVERBS = rf"(?:(?!(?:{_BREAKS}|{_NO_ADVERBS}) )[^ ]+ ){{0,4}}?"
_PART = re.compile(r"<[A-Z]+>|\)\?|[()|~=*]|[^\s()|~=*<>]+")
_BRACKETS = {"(": "(?:", ")": ")", ")?": ")?", "|": "|", "~": _GAP, "=": _GAP, "*": _ADVERBS}
_GAPS = frozenset({"~", "=", "*"})
_PREDICATE = " = "


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern and the words with which its matches can begin."""

    regex: re.Pattern[str]
    first_words: frozenset[str]


def compile_pattern(source: str, macros: Mapping[str, str]) -> Pattern:
    """Compile one pattern.

    Args:
        source: The pattern, in the language that heads `ontology.yaml`.
        macros: Name to alternatives, used as `<NAME>`.

    Returns:
        The compiled pattern.

    Raises:
        ConfigError: a macro is unknown, brackets do not close, or the pattern can match nothing.
    """
    parts = _longest_branch_first(list(_expand(source, macros)))
    body = "".join(_BRACKETS.get(part) or re.escape(part) + " " for part in parts)
    try:
        regex = re.compile(r"(?<![^ ])" + body)
    except re.error as error:
        raise ConfigError(f"ontology pattern {source!r} does not parse: {error}") from error
    first_words, can_be_empty = _first_words(parts)
    if can_be_empty:
        raise ConfigError(f"ontology pattern {source!r} can match nothing; give it a required word")
    return Pattern(regex, frozenset(first_words))


def denial_of(source: str) -> str | None:
    """Return the pattern that denies what a pattern states of a subject ("the aorta is not
    tortuous"); None if it has no subject and predicate."""
    if _PREDICATE not in source:
        return None
    return source.replace(_PREDICATE, " * (not|never|no longer) * ")


def _expand(source: str, macros: Mapping[str, str]) -> Iterator[str]:
    for part in _PART.findall(source.replace("-", " ")):
        if part in _BRACKETS:
            yield part
            continue
        if not part.startswith("<"):
            yield from (token.form for token in tokenize(part))
            continue
        name = part[1:-1]
        if name not in macros:
            raise ConfigError(f"ontology pattern {source!r} uses the unknown macro {part}")
        yield from ("(", *_expand(macros[name], macros), ")")


def _first_words(parts: list[str]) -> tuple[set[str], bool]:
    """Return the words a match can begin with, and whether the parts can match nothing."""
    words: set[str] = set()
    open_branch = True  # True until this branch has consumed a required word
    any_branch_empty = False
    position = 0
    while position < len(parts):
        part = parts[position]
        if part == "(":
            end = _closing(parts, position)
            if open_branch:
                inner, empty = _first_words(parts[position + 1 : end])
                words |= inner
                open_branch = empty or parts[end : end + 1] == [")?"]
            position = end
        elif part == "|":
            any_branch_empty |= open_branch
            open_branch = True
        elif part not in _GAPS and open_branch:
            words.add(part)
            open_branch = False
        position += 1
    return words, any_branch_empty or open_branch


def _longest_branch_first(parts: list[str]) -> list[str]:
    """Sort the alternatives of every group by length: `re` takes the first that matches, and of
    "be" and "be related to" the longer is meant."""
    return _by_length(parts)[0]


def _by_length(parts: list[str]) -> tuple[list[str], int]:
    """Return the parts sorted, and the number of words that they match at most, gaps aside."""
    branches: list[tuple[list[str], int]] = [([], 0)]
    position = 0
    while position < len(parts):
        branch, length = branches[-1]
        if parts[position] == "(":
            end = _closing(parts, position)
            inner, words = _by_length(parts[position + 1 : end])
            branches[-1] = ([*branch, "(", *inner, *parts[end : end + 1]], length + words)
            position = end
        elif parts[position] == "|":
            branches.append(([], 0))
        else:
            is_word = parts[position] not in _GAPS
            branches[-1] = ([*branch, parts[position]], length + is_word)
        position += 1
    first, *others = sorted(branches, key=lambda branch: branch[1], reverse=True)
    joined = first[0] + [part for branch, _ in others for part in ("|", *branch)]
    return joined, first[1]


def _closing(parts: list[str], start: int) -> int:
    depth = 0
    for position in range(start, len(parts)):
        depth += {"(": 1, ")": -1, ")?": -1}.get(parts[position], 0)
        if depth == 0:
            return position
    return len(parts)


class PatternIndex(Generic[T]):
    """Finds all matches of many patterns, each carrying a value."""

    def __init__(self, entries: Iterable[tuple[Pattern, T]]) -> None:
        """Index the patterns by the words with which their matches can begin."""
        by_word: dict[str, list[tuple[re.Pattern[str], T]]] = defaultdict(list)
        for pattern, value in entries:
            for word in pattern.first_words:
                by_word[word].append((pattern.regex, value))
        self._by_word = dict(by_word)

    def matches(self, tokens: tuple[Token, ...]) -> list[tuple[int, int, T]]:
        """Return the longest matches that do not overlap, as (first token, end token, value) in
        reading order; of equally long ones, the first in the ontology wins."""
        forms = [token.form for token in tokens]
        by_word = self._by_word
        tried = [number for number, form in enumerate(forms) if form in by_word]
        if not tried:
            return []
        text = " ".join(forms) + " "
        starts = list(accumulate([len(form) + 1 for form in forms], initial=0))
        found: list[tuple[int, int, T]] = []
        for number in tried:
            for regex, value in by_word[forms[number]]:
                match = regex.match(text, starts[number])
                if match:
                    found.append((number, number + match.group().count(" "), value))
        return _longest_first(found, len(tokens))


def _longest_first(found: list[tuple[int, int, T]], n_tokens: int) -> list[tuple[int, int, T]]:
    if len(found) < 2:
        return found
    kept: list[tuple[int, int, T]] = []
    taken = bytearray(n_tokens)
    for start, end, value in sorted(found, key=lambda item: item[0] - item[1]):
        if not any(taken[start:end]):
            taken[start:end] = b"\x01" * (end - start)
            kept.append((start, end, value))
    return sorted(kept, key=lambda item: item[0])
