"""Headers that are not at a line's beginning: they are brought there, so that one rule reads
all.

"The lungs are clear.  IMPRESSION: Normal." is two sections on one line. Missed, the second would be
taught as findings or, behind an indication, be shown to the model. What stands within prose ("the
overall impression is of edema", "these findings: ...") stays where it is.
"""

import re
from collections.abc import Iterable

from editgrpo.data.mimic_cxr.section_headers import NAMES

_RESULTS = ("FINDING", "FINDINGS", "IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS")
_SHORT = ("IMP", "IMPR")
_EXAM = r"(?:AP|PA|CHEST|PORTABLE|FRONTAL|SINGLE|TWO|UPRIGHT|SUPINE)\b"
_SMALL = [name.capitalize() for name in (*_RESULTS, *_SHORT)]
BARE = "|".join((*_RESULTS, *_SHORT, *_SMALL))
"""Headers that need no colon, as a pattern."""

BEHIND_BARE = (
    r"(?!\W*(?:AND|IMPRESSION|CONCLUSION|FINDING)\b)"  # one header: FINDINGS - IMPRESSION
    r"(?:[^\S\n]*[-\u2013\u2014]+(?:[^\S\n]+(?=\S)|[^\S\n]*$)"  # a dash for the colon
    rf"|[.]?[^\S\n]+(?=[A-Z][a-z]|\d|{_EXAM})"  # a sentence or a list begins
    r"|[^\S\n]{2,}(?=[A-Z_\d]))"
)
"""What may follow such a header on its line, as a pattern."""


def _pattern(name: str) -> str:
    # "FINDINGS IMPRESSION" stands for FINDINGS/IMPRESSION too, and plurals for RECOMMENDATION(S).
    # The first letter is consumed before, see `_HEADER`.
    return f"(?<={name[0]})" + re.escape(name[1:]).replace(r"\ ", r"[ /&]{1,3}")


def _any_of(names: Iterable[str]) -> str:
    return "|".join(map(_pattern, sorted(names, key=len, reverse=True)))


_HEADER = re.compile(
    # A class of letters at its beginning makes the search several times faster.
    rf"[{''.join(sorted({name[0] for name in NAMES}))}](?<![\w/&(-].)(?:"
    rf"(?P<name>{_any_of(NAMES)}|(?<=I)MPR[A-Z]+)(?:\(S\))?(?:[ ]\([^)\n]{{1,40}}\))?[^\S\n]*[:;]"
    rf"|(?P<small>{_any_of(_SMALL)})[^\S\n]*:"
    rf"|(?P<bare>{_any_of((*_RESULTS, *_SHORT, *_SMALL))})"
    rf"(?:{BEHIND_BARE}|[.]?[^\S\n]*\n\s*(?=[A-Z\d*_])))",
    re.MULTILINE,
)
_SENTENCE_ENDS = (".", "?", "!", "___", ")", ":")
_BEFORE_VERDICT = frozenset(
    {
        "AND", "CHEST", "CLINICAL", "CONCLUSION", "DIAGNOSTIC", "FINAL", "FINDING", "FINDINGS",
        "IMPRESSION", "INITIAL", "LATERAL", "OVERALL", "PA", "PRELIMINARY", "PROVISIONAL",
        "RADIOGRAPHIC", "RADIOLOGIC", "RADIOLOGICAL", "SUMMARY",
    }
)  # fmt: skip
_LOOK_BACK = 80  # characters, at most a line of a report


def with_headers_on_lines_of_their_own(text: str) -> str:
    """End a line where a header follows on it.

    Args:
        text: A report; lines end in a line feed.

    Returns:
        The text with further line ends, and otherwise letter by letter as it was.
    """
    parts = []
    end = 0
    for header in _HEADER.finditer(text):
        start = header.start()
        line = text[max(0, start - _LOOK_BACK) : start].rpartition("\n")[2]
        if _ends_section(line, header):
            parts += [text[end:start], "\n"]
            end = start
    return "".join([*parts, text[end:]])


def _ends_section(line: str, header: re.Match[str]) -> bool:
    """Say whether a header counts, by what comes before it on its line."""
    before = line.rstrip()
    if not any(map(str.isalpha, before)):
        return False  # at the line's beginning: "___." is what de-identification left there
    is_verdict = header.group().upper().startswith(("IMP", "CONCL"))
    if not _is_prose(before):
        # One label: CHEST FINDINGS, FINAL IMPRESSION; in a report wholly in capitals, prose.
        return is_verdict and not _BEFORE_VERDICT.issuperset(re.findall(r"\w+", before))
    is_sentence_end = before.endswith(_SENTENCE_ENDS)
    is_apart = is_sentence_end or line.endswith(("  ", "\t"))
    if header["bare"] is not None:
        return is_sentence_end or (is_apart and header["bare"].isupper())
    if header["small"] is not None:
        return is_verdict or is_apart
    # Behind another word in capitals a name may be the end of a label: NOTIFICATION OF FINDINGS.
    last = before.split()[-1]
    return is_verdict or is_sentence_end or any(map(str.islower, last)) or last.isdecimal()


def _is_prose(before: str) -> bool:
    return any(map(str.islower, before)) or any(mark in before for mark in ":;.")
