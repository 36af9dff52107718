"""The sentence-level difference of two stored reports.

`rollouts.jsonl` holds text, not annotated sentences, and the report must open runs without loading
an annotator. The sentences that the edit names are cut out exactly; the rest is cut at the ends of
sentences, which only decides how much text one coloured unit holds.
"""

import difflib
import re
from collections.abc import Iterable

from editgrpo.display.diff import Change, Segment

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)|\n+")


def cut_sentences(text: str, known: Iterable[str] = ()) -> list[str]:
    """Cut a report into sentences.

    Args:
        text: The report.
        known: Sentences that shall come out whole if they stand in the text.

    Returns:
        Pieces in reading order without surrounding white space; none is empty.
    """
    pieces = [(text, False)]
    for sentence in sorted({one.strip() for one in known if one.strip()}, key=len, reverse=True):
        pieces = [new for piece in pieces for new in _cut_out(piece, sentence)]
    sentences: list[str] = []
    for piece, is_whole in pieces:
        sentences += [piece] if is_whole else _SENTENCE_END.split(piece)
    return [one.strip() for one in sentences if one.strip()]


def _cut_out(piece: tuple[str, bool], sentence: str) -> list[tuple[str, bool]]:
    text, is_whole = piece
    if is_whole or sentence not in text:
        return [piece]
    parts = text.split(sentence)
    cut: list[tuple[str, bool]] = [(parts[0], False)]
    for part in parts[1:]:
        cut += [(sentence, True), (part, False)]
    return cut


def diff_reports(before: str, after: str, known: Iterable[str] = ()) -> list[Segment]:
    """Compare two reports sentence by sentence.

    Args:
        before: The report before the edit.
        after: The report after it.
        known: Sentences that the edit removed or inserted.

    Returns:
        The sentences of both in reading order, removed ones before those that replaced them.
    """
    known = tuple(known)
    old, new = cut_sentences(before, known), cut_sentences(after, known)
    segments = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for operation, a_start, a_end, b_start, b_end in matcher.get_opcodes():
        if operation == "equal":
            segments += [Segment(Change.KEPT, one) for one in old[a_start:a_end]]
        else:
            segments += [Segment(Change.REMOVED, one) for one in old[a_start:a_end]]
            segments += [Segment(Change.INSERTED, one) for one in new[b_start:b_end]]
    return segments
