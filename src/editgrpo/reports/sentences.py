"""Sentence splitting for radiology reports, as ranges of the raw text.

Reports break the habits that general splitters rely on: numbered impressions, de-identified words
("XXXX"), lower-case text with detached full stops, and generated text without any punctuation. A
range is never moved, joined or cleaned: the text of a sentence is exactly what
stands in the report.
"""

import re

from editgrpo.reports.tokens import word_set
from editgrpo.reports.types import Span
from editgrpo.reports.unpunctuated import Word, cut_unpunctuated, goes_on

_WORD = re.compile(r"\S+")
# The same, but "effusion.The" counts as two words.
_WORD_GLUED = re.compile(r"\S*?[a-z)][.?!]+(?=[A-Z][a-z])|\S+")
_GLUED = re.compile(r"[a-z)][.?!]+[A-Z][a-z]")
_CLOSING = "\"'’”)]}"
_TERMINAL = ".?!"
_TERMINALS = frozenset(_TERMINAL)
_LIST_MARKER = re.compile(r"\(?(\d{1,2})[.)]")

# A full stop after these never ends a sentence.
_NEVER_LAST = word_set("dr mr mrs ms prof vs i.e e.g ie eg approx ca cf fig figs incl resp")
# A full stop after these ends a sentence unless the next word goes on in lower case.
_SELDOM_LAST = word_set("a.m p.m am pm cm mm ml etc hr hrs yr yrs lat sec min max st")


def split_sentences(text: str) -> list[Span]:
    """Split a report into sentences.

    Args:
        text: Any text, also empty.

    Returns:
        Ranges in reading order that do not overlap, have no white space at their ends, and together
        hold every character that is not white space. Punctuation that stands alone belongs to the
        sentence before it, and a list number to the sentence after it.
    """
    pattern = _WORD_GLUED if _GLUED.search(text) else _WORD
    words = [Word(match.start(), match.end(), match.group()) for match in pattern.finditer(text)]
    pieces: list[list[Word]] = []
    for chunk in _chunks(text, words):
        pieces.extend(cut_unpunctuated(chunk))
    spans = [Span(piece[0].start, piece[-1].end) for piece in pieces]
    return _with_company(text, spans)


def _chunks(text: str, words: list[Word]) -> list[list[Word]]:
    """Group words into sentences by punctuation, list numbers and line breaks."""
    has_lines = "\n" in text or "\r" in text
    all_lower = text.islower()
    chunks: list[list[Word]] = []
    current: list[Word] = []
    last_number = 0
    for position, word in enumerate(words):
        # Most words end in a letter: they can neither end a sentence nor be a list number.
        ends_in_letter = word.text[-1].isalnum()
        number = None if ends_in_letter else _list_number(word.text)
        next_number = number is not None and number == last_number + 1 > 1
        if current and (next_number or (has_lines and _line_break(text, current, word))):
            chunks.append(current)
            current = []
        current.append(word)
        if number is not None and len(current) == 1:
            last_number = number
        elif not ends_in_letter and word.text.rstrip(_CLOSING)[-1:] in _TERMINALS:
            following = words[position + 1].text if position + 1 < len(words) else ""
            if _is_end(word.text, following, all_lower):
                chunks.append(current)
                current = []
    return [*chunks, current] if current else chunks


def _list_number(word: str) -> int | None:
    match = _LIST_MARKER.fullmatch(word)
    return int(match[1]) if match else None


def _is_end(word: str, following: str, all_lower: bool) -> bool:
    """Tell whether a word that ends in a full stop (or ? or !) ends its sentence."""
    if not following:
        return True
    stem = word.rstrip(_CLOSING).rstrip(_TERMINAL).lstrip("([{\"'").lower()
    if stem in _NEVER_LAST:
        return False
    if stem == "no":
        return not following[0].isdigit()
    if stem in _SELDOM_LAST:
        return all_lower or not following[0].islower()
    return True


def _line_break(text: str, current: list[Word], after: Word) -> bool:
    """Tell whether the white space before a word separates sentences: a blank line does, and so
    does a new line that begins like a sentence, but not one that only wraps."""
    before = current[-1]
    breaks = len((text[before.end : after.start] + "|").splitlines()) - 1
    if breaks == 0 or (len(current) == 1 and _list_number(before.text) is not None):
        return False
    if breaks > 1 or after.text[0] in "-*•" or _list_number(after.text) is not None:
        return True
    if before.text.endswith((",", ";")) or goes_on(before.text):
        return False
    return after.text[0].isupper() and after.text[1:2].islower()


def _with_company(text: str, spans: list[Span]) -> list[Span]:
    """Join a span without a letter or digit to the span before, and one without a letter (a list
    number, or the first of the text) to the span after."""
    joined: list[Span] = []
    for span in spans:
        silent = not any(map(str.isalnum, text[span.start : span.end]))
        if joined and (
            silent or not any(map(str.isalpha, text[joined[-1].start : joined[-1].end]))
        ):
            joined[-1] = Span(joined[-1].start, span.end)
        else:
            joined.append(span)
    return joined
