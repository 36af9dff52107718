"""Names of projections, as data sets and hospitals write them, to `View`.

A name that only tells the patient's position (erect, supine) is UNKNOWN: it does not say from where
the film was taken.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from editgrpo.data.given_values import is_given
from editgrpo.data.study import View
from editgrpo.errors import ConfigError

_POSITIONS = frozenset(
    {"ERECT", "UPRIGHT", "SUPINE", "PRONE", "RECUMBENT", "SITTING", "STANDING", "SEMI", "PORTABLE"}
)
_PHRASES: dict[str, View] = {
    "POSTERO ANTERIOR": View.PA,
    "POSTEROANTERIOR": View.PA,
    "ANTERO POSTERIOR": View.AP,
    "ANTEROPOSTERIOR": View.AP,
    "CROSS TABLE": View.LATERAL,
    "LATERO LATERAL": View.LATERAL,
    "LATEROLATERAL": View.LATERAL,
    "PICC LINE": View.OTHER,
}
_WORDS: tuple[tuple[View, frozenset[str]], ...] = (
    # The first row that shares a word decides: "AP LLD" and "lateral decubitus" are DECUBITUS.
    (View.DECUBITUS, frozenset({"DECUBITUS", "DECUB", "LLD", "RLD"})),
    (View.OBLIQUE, frozenset({"OBLIQUE", "OBL", "LAO", "RAO", "LPO", "RPO"})),
    (
        View.OTHER,
        frozenset(
            {"OTHER", "KUB", "SWIMMER", "SWIMMERS", "COSTAL", "EXCLUDE", "ABDOMEN", "RIB", "RIBS"}
        ),
    ),
)
_PLAIN_WORDS: dict[str, View] = {
    "PA": View.PA,
    "AP": View.AP,
    "FRONTAL": View.FRONTAL,
    **dict.fromkeys(("LATERAL", "LAT", "LL", "RL", "L", "XTABLE"), View.LATERAL),
}
FREE_TEXT = "(free text)"
_LONGEST_NAME = 24  # characters
NO_NAMES: Mapping[str, View] = {}
_FRONTAL_VIEWS = frozenset({View.FRONTAL, View.PA, View.AP})


def parse_view_names(items: Iterable[str]) -> dict[str, View]:
    """Read names of projections of one's own as they are typed on a command line.

    Args:
        items: Each `NAME=VIEW`, such as `PORTABLE CHEST=AP`.

    Returns:
        Name, in the form in which names are compared, to view.

    Raises:
        ConfigError: An item has no equals sign, or names no view.
    """
    views = {view.value.upper(): view for view in View}
    names: dict[str, View] = {}
    for item in items:
        name, _, view = item.rpartition("=")
        if not name.strip() or view.strip().upper() not in views:
            raise ConfigError(
                f"--view {item!r} must look like 'PORTABLE CHEST=AP'; views are {', '.join(View)}"
            )
        names[_words(name)] = views[view.strip().upper()]
    return names


def normalise_view(
    name: str | None,
    *,
    unrecognised: Counter[str] | None = None,
    own: Mapping[str, View] = NO_NAMES,
) -> View:
    """Return the projection that a name stands for.

    Case, punctuation and word separators do not matter: `antero-posterior`, `AP Supine` and
    `AP_horizontal` are all AP.

    Args:
        name: As written in a data set; None or empty if not given.
        unrecognised: Counts, in upper case, each name that says something which is not understood;
            a name that was not given or says "unknown" is not counted. What may be a sentence of a
            report, in a column that was mapped by mistake, is counted as `FREE_TEXT`.
        own: Names of one's own, from `parse_view_names`; they go before all others.

    Returns:
        UNKNOWN if the name is not given, not understood, tells only a position, or names a frontal
        and a lateral projection at once; FRONTAL if it names both frontal ones.
    """
    if own and (chosen := own.get(_words(name or ""))) is not None:
        return chosen
    words, view = _read_name(name or "")
    if view is not None:
        return view
    if unrecognised is not None:
        unrecognised[words if _is_name(words) else FREE_TEXT] += 1
    return View.UNKNOWN


def _is_name(words: str) -> bool:
    parts = words.split()
    most = 2 if _PLAIN_WORDS.keys().isdisjoint(parts) else 3
    return len(parts) <= most and len(words) <= _LONGEST_NAME


@lru_cache(maxsize=4096)  # Names repeat; a column of free text, mapped by mistake, does not.
def _read_name(name: str) -> tuple[str, View | None]:
    """Return a name's words in upper case, and its view; None where they are not understood."""
    words = _words(name)
    if not is_given(words) or _POSITIONS.issuperset(words.split()):
        return words, View.UNKNOWN
    return words, _view_of(words)


def _words(name: str) -> str:
    return re.sub(r"[\W_]+", " ", re.sub(r"[.'’]", "", name)).strip().upper()


def _view_of(words: str) -> View | None:
    single = set(words.split())
    for view, names in _WORDS:
        if single & names:
            return view
    found = {view for phrase, view in _PHRASES.items() if phrase in words}
    found |= {view for word, view in _PLAIN_WORDS.items() if word in single}
    if len(found) > 1 and found <= _FRONTAL_VIEWS:
        exact = found - {View.FRONTAL}
        found = exact if len(exact) == 1 else {View.FRONTAL}
    return found.pop() if len(found) == 1 else None
