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
_NOTHING_TO_READ = re.compile(r"[\W_]*")

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
    return [Span(piece[0].start, piece[-1].end) for piece in _with_company(pieces)]


def _chunks(text: str, words: list[Word]) -> list[list[Word]]:
    """Group words into sentences by punctuation, list numbers and line breaks."""
    has_lines = "\n" in text or "\r" in text
    all_lower = text.islower()
    chunks: list[list[Word]] = []
    current: list[Word] = []
    last_number = 0
    for position, word in enumerate(words):
        number = _list_number(word.text)
        if current and (
            (number == last_number + 1 and last_number > 0)
            or (has_lines and _line_break(text, current[-1], word))
        ):
            chunks.append(current)
            current = []
        if number is not None and not current:
            last_number = number
            current.append(word)
            continue
        current.append(word)
        following = words[position + 1].text if position + 1 < len(words) else ""
        if word.text.rstrip(_CLOSING)[-1:] in _TERMINALS and _is_end(
            word.text, following, all_lower
        ):
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


def _line_break(text: str, before: Word, after: Word) -> bool:
    """Tell whether the white space between two words separates sentences: a blank line does, and so
    does a new line that begins like a sentence, but not one that only wraps."""
    breaks = len((text[before.end : after.start] + "|").splitlines()) - 1
    if breaks == 0:
        return False
    if breaks > 1 or after.text[0] in "-*•" or _list_number(after.text) is not None:
        return True
    if before.text.endswith((",", ";")) or goes_on(before.text):
        return False
    return after.text[0].isupper() and after.text[1:2].islower()


def _with_company(pieces: list[list[Word]]) -> list[list[Word]]:
    """Join pieces that hold no letter or digit to the piece before, or else the piece after."""
    joined: list[list[Word]] = []
    for piece in pieces:
        silent = all(_NOTHING_TO_READ.fullmatch(word.text) for word in piece)
        previous_silent = bool(joined) and all(
            _NOTHING_TO_READ.fullmatch(word.text) for word in joined[-1]
        )
        if joined and (silent or previous_silent):
            joined[-1] = [*joined[-1], *piece]
        else:
            joined.append(piece)
    return joined
