"""The sentences of a report, as RaTEScore's medSpaCy pipeline finds them.

That pipeline is spaCy's English tokenizer and PyRuSH: PyRuSH proposes ranges of characters, and
sentences start at tokens near their bounds. Nothing else of medSpaCy is used.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from editgrpo.clinical.shared import shared
from editgrpo.reports.types import Span

_MEMO = 16_384
"""Reports whose sentences are remembered; about 1 kB each."""


@lru_cache(maxsize=_MEMO)
def split_sentences(text: str) -> tuple[Span, ...]:
    """Find the sentences of a report.

    Args:
        text: A report; may be empty.

    Returns:
        Character ranges in order, without surrounding white space; none is empty.

    Source: RaTEScore 0.5.0 and 0.6.0 with medSpaCy 1.3.1 and PyRuSH 1.0.13. Equal sentences:
    tests/parity/clinical/test_ratescore.py.
    """
    splitter = shared(("rate", "splitter"), _Splitter)
    bounds = [*splitter.starts(text), len(text)]
    spans = (_strip(text, start, end) for start, end in pairwise(bounds))
    return tuple(span for span in spans if span.start < span.end)


class _Splitter:
    """spaCy's tokenizer and PyRuSH, loaded on first use."""

    def __init__(self) -> None:
        from spacy.lang.en import English

        from editgrpo.reports.rate.boundaries import load_rush

        self._tokenize = English().make_doc
        self._propose = load_rush().segToSentenceSpans
        # PyRuSH keeps what it found of a text in itself; scoring that has run into its time limit
        # may still be splitting when the next reports are edited.
        self._lock = threading.Lock()

    def starts(self, text: str) -> list[int]:
        """Return where sentences start, the first at 0; empty for an empty text."""
        with self._lock:
            tokens = [(token.idx, token.is_space) for token in self._tokenize(text)]
            proposed = [Span(range_.begin, range_.end) for range_ in self._propose(text)]
        starts = {tokens[index][0] for index in sentence_starts(tokens, proposed)}
        return sorted(starts | {0}) if tokens else []


def sentence_starts(tokens: Sequence[tuple[int, bool]], proposed: Sequence[Span]) -> Iterator[int]:
    """Choose the tokens at which sentences start.

    A proposed range starts a sentence if a token starts with it, and so does the token that follows
    it; of the tokens between two ranges, the first of white space does, else the first; behind all
    ranges, every token of white space.

    Args:
        tokens: First character, and whether it is white space, of every token, ascending.
        proposed: PyRuSH's ranges in its order.

    Yields:
        Indices of tokens; some more than once.

    Source: PyRuSH 1.0.13, the variant that splits gaps, which medSpaCy uses.
    """
    current, index = 0, 0
    while index < len(tokens):
        offset, is_space = tokens[index]
        gap_end = _gap_end(offset, proposed, current)
        if gap_end is not None:
            after = index
            while after < len(tokens) and tokens[after][0] < gap_end:
                after += 1
            yield next((i for i in range(index, after) if tokens[i][1]), index)
            index = after
            continue
        while current < len(proposed) and offset >= proposed[current].end:
            current += 1
        if current == len(proposed):
            if is_space:
                yield index
        elif offset >= proposed[current].start:
            if offset == proposed[current].start:
                yield index
            if index + 1 < len(tokens) and tokens[index + 1][0] >= proposed[current].end:
                yield index + 1
        index += 1


def _gap_end(offset: int, proposed: Sequence[Span], current: int) -> int | None:
    """Return where the next range starts if the offset lies between the current one and it."""
    if current + 1 < len(proposed):
        following = proposed[current + 1].start
        if proposed[current].end <= offset < following:
            return following
    return None


def _strip(text: str, start: int, end: int) -> Span:
    """Return a range without the white space at its ends."""
    stripped = text[start:end].lstrip()
    start = end - len(stripped)
    return Span(start, start + len(stripped.rstrip()))
