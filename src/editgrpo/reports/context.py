"""What a sentence asserts of each mention: present, uncertain, absent, or nothing.

A ConText-like scope algorithm (Harkema et al. 2009, doi:10.1016/j.jbi.2009.05.002) made for the
lists that radiology reports are full of. Cue words come from `ontology.yaml`. A cue acts on every
mention between itself and the end of its scope; the scope runs through "a, b and c" lists, and ends
where a new clause begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from editgrpo.reports.ontology import Cue, Ontology, Sense
from editgrpo.reports.tokens import Token, word_set


class Status(Enum):
    """What a sentence asserts of a mention; UNASSERTED mentions (history, indication) are
    dropped."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"
    UNASSERTED = "unasserted"


@dataclass(frozen=True, slots=True)
class Match:
    """A matched pattern: tokens `start` to `end` (exclusive) and its sense."""

    start: int
    end: int
    sense: Sense


_EFFECTS = {
    Cue.UNASSERTED_BEFORE: Status.UNASSERTED,
    Cue.NEGATED_BEFORE: Status.ABSENT,
    Cue.NEGATED_AFTER: Status.ABSENT,
    Cue.UNCERTAIN_BEFORE: Status.UNCERTAIN,
    Cue.UNCERTAIN_AFTER: Status.UNCERTAIN,
    Cue.UNCERTAIN_BESIDE: Status.UNCERTAIN,
}
_STRENGTH = {Status.PRESENT: 0, Status.UNCERTAIN: 1, Status.ABSENT: 2, Status.UNASSERTED: 3}
_FORWARD = frozenset({Cue.UNASSERTED_BEFORE, Cue.NEGATED_BEFORE, Cue.UNCERTAIN_BEFORE})
_BACKWARD = frozenset({Cue.NEGATED_AFTER, Cue.UNCERTAIN_AFTER})

# Words that a scope reaches at most; keeps degenerate text ("no no no ...") linear in its length.
_LONGEST_SCOPE = 60
_STOPS = frozenset(";:.?!()")
_VERBS = frozenset({"be", "have"})
_LIST_LINKS = frozenset({",", "and"})
# After a comma or "and" these begin a new statement instead of the next item of the list.
_NEW_STATEMENT = word_set(
    """a an the there mild mildly moderate minimal stable unchanged chronic persistent increased
    decreased low prominent enlarged calcified degenerative healed old tortuous surgical heart lung
    cardiac cardiomegaly cardiomediastinal mediastinum mediastinal small slight probable probably
    likely status unremarkable normal again visualized scattered interval improved improving
    resolving new stably"""
)
_MASK = Token("\x00", 0, 0)


def assess(tokens: tuple[Token, ...], matches: Sequence[Match], ontology: Ontology) -> list[Status]:
    """Tell what a sentence asserts of each of its mentions.

    Args:
        tokens: The sentence.
        matches: Its mentions in reading order, not overlapping.
        ontology: Where the cues come from.

    Returns:
        One status a mention. A mention whose own wording denies it ("heart size is normal") is
        ABSENT whatever surrounds it.
    """
    masked = list(tokens)
    for match in matches:
        masked[match.start : match.end] = [_MASK] * (match.end - match.start)
    cues = [cue for cue in ontology.cues.matches(tuple(masked)) if cue[2] is not Cue.IGNORED]
    sentence = _Sentence(tokens, matches, cues)
    statuses = [Status.ABSENT if match.sense.denied else Status.PRESENT for match in matches]
    for start, end, cue in cues:
        covered: list[int] = []
        if cue in _FORWARD:
            covered = sentence.forward(end)
        elif cue in _BACKWARD:
            covered = sentence.backward(start)
        elif cue is Cue.UNCERTAIN_BESIDE:
            covered = sentence.backward(start)[:1] + sentence.forward(end)[:1]
        _apply(_EFFECTS.get(cue), covered, matches, statuses)
    for match in matches:
        if match.sense.denied and sentence.form(match.end) in ("of", "from"):
            # "The lungs are clear of ..." denies what follows as well.
            _apply(Status.ABSENT, sentence.forward(match.end), matches, statuses)
    return statuses


def _apply(
    effect: Status | None, covered: list[int], matches: Sequence[Match], statuses: list[Status]
) -> None:
    for number in covered:
        stronger = effect is not None and _STRENGTH[effect] > _STRENGTH[statuses[number]]
        if effect is not None and stronger and not matches[number].sense.denied:
            statuses[number] = effect


class _Sentence:
    """The tokens of a sentence with its mentions and cues, for walking along it."""

    def __init__(
        self,
        tokens: tuple[Token, ...],
        matches: Sequence[Match],
        cues: Sequence[tuple[int, int, Cue]],
    ) -> None:
        self._tokens = tokens
        self._matches = matches
        self._match_from = {match.start: number for number, match in enumerate(matches)}
        self._match_to = {match.end: number for number, match in enumerate(matches)}
        self._boundaries = {
            position
            for start, end, cue in cues
            if cue is Cue.BOUNDARY
            for position in range(start, end)
        }
        self._openings = {start for start, _, cue in cues if cue in _FORWARD}

    def form(self, position: int) -> str:
        """Return the normal form at a position, "" outside the sentence."""
        return self._tokens[position].form if 0 <= position < len(self._tokens) else ""

    def forward(self, position: int) -> list[int]:
        """Return the mentions from a position to the end of the clause, nearest first."""
        covered: list[int] = []
        verb_seen = False
        last = min(len(self._tokens), position + _LONGEST_SCOPE)
        while position < last and position not in self._boundaries:
            number = self._match_from.get(position)
            if number is not None:
                if self._is_statement(number) and covered:
                    break
                covered.append(number)
                position = self._matches[number].end
                continue
            word = self.form(position)
            if word in _STOPS or (word in _LIST_LINKS and self._list_ends(position, verb_seen)):
                break
            verb_seen |= word in _VERBS and bool(covered)
            position += 1
        return covered

    def _list_ends(self, position: int, verb_seen: bool) -> bool:
        following = position + 1
        while self.form(following) in ("and", "or", ","):
            following += 1
        return (
            verb_seen
            or following in self._openings
            or following in self._boundaries
            or (self.form(following) in _NEW_STATEMENT and self.form(following - 1) != "or")
        )

    def backward(self, position: int) -> list[int]:
        """Return the mentions from the beginning of the clause to a position, nearest first."""
        covered: list[int] = []
        linked = False
        first = max(0, position - _LONGEST_SCOPE)
        while position > first and position - 1 not in self._boundaries:
            number = self._match_to.get(position)
            if number is not None:
                if self._is_statement(number):
                    break
                covered.append(number)
                position = self._matches[number].start
                continue
            word = self.form(position - 1)
            linked |= word in ("and", "or")
            if word in _STOPS or (covered and word in _VERBS):
                break
            if word == "," and covered and not linked:
                break
            position -= 1
        return covered

    def _is_statement(self, number: int) -> bool:
        """Tell whether a mention is a clause of its own, such as "heart size is normal"."""
        match = self._matches[number]
        return match.sense.denied or any(
            self.form(position) in _VERBS for position in range(match.start, match.end)
        )
