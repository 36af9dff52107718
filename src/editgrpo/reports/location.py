"""Where a mention lies: side and height, read from the words that belong to it."""

from dataclasses import dataclass
from enum import Enum

from editgrpo.reports.tokens import Token, word_set


class Side(Enum):
    """Side of the body that a mention names."""

    UNSAID = "unsaid"
    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


class Zone(Enum):
    """Height in the chest that a mention names."""

    UNSAID = "unsaid"
    UPPER = "upper"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Location:
    """Side and height of a mention."""

    side: Side = Side.UNSAID
    zone: Zone = Zone.UNSAID


_LEFT = frozenset({"left", "lul", "lll", "lingula", "lingular", "leftward"})
_RIGHT = frozenset({"right", "rul", "rml", "rll", "rightward"})
_BOTH = frozenset({"bilateral", "bilaterally", "both", "bibasilar", "biapical", "bibasal"})
_UPPER = frozenset({"upper", "apex", "apical", "biapical", "rul", "lul", "suprahilar"})
_LOWER = frozenset(
    {"lower", "base", "basal", "basilar", "bibasilar", "bibasal", "rll", "lll", "retrocardiac"}
)
# Words that a noun phrase ends before: what stands on their other side belongs to another phrase.
_PHRASE_ENDS = word_set(
    """and or but with without no not be have there , ; : . ( ) / in at on of to from than versus vs
    as for over within along near overlying involving seen noted identified present"""
)
# Words that no place on their left is meant across.
_CLAUSE_ENDS = word_set("with without no not but while ; : .")
# Words between a finding and the place it is in.
_LINKS = word_set(
    """in at on of to over within along near overlying involving throughout the a seen noted
    identified present again be project posterior lateral medial anterior , which"""
)
_SIDE_WORDS = _LEFT | _RIGHT | _BOTH | _UPPER | _LOWER
# Words of such a place, besides side and height.
_PLACES = word_set(
    """lung lobe base apex lingula field zone side hemithorax costophrenic angle pleural space
    middle mid midlung perihilar hilum chest posterior lateral medial anterior rib basilar and xxxx
    greater than fissure thorax sulcus aspect region"""
)


def read_location(tokens: tuple[Token, ...]) -> Location:
    """Return the location that a phrase names; naming left and right makes BOTH."""
    words = {token.form for token in tokens}
    left, right = bool(words & _LEFT), bool(words & _RIGHT)
    side = Side.UNSAID
    if words & _BOTH or (left and right):
        side = Side.BOTH
    elif left or right:
        side = Side.LEFT if left else Side.RIGHT
    upper, lower = bool(words & _UPPER), bool(words & _LOWER)
    zone = Zone.UNSAID
    if upper != lower:
        zone = Zone.UPPER if upper else Zone.LOWER
    return Location(side, zone)


def locate(tokens: tuple[Token, ...], start: int, end: int, *, before: int, after: int) -> Location:
    """Locate a mention by its own words, its adjectives and the place named after it.

    Args:
        tokens: The sentence.
        start: First token of the mention.
        end: Token after the mention.
        before: First token that may belong to it (after the mention to its left).
        after: Token at which the next mention begins, or the sentence ends.

    Returns:
        The location; UNSAID where no word of the clause names it.
    """
    first = start
    while first > before and not _phrase_ends(tokens, first - 1):
        first -= 1
    # The nearest words that name a place decide; one elsewhere in the clause is the last resort.
    places = [
        read_location(tokens[first:end]),
        read_location(tokens[end : _place_end(tokens, end, after)]),
        read_location(tokens[_clause_start(tokens, before, start) : start]),
    ]
    if after == len(tokens):
        places.append(read_location(tokens[end:]))
    side = next((place.side for place in places if place.side is not Side.UNSAID), Side.UNSAID)
    zone = next((place.zone for place in places if place.zone is not Zone.UNSAID), Zone.UNSAID)
    return Location(side, zone)


def _clause_start(tokens: tuple[Token, ...], before: int, start: int) -> int:
    position = start
    while position > before and tokens[position - 1].form not in _CLAUSE_ENDS:
        position -= 1
    return position


def _phrase_ends(tokens: tuple[Token, ...], position: int) -> bool:
    """Tell whether a word cannot be an adjective; "left and right" can, with its "and"."""
    word = tokens[position].form
    joins_sides = word == "and" and position > 0 and tokens[position - 1].form in _SIDE_WORDS
    return word in _PHRASE_ENDS and not joins_sides


def _place_end(tokens: tuple[Token, ...], end: int, after: int) -> int:
    """Return the token after the place that follows a mention, such as "in the left lung base"."""
    position = end
    while position < after and tokens[position].form in _LINKS | _SIDE_WORDS | _PLACES:
        position += 1
    if position == after and after < len(tokens):
        # The last words are the next mention's own adjectives unless a place closes them.
        while position > end and tokens[position - 1].form in _SIDE_WORDS:
            position -= 1
    return position
