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
from editgrpo.reports.tokens import Token, normal_form

T = TypeVar("T")

# Words that a gap may not run over: they begin a new phrase or turn its meaning round.
_GAP = r"(?:(?!(?:and|but|or|with|without|no|not|there|,|;|:|\.|\(|\)|/) )[^ ]+ ){0,5}?"
_PART = re.compile(r"<[A-Z]+>|\)\?|[()|~]|[^\s()|~<>]+")
_BRACKETS = {"(": "(?:", ")": ")", ")?": ")?", "|": "|", "~": _GAP}


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
    body = "".join(_BRACKETS.get(part) or re.escape(normal_form(part)) + " " for part in parts)
    try:
        regex = re.compile(r"(?<![^ ])" + body)
    except re.error as error:
        raise ConfigError(f"ontology pattern {source!r} does not parse: {error}") from error
    first_words, can_be_empty = _first_words(parts)
    if can_be_empty:
        raise ConfigError(f"ontology pattern {source!r} can match nothing; give it a required word")
    return Pattern(regex, frozenset(first_words))


def _expand(source: str, macros: Mapping[str, str]) -> Iterator[str]:
    for part in _PART.findall(source.replace("-", " ")):
        if not part.startswith("<"):
            yield part
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
        elif part != "~" and open_branch:
            words.add(normal_form(part))
            open_branch = False
        position += 1
    return words, any_branch_empty or open_branch


def _longest_branch_first(parts: list[str]) -> list[str]:
    """Sort the alternatives of every group by length: `re` takes the first that matches, and of
    "be" and "be related to" the longer is meant."""
    branches: list[list[str]] = [[]]
    position = 0
    while position < len(parts):
        if parts[position] == "(":
            end = _closing(parts, position)
            inner = _longest_branch_first(parts[position + 1 : end])
            branches[-1] += ["(", *inner, *parts[end : end + 1]]
            position = end
        elif parts[position] == "|":
            branches.append([])
        else:
            branches[-1].append(parts[position])
        position += 1
    first, *others = sorted(branches, key=len, reverse=True)
    return first + [part for branch in others for part in ("|", *branch)]


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
        self._by_word: dict[str, list[tuple[re.Pattern[str], T]]] = defaultdict(list)
        for pattern, value in entries:
            for word in pattern.first_words:
                self._by_word[word].append((pattern.regex, value))

    def matches(self, tokens: tuple[Token, ...]) -> list[tuple[int, int, T]]:
        """Return the longest matches that do not overlap, as (first token, end token, value) in
        reading order; of equally long ones, the first in the ontology wins."""
        text = "".join(token.form + " " for token in tokens)
        starts = list(accumulate((len(token.form) + 1 for token in tokens), initial=0))
        token_at = {offset: number for number, offset in enumerate(starts)}
        found: list[tuple[int, int, T]] = []
        for number, token in enumerate(tokens):
            for regex, value in self._by_word.get(token.form, ()):
                match = regex.match(text, starts[number])
                if match:
                    found.append((number, token_at[match.end()], value))
        return _longest_first(found, len(tokens))


def _longest_first(found: list[tuple[int, int, T]], n_tokens: int) -> list[tuple[int, int, T]]:
    kept: list[tuple[int, int, T]] = []
    taken = bytearray(n_tokens)
    for start, end, value in sorted(found, key=lambda item: item[0] - item[1]):
        if not any(taken[start:end]):
            taken[start:end] = b"\x01" * (end - start)
            kept.append((start, end, value))
    return sorted(kept, key=lambda item: item[0])
