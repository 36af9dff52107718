"""An automaton over PyFastNER's character rules, which tells where none of them can match.

PyFastNER tries all rules at each position of a text, one call a rule character. Here the rules
still open after some characters are a state, made when a text first leads to it and kept; from
then on a character costs one look-up. What is left out: that a run ends after 50 characters, and
that it takes as much as it can. So a position may be let through that matches nothing, never the
reverse.
"""

import string
from collections.abc import Callable, Iterator
from typing import Any

RuleTree = dict[str, Any]
"""Rules as nested dictionaries, one character of a rule a level."""

# Wildcards that take a character. `\b` and `\e` take none and are treated apart.
_WILDCARDS: dict[str, Callable[[str], bool]] = {
    "s": lambda char: char in " \t\xa0",
    "n": lambda char: char in "\n\r",
    "(": lambda char: char == "(",
    ")": lambda char: char == ")",
    "\\": lambda char: char == "\\",
    "d": str.isdigit,
    "C": str.isupper,
    "c": str.islower,
    "p": lambda char: char in string.punctuation,
    "a": lambda char: not char.isspace(),
    "u": lambda char: char > "~" and char != "\xa0",
    "w": lambda char: char > "~" or char.isspace(),
}

_Run = tuple[str, bool] | None
"""What a `+` repeats, a character or (True) a wildcard; None outside of a run."""

_Branch = tuple[RuleTree, _Run]


class _State:
    """The rules that are open after some characters."""

    __slots__ = ("branches", "following", "is_final", "is_match")

    def __init__(self, branches: list[_Branch], *, end: str) -> None:
        self.branches = branches
        """Where the open rules stand."""
        self.is_match = any(end in tree for tree, _ in branches)
        """Whether one of them is complete."""
        self.is_final = self.is_match or any("e" in tree.get("\\", ()) for tree, _ in branches)
        """Whether one of them is complete if the text ends here."""
        self.following: dict[str, _State] = {}
        """The state after one more character, for the characters met so far."""


class RuleAutomaton:
    """Tells at which positions of a text a rule can match."""

    def __init__(self, rules: RuleTree, *, end: str) -> None:
        """Start with no state but the first.

        Args:
            rules: All rules; not to be changed from now on.
            end: The key that marks a complete rule.
        """
        self._end = end
        self._states: dict[frozenset[tuple[int, _Run]], _State] = {}
        self._start = self._state(_open(rules, None))

    def can_match(self, text: str, start: int) -> bool:
        """Tell whether a rule can match from a position on.

        Args:
            text: The text.
            start: A position that is not its first: rules bound to the beginning are left out.

        Returns:
            False only if PyFastNER matches no rule there.
        """
        state = self._start
        for position in range(start, len(text)):
            if state.is_match:
                return True
            char = text[position]
            following = state.following.get(char)
            if following is None:
                following = state.following[char] = self._state(_step(state, char))
            if not following.branches:
                return False
            state = following
        return state.is_final

    def _state(self, branches: Iterator[_Branch]) -> _State:
        """Return the one state of a set of branches."""
        distinct = {(id(tree), run): (tree, run) for tree, run in branches}
        key = frozenset(distinct)
        if key not in self._states:
            self._states[key] = _State(list(distinct.values()), end=self._end)
        return self._states[key]


def _open(tree: RuleTree, reached_by: _Run) -> Iterator[_Branch]:
    """Yield a branch and those that it leads to without a character."""
    yield tree, None
    for bound in "()":  # of what a rule captures
        if bound in tree:
            yield from _open(tree[bound], (bound, False))
    if "+" in tree and reached_by is not None:
        yield tree["+"], reached_by
        yield from _open(tree["+"], ("+", False))


def _step(state: _State, char: str) -> Iterator[_Branch]:
    """Yield the branches after a character."""
    for tree, run in state.branches:
        if run is not None:
            if _repeats(run, char):
                yield tree, run
                yield from _open(tree, ("+", False))
            continue
        for wildcard, subtree in tree.get("\\", {}).items():
            if wildcard in _WILDCARDS and _WILDCARDS[wildcard](char):
                yield from _open(subtree, (wildcard, True))
        if char in tree and char not in "()":
            yield from _open(tree[char], (char, False))


def _repeats(run: tuple[str, bool], char: str) -> bool:
    """Tell whether a character goes on with a run."""
    repeated, is_wildcard = run
    return _WILDCARDS[repeated](char) if is_wildcard else char == repeated
