"""Labels and their values: "Pneumothorax: none.", "Edema - negative", "Effusion: yes, small".

A label asserts nothing by itself; its value does. Dashes and equals signs behind a label are colons
by now (`tokens.py`).
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from editgrpo.reports.mentions import Match
from editgrpo.reports.ontology import Cue, Ontology, Value
from editgrpo.reports.tokens import Token, is_label, word_set

# Where the text of a value ends, if no other label comes first.
_VALUE_ENDS = word_set(". ! )")
_LABEL_ENDS = word_set("; . ? !")
# What stands between the labels of one value, and beside a label without saying more.
_BARE = word_set(", / and or ( ) the any acute left right bilateral")
_PLACES = word_set("left right bilateral bilaterally upper lower base apex r l")
_CLAUSE_MARKS = word_set(", ; (")
# Where one of several values for one label begins: "Effusion: right - none; left - small".
_PARTS_BEGIN = word_set(": , ; (")
# Words that a value may begin with and that say nothing.
_FILLERS = word_set("there be have do")
_NOW = word_set("now currently today")
# A value says this if one of its first words is a value word of the ontology.
_FIRST_WORDS = 3
_CUE_VALUES = {
    Cue.NEGATED_AFTER: Value.ABSENT,
    Cue.NEGATED_NEXT_TO: Value.ABSENT,
    Cue.UNCERTAIN_BEFORE: Value.UNCERTAIN,
    Cue.UNCERTAIN_BEFORE_OR_AFTER: Value.UNCERTAIN,
    Cue.UNCERTAIN_AFTER: Value.UNCERTAIN,
    Cue.UNCERTAIN_NEXT_TO: Value.UNCERTAIN,
    Cue.UNASSERTED_BEFORE: Value.UNASSERTED,
}
_CUTTING = (Cue.BOUNDARY, Cue.NEGATED_BEFORE)
_BY_FORCE = (Value.UNASSERTED, Value.UNCERTAIN, Value.ABSENT)


@dataclass(frozen=True, slots=True)
class Field:
    """A label's mentions and its value: None asserts them.

    Attributes:
        start: First token of the label.
        labels: Numbers of the mentions in the label; none where its words and the value together
            are one mention ("Heart size: enlarged"), or where it mentions nothing.
        value: What the value says.
        same_as: Number of the mention in the value that says it in its place.
    """

    start: int
    labels: tuple[int, ...]
    value: Value | None
    same_as: int | None = None


def read_fields(
    tokens: tuple[Token, ...],
    matches: Sequence[Match],
    cues: Sequence[tuple[int, int, Cue]],
    ontology: Ontology,
) -> list[Field]:
    """Read the labels of a sentence and what their values say.

    Args:
        tokens: The sentence.
        matches: Its mentions in reading order.
        cues: Its context cues, IGNORED ones among them.
        ontology: Where the value words come from.

    Returns:
        One field for each colon.
    """
    colons = [position for position, token in enumerate(tokens) if token.form == ":"]
    colons = [*colons[:1], *(at for at in colons[1:] if not _is_behind_place(tokens, at))]
    if not colons:
        return []
    reader = _Reader(tokens, matches, cues, ontology)
    labels = [reader.label(colon, colons) for colon in colons]
    starts = [*(label.start for label in labels[1:]), len(tokens)]
    return [
        reader.field(label, colon + 1, end)
        for label, colon, end in zip(labels, colons, starts, strict=True)
    ]


def _is_behind_place(tokens: tuple[Token, ...], colon: int) -> bool:
    """Tell whether a colon parts a place from its value, within the value of an earlier label."""
    start = colon
    while start and tokens[start - 1].form in _PLACES:
        start -= 1
    return start < colon and tokens[start - 1].form in _PARTS_BEGIN


@dataclass(frozen=True, slots=True)
class _Label:
    start: int
    mentions: tuple[int, ...]
    is_bare: bool


class _Reader:
    def __init__(
        self,
        tokens: tuple[Token, ...],
        matches: Sequence[Match],
        cues: Sequence[tuple[int, int, Cue]],
        ontology: Ontology,
    ) -> None:
        self._tokens = tokens
        self._matches = matches
        # By their beginnings: each label looks at its own part of a sentence that may be long.
        self._starts = [match.start for match in matches]
        self._cues = sorted(cues, key=lambda cue: cue[0])
        self._cue_starts = [begin for begin, _, _ in self._cues]
        self._value_words = ontology.values.matches(tokens)
        self._value_starts = [begin for begin, _, _ in self._value_words]
        self._start_of = {match.start: number for number, match in enumerate(matches)}

    def label(self, colon: int, colons: Sequence[int]) -> _Label:
        """Find the label before a colon; without mentions if there is none."""
        earlier = bisect_left(colons, colon)
        floor = colons[earlier - 1] + 1 if earlier else 0
        for position in range(colon - 1, floor - 1, -1):
            if self._tokens[position].form in _LABEL_ENDS:
                floor = position + 1
                earlier = 0
                break
        start = self._label_start(floor, colon, behind_value=earlier > 0)
        mentions = self._mentions(start, colon)
        words = [token for token in self._tokens[start:colon] if token.form not in _BARE]
        if not mentions or not is_label(words):
            inside = (self._matches[number] for number in self._begun(start, colon))
            straddling = [match.start for match in inside if colon < match.end]
            return _Label(straddling[0] if straddling else start, (), is_bare=False)
        return _Label(start, mentions, self._is_bare(start, colon))

    def _label_start(self, floor: int, colon: int, *, behind_value: bool) -> int:
        """Return where a label begins that may follow the value of another."""
        commas = [p for p in range(floor, colon) if self._tokens[p].form == ","]
        if commas and (behind_value or not self._is_bare(floor, colon)):
            return commas[-1] + 1
        if behind_value:
            within = self._begun(floor, colon)
            last = self._matches[within[-1]] if within else None
            return last.start if last and self._is_bare(last.end, colon) else colon
        return floor

    def _begun(self, start: int, end: int) -> range:
        """Return the numbers of the mentions that begin between two tokens."""
        return range(bisect_left(self._starts, start), bisect_left(self._starts, end))

    def _mentions(self, start: int, end: int) -> tuple[int, ...]:
        return tuple(n for n in self._begun(start, end) if self._matches[n].end <= end)

    def _is_bare(self, start: int, end: int) -> bool:
        """Tell whether tokens are mentions and nothing more."""
        inside = {p for n in self._mentions(start, end) for p in self._span(n)}
        return all(p in inside or self._tokens[p].form in _BARE for p in range(start, end))

    def _span(self, number: int) -> range:
        return range(self._matches[number].start, self._matches[number].end)

    def field(self, label: _Label, start: int, end: int) -> Field:
        """Read the value between `start` and `end`, or where it ends before that."""
        if not label.mentions:
            return Field(label.start, (), None)
        for position in range(start, end):
            if self._tokens[position].form in _VALUE_ENDS:
                end = position
                break
        while start < end and self._tokens[start].form in _FILLERS:
            start += 1
        first, *others = self._clauses(start, end)
        if first.stop < end and first.stop in self._start_of:
            return self._stated(label, self._start_of[first.stop])
        if not first:
            return Field(label.start, label.mentions, Value.UNASSERTED if label.is_bare else None)
        value = self._value(first)
        if value is Value.ABSENT and any(self._is_elsewhere(clause) for clause in others):
            value = None
        if value is None:  # "previously seen, now resolved"
            now = [clause for clause in others if _NOW & self._words(clause)]
            value = next((self._value(clause) for clause in now), None)
        return Field(label.start, label.mentions, value)

    def _stated(self, label: _Label, number: int) -> Field:
        """Read a value that states a finding: "Effusion: small left effusion"."""
        concepts = {self._matches[mention].sense.concept for mention in label.mentions}
        if self._matches[number].sense.concept in concepts:
            return Field(label.start, label.mentions, None, same_as=number)
        is_answer = self._tokens[self._matches[number].start - 1].form != ":" and label.is_bare
        negated = is_answer and self._value(
            range(self._colon_before(number) + 1, self._matches[number].start)
        )
        return Field(
            label.start, label.mentions, Value.UNASSERTED if negated is Value.ABSENT else None
        )

    def _colon_before(self, number: int) -> int:
        position = self._matches[number].start
        while self._tokens[position].form != ":":
            position -= 1
        return position

    def _clauses(self, start: int, end: int) -> list[range]:
        """Cut a value where a clause or a mention begins."""
        cuts = {p for p in range(start, end) if self._tokens[p].form in _CLAUSE_MARKS}
        cuts |= {
            begin
            for begin, cue in self._cues_from(start + 1, end)
            if cue in _CUTTING and not (cue is Cue.NEGATED_BEFORE and self._is_last(begin, end))
        }
        cuts |= {self._starts[number] for number in self._begun(start, end)}
        inner = sorted(cuts)
        return [range(a, b) for a, b in zip([start, *inner], [*inner, end], strict=True)]

    def _is_last(self, position: int, end: int) -> bool:
        """Tell whether a negation denies what is before it: "right no; left no"."""
        return position + 1 == end or self._tokens[position + 1].form in _CLAUSE_MARKS

    def _cues_from(self, start: int, end: int) -> Iterator[tuple[int, Cue]]:
        """Yield the cues that begin between two tokens, and where."""
        first, last = bisect_left(self._cue_starts, start), bisect_left(self._cue_starts, end)
        return ((begin, cue) for begin, _, cue in self._cues[first:last])

    def _value(self, clause: range) -> Value | None:
        cues = {cue for _, cue in self._cues_from(clause.start, clause.stop)}
        if Cue.IGNORED in cues:
            return None
        said = {_CUE_VALUES[cue] for cue in cues if cue in _CUE_VALUES}
        has_mark = bool(clause) and self._tokens[clause.start].form in _CLAUSE_MARKS
        last = min(clause.stop, clause.start + has_mark + _FIRST_WORDS)
        words = slice(*(bisect_left(self._value_starts, at) for at in (clause.start, last)))
        said |= {value for _, _, value in self._value_words[words]}
        return next((value for value in _BY_FORCE if value in said), None)

    def _is_elsewhere(self, clause: range) -> bool:
        """Tell whether a later clause asserts the label in some place: "none on the left, small on
        the right"."""
        return bool(self._words(clause) & _PLACES) and self._value(clause) is None

    def _words(self, clause: range) -> set[str]:
        return {self._tokens[position].form for position in clause}
