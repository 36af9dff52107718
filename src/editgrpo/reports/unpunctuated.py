"""Cuts text without punctuation where a radiologist would begin a new sentence.

Some report generators are trained on text stripped of punctuation, and write it. Read as one
sentence, a whole report would be one negation scope and one unit of editing.
"""

from itertools import pairwise
from typing import NamedTuple

from editgrpo.reports.tokens import word_set

# Text without punctuation is cut before these words ...
_OPENERS = word_set(
    """no there the heart lungs cardiac cardiomediastinal mediastinal mediastinum cardiomegaly
    stable mild mildly moderate minimal low hyperinflated hyperexpanded visualized trachea
    degenerative osseous bony bones negative normal unremarkable interval postsurgical sternotomy
    median endotracheal nasogastric a an this these it aorta thoracic unchanged persistent streaky
    patchy surgical otherwise"""
)
# ... and before these, if what came before is complete: it has a verb and no negation, so that the
# word cannot be the next item of a list ("no consolidation pleural effusion or pneumothorax") ...
_WEAK_OPENERS = word_set(
    "pleural pulmonary lung large small left right bilateral bibasilar calcified new soft"
)
# ... unless the word before is one that a phrase goes on after ...
_GOES_ON = word_set(
    """a an the of in on at to for with without within and or nor but is are was were be been has
    have had no not by from over under above below near into than as that which this these may might
    could can would should possible probable likely versus vs if there see show shows demonstrate
    demonstrates demonstrated reveal reveals represent represents suggest suggests appears appear
    remains remain mild mildly moderate moderately severe minimal minimally small large left right
    bilateral both upper lower middle mid acute active chronic focal old low high visualized
    persistent patchy streaky hazy interval thoracic pulmonary cardiac pleural mediastinal calcified
    prominent cardiomediastinal bony osseous surgical soft evidence its either including between
    along around through throughout during since due secondary compatible consistent lateral medial
    anterior posterior central slightly definite significant obvious convincing tortuous increased
    decreased overlying involving new degenerative postsurgical median otherwise very cardio
    although causing projecting showing demonstrating widened diminished"""
)
# ... or one of these, which go on ("normal heart") unless they end a statement ("heart is normal").
_PREDICATES = word_set(
    """normal unremarkable stable clear unchanged enlarged intact hyperinflated hyperexpanded
    hyperaerated expanded"""
)
_VERBS = word_set("is are was were appears appear remains remain has have seen noted present")
_STATEMENT_WORDS = _VERBS | word_set("size silhouette contour contours limits")
_NEGATIONS = word_set("no without not negative")
# Subjects that a predicate completes: "heart size normal" is one statement.
_SUBJECTS = word_set(
    """heart size silhouette contour contours lungs lung mediastinum aorta vasculature vascularity
    structures bones"""
)
_ALL_OPENERS = _OPENERS | _WEAK_OPENERS
# Below this many words a stretch without punctuation is one sentence.
_LONG_STRETCH = 10
# Dashes and equals signs among it, which stand behind labels ("Pneumothorax - none Effusion - no").
_PUNCTUATION = ",;:.?!=-–—"
# No piece of such a stretch is made shorter than this.
_SHORTEST_PIECE = 2


class Word(NamedTuple):
    """A word, that is a run without white space, and its range in the report."""

    start: int
    end: int
    text: str


def goes_on(word: str) -> bool:
    """Tell whether a phrase always goes on after a word."""
    return word.lower() in _GOES_ON


def cut_unpunctuated(chunk: list[Word]) -> list[list[Word]]:
    """Cut a long stretch without punctuation before the words that usually open a sentence."""
    if len(chunk) < _LONG_STRETCH or any(word.text[-1] in _PUNCTUATION for word in chunk):
        return [chunk]
    pieces = [[chunk[0]]]
    for before, word in pairwise(chunk):
        if len(pieces[-1]) >= _SHORTEST_PIECE and _opens(word, before, pieces[-1]):
            pieces.append([])
        pieces[-1].append(word)
    return pieces


def _opens(word: Word, before: Word, piece: list[Word]) -> bool:
    """Tell whether a word opens the next sentence after a piece that ends in `before`."""
    opener, last = word.text.lower(), before.text.lower()
    if goes_on(last) or opener not in _ALL_OPENERS:
        return False
    said = {other.text.lower() for other in piece}
    if opener in _WEAK_OPENERS and (said & _NEGATIONS or not said & _VERBS):
        return False
    if opener in _PREDICATES and last in _SUBJECTS:
        return False
    return last not in _PREDICATES or bool(said & _STATEMENT_WORDS)
