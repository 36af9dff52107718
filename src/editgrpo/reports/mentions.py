"""Which words of a sentence mention a finding, and whether the wording itself denies it.

The patterns of the ontology are tried on the words as they stand, then once more on what is left of
them where two kinds of wording need it: a label before its value ("Heart size: enlarged" is "heart
size is enlarged"), and a finding under "non-" ("non-enlarged heart" denies the enlargement, while
"non-displaced fracture" denies only what is no finding).
"""

from dataclasses import dataclass, replace

from editgrpo.reports.ontology import Ontology, Sense
from editgrpo.reports.patterns import MASK
from editgrpo.reports.tokens import NON, Token, is_label, word_set

_COPULA = "be"
_MASKED = Token(MASK, 0, 0)
# A value ends before these; a value with a verb is a sentence and needs no copula.
_VALUE_ENDS = word_set(", ; . ? ! ( )")
_VERBS = word_set("be have there")


@dataclass(frozen=True, slots=True)
class Match:
    """A matched pattern: tokens `start` to `end` (exclusive) and its sense."""

    start: int
    end: int
    sense: Sense


def find_mentions(tokens: tuple[Token, ...], ontology: Ontology) -> list[Match]:
    """Return the findings and statements on whole systems that a sentence mentions, in reading
    order, not overlapping."""
    matches = [Match(*found) for found in ontology.findings.matches(tokens)]
    if not any(token.form == ":" or token.form[:4] == NON for token in tokens):
        return matches
    # "Heart: normal Lungs: clear" is not about "normal lungs": such a match has to hold against the
    # one with the label before it.
    matches = [match for match in matches if not _is_between_colons(tokens, match)]
    rest = [_without_prefix(token) for token in tokens]
    for position in _copulas(tokens):
        rest[position] = replace(tokens[position], form=_COPULA)
    for match in matches:
        mask(rest, match.start, match.end)
    for start, end, sense in ontology.findings.matches(tuple(rest)):
        negated = any(token.form.startswith(NON) for token in tokens[start:end])
        if not (negated and sense.denied):  # "non-clear lungs": no one finding is meant
            matches.append(Match(start, end, Sense(sense.concept, sense.denied or negated)))
    return sorted(matches, key=lambda match: match.start)


def _is_between_colons(tokens: tuple[Token, ...], match: Match) -> bool:
    around = tokens[max(0, match.start - 1) : match.start] + tokens[match.end : match.end + 1]
    return [token.form for token in around] == [":", ":"]


def mask(tokens: list[Token], start: int, end: int) -> None:
    """Hide a range of tokens from all patterns."""
    tokens[start:end] = [_MASKED] * (end - start)


def _without_prefix(token: Token) -> Token:
    if not token.form.startswith(NON):
        return token
    return replace(token, form=token.form.removeprefix(NON))


def _copulas(tokens: tuple[Token, ...]) -> list[int]:
    """Return the places of colons between a label and a value that is no sentence."""
    places = []
    label: list[Token] = []
    is_sentence = _are_sentences(tokens)
    for position, token in enumerate(tokens):
        if token.form == ":" and is_label(label) and not is_sentence[position + 1]:
            places.append(position)
        label = [] if token.form in _VALUE_ENDS or token.form == ":" else [*label, token]
    return places


def _are_sentences(tokens: tuple[Token, ...]) -> list[bool]:
    """Say for each place, and the one after the last, whether a verb comes before a value ends
    there."""
    found = [False]
    for token in reversed(tokens):
        found.append(token.form in _VERBS or (found[-1] and token.form not in _VALUE_ENDS))
    return found[::-1]
