"""What a sentence asserts of each mention: present, uncertain, absent, or nothing.

A ConText-like scope algorithm (Harkema et al. 2009, doi:10.1016/j.jbi.2009.05.002) made for the
lists that radiology reports are full of. Cue words come from `ontology.yaml`. A cue acts on every
mention between itself and the end of its scope; the scope runs through "a, b and c" lists, and ends
where a new clause begins.
"""

from collections.abc import Sequence
from enum import Enum

from editgrpo.reports.fields import read_fields
from editgrpo.reports.mentions import Match, mask
from editgrpo.reports.ontology import Cue, Ontology, Value
from editgrpo.reports.tokens import Token, word_set


class Status(Enum):
    """What a sentence asserts of a mention; UNASSERTED mentions (history, indication) are
    dropped."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"
    UNASSERTED = "unasserted"


_EFFECTS = {
    Cue.UNASSERTED_BEFORE: Status.UNASSERTED,
    Cue.NEGATED_BEFORE: Status.ABSENT,
    Cue.NEGATED_AFTER: Status.ABSENT,
    Cue.NEGATED_NEXT_TO: Status.ABSENT,
    Cue.UNCERTAIN_BEFORE: Status.UNCERTAIN,
    Cue.UNCERTAIN_AFTER: Status.UNCERTAIN,
    Cue.UNCERTAIN_BEFORE_OR_AFTER: Status.UNCERTAIN,
    Cue.UNCERTAIN_BESIDE: Status.UNCERTAIN,
    Cue.UNCERTAIN_NEXT_TO: Status.UNCERTAIN,
}
_SAYS = {
    Value.ABSENT: Status.ABSENT,
    Value.UNCERTAIN: Status.UNCERTAIN,
    Value.UNASSERTED: Status.UNASSERTED,
}
_STRENGTH = {Status.PRESENT: 0, Status.UNCERTAIN: 1, Status.ABSENT: 2, Status.UNASSERTED: 3}
_FORWARD = frozenset({Cue.UNASSERTED_BEFORE, Cue.NEGATED_BEFORE, Cue.UNCERTAIN_BEFORE})
_OPENINGS = _FORWARD | {Cue.UNCERTAIN_BEFORE_OR_AFTER}
_BACKWARD = frozenset({Cue.NEGATED_AFTER, Cue.UNCERTAIN_AFTER})
_EITHER = frozenset({Cue.NEGATED_NEXT_TO, Cue.UNCERTAIN_NEXT_TO})

# Words that a scope reaches at most; keeps degenerate text ("no no no ...") linear in its length.
_LONGEST_SCOPE = 60
_STOPS = frozenset(";:.?!()")
_NO = frozenset({"no", "without"})
# What no object of a verb begins with.
_NO_OBJECT = word_set(", ; : . ? ! ( ) on in at by as from for to of due and or")
_ANOTHER = word_set("new other additional any superimposed")
_VERBS = frozenset({"be", "have"})
_LIST_LINKS = frozenset({",", "and"})
# After a comma or "and" these begin a new statement instead of the next item of the list.
_NEW_STATEMENT = word_set(
    """a an the there mild mildly moderate minimal stable unchanged chronic persistent increased
    decreased low prominent enlarged calcified degenerative healed old tortuous surgical heart lung
    cardiac cardiomegaly cardiomediastinal mediastinum mediastinal small slight probable probably
    likely status unremarkable normal again visualized scattered interval improved improving
    resolving new stably more rather instead"""
)
# After a comma these do too, and adverbs, if no "or" further on shows that the list goes on.
_NEW_UNLESS_LISTED = word_set(
    """large larger trace tiny severe marked extensive massive multiple patchy left right bilateral
    bibasilar worsening worsened"""
)


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
    cues = find_cues(tokens, matches, ontology)
    fields = read_fields(tokens, matches, cues, ontology)
    sentence = _Sentence(tokens, matches, cues, [field.start for field in fields])
    statuses = [Status.ABSENT if match.sense.denied else Status.PRESENT for match in matches]
    for cue in cues:
        _apply(_EFFECTS.get(cue[2]), sentence.covered(*cue), matches, statuses)
    for match in matches:
        if match.sense.denied and sentence.form(match.end) in ("of", "from"):
            # "The lungs are clear of ..." denies what follows as well.
            _apply(Status.ABSENT, sentence.forward(match.end), matches, statuses)
    for field in fields:
        said = _SAYS.get(field.value) if field.value else None
        if field.same_as is not None:
            said = statuses[field.same_as]
        for number in field.labels:
            if said is not None and not matches[number].sense.denied:
                statuses[number] = said
    return statuses


def find_cues(
    tokens: tuple[Token, ...], matches: Sequence[Match], ontology: Ontology
) -> list[tuple[int, int, Cue]]:
    """Return the cues outside the mentions, ignored phrases first: none is found within those."""
    rest = list(tokens)
    for match in matches:
        mask(rest, match.start, match.end)
    ignored = [
        (start, end, cue)
        for start, end, cue in ontology.ignored.matches(tuple(rest))
        if not _goes_on(rest, end)
    ]
    joined = [_denied_again(tokens, end) for start, end, _ in ignored if rest[start].form in _NO]
    for start, end, _ in ignored:
        mask(rest, start, end)
    return [*ignored, *filter(None, joined), *ontology.cues.matches(tuple(rest))]


def _goes_on(rest: list[Token], end: int) -> bool:
    """Tell whether an ignored phrase denies what follows after all: "no change or effusion", "no
    changes of edema" (but not "no change of the edema"), "no change to suggest edema"."""
    following = rest[end].form if end < len(rest) else ""
    last = rest[end - 1]
    is_plural = last.form == "change" and last.end - last.start > len(last.form)
    is_purpose = last.form == "to" and following in ("suggest", "indicate", "support")
    return following in ("or", "nor") or (following == "of" and is_plural) or is_purpose


def _denied_again(tokens: tuple[Token, ...], position: int) -> tuple[int, int, Cue] | None:
    """Return the "or new" of "no change in the effusion or new consolidation", if it follows."""
    last = min(len(tokens) - 1, position + _LONGEST_SCOPE)
    while position < last and tokens[position].form not in _STOPS:
        if tokens[position].form in ("or", "nor") and tokens[position + 1].form in _ANOTHER:
            return position, position + 2, Cue.NEGATED_BEFORE
        position += 1
    return None


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
        label_starts: Sequence[int],
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
        # "Resolution of edema without change in effusion", "no edema and no change in effusion"
        self._boundaries |= {
            start for start, _, cue in cues if cue is Cue.IGNORED and tokens[start].form in _NO
        }
        self._label_starts = frozenset(label_starts)
        self._openings = {start for start, _, cue in cues if cue in _OPENINGS}

    def covered(self, start: int, end: int, cue: Cue) -> list[int]:
        """Return the mentions that a cue acts on."""
        if cue in _FORWARD:
            # "Negative for: effusion"
            return self.forward(end + (self.form(end) == ":"))
        if cue in _BACKWARD:
            behind = self.backward(start)
            # "We have not found any effusion", "no longer seen is the effusion"
            is_active = cue is Cue.NEGATED_AFTER and self.form(end) not in _NO_OBJECT
            return behind or (self.forward(end) if is_active else [])
        if cue is Cue.UNCERTAIN_BESIDE:
            return self.backward(start)[:1] + self.forward(end)[:1]
        last = self._match_to.get(start)
        is_behind = last is not None and not self._matches[last].sense.denied
        if cue is Cue.UNCERTAIN_BEFORE_OR_AFTER:
            return self.forward(end) or (self.backward(start) if is_behind else [])
        if cue in _EITHER:
            return (not is_behind and self.forward(end)) or self.backward(start)
        return []

    def form(self, position: int) -> str:
        """Return the normal form at a position, "" outside the sentence."""
        return self._tokens[position].form if 0 <= position < len(self._tokens) else ""

    def forward(self, position: int) -> list[int]:
        """Return the mentions from a position to the end of the clause, nearest first."""
        covered: list[int] = []
        verb_seen = False
        last = min(len(self._tokens), position + _LONGEST_SCOPE)
        while position < last and position not in self._boundaries:
            if position in self._label_starts:
                break
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
            or (self.form(following - 1) != "or" and self._is_new(following))
        )

    def _is_new(self, position: int) -> bool:
        word = self.form(position)
        if word in _NEW_STATEMENT:
            return True
        is_listed = word in _NEW_UNLESS_LISTED or word.endswith("ly")
        if not is_listed or self.form(position - 1) != ",":
            return False
        while (word := self.form(position)) not in _STOPS and position not in self._boundaries:
            if word in ("or", "nor", "/", ""):
                return word == ""
            position += 1
        return True

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
