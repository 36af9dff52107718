"""The words that a RadGraph checkpoint reads, with their places in the report.

Each checkpoint has its own splitting, which must be met exactly: a word more or less moves every
span behind it. Both are those of the package `radgraph` 0.1.18, here as one pass that keeps
character positions.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from editgrpo.clinical.weights import ClinicalModel

# What stands in files as two or six characters where a line break, form feed, trade mark or quote
# was meant. Every replacement is as long as what it replaces, so positions stay.
_ESCAPES = (("\\n", "  "), ("\\f", "  "), ("\\u2122", " " * 6), ('\\"', "``"))
_RUN = re.compile(r"\w+|[^\w\s]+")
# A run of punctuation is cut between these: ") .", "% .", "% ,", "% )" and ". '".
_CUT = re.compile(r"(?<=\))(?=\.)|(?<=%)(?=[.,)])|(?<=\.)(?=')")
_RUN_OR_MARK = re.compile(r"[/,:.!?()]|[^\s/,:.!?()]+")
# The reader hands these to the encoder without the slash; the entity's tokens keep it.
_ENCODED_AS: Mapping[str, str] = {"/.": ".", "/?": "?"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a report.

    Attributes:
        text: As entities show it.
        start: Position of its first character in the report.
        end: Position behind its last character.
    """

    text: str
    start: int
    end: int

    @property
    def encoded(self) -> str:
        """What the encoder is given."""
        return _ENCODED_AS.get(self.text, self.text)


def split_words(text: str, model: ClinicalModel) -> list[Word]:
    """Split a report as a checkpoint expects it.

    Args:
        text: Any text; white space alone has no word.
        model: RADGRAPH_XL or RADGRAPH.

    Returns:
        Words in reading order; as many characters as `end - start`.

    Source: radgraph 0.1.18, `preprocess_reports`; tests/parity/clinical/test_radgraph.py.
    """
    return _SPLITTERS[model](text)


def _split_radgraph_xl(text: str) -> list[Word]:
    """Split into runs of word characters and runs of punctuation, and cut some of the latter."""
    for written, meant in _ESCAPES:
        text = text.replace(written, meant)
    words = []
    for run in _RUN.finditer(text):
        start = run.start()
        for piece in _CUT.split(run.group()):
            words.append(Word(piece, start, start + len(piece)))
            start += len(piece)
    return words


def _split_radgraph(text: str) -> list[Word]:
    """Split at white space and set eight punctuation marks apart."""
    return [Word(run.group(), run.start(), run.end()) for run in _RUN_OR_MARK.finditer(text)]


_SPLITTERS: Mapping[ClinicalModel, Callable[[str], list[Word]]] = {
    ClinicalModel.RADGRAPH_XL: _split_radgraph_xl,
    ClinicalModel.RADGRAPH: _split_radgraph,
}
