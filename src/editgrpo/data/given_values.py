"""Whether something was given: one answer for all sources, for short cells and for report text.

A cell may stand for "not given" (`?`, `N/A`, `nan`); so may a whole section (`Not available.`,
`XXXX.`), and findings may say no more than where to look ("As above.", "See impression.").
"""

import re

_OF_SOFTWARE = r"n a|na|nan|nat|none|null|nil|undefined"
_NOTHING = _OF_SOFTWARE + r"|unk|unknown|unspecified|unavailable|missing|blank|empty|void|tbd|tba"
_NAMES_OF_SOFTWARE, _NAMES = (frozenset(text.split("|")) for text in (_OF_SOFTWARE, _NOTHING))
# What spreadsheets write into a cell whose formula failed, and databases for NULL.
_NO_CELL = re.compile(r"#(?:N/A|NAME|VALUE|REF|NULL|NUM|DIV/0)[?!]?|\\N")
# De-identified words: `___` of MIMIC-CXR, XXXX of IU X-Ray.
_HIDDEN = re.compile(r"\b[xX]{3,}\b|_+")
_NO_WORD = re.compile(r"[\W_]+")

_SUBJECT = (
    r"(?:findings?|(?:the )?(?:reports?|texts?|sections?|data|info|information|details?|history"
    r"|indications?|comparisons?|techniques?|impressions?|priors?|dictations?)|it|this|there)"
)
_GIVEN = (
    r"(?:available|applicable|given|provided|reported|stated|recorded|specified|known|entered|found"
    r"|listed|documented|supplied|dictated|transcribed|included|indicated|mentioned|on file)"
)
_WHOLE = re.compile(
    rf"(?:{_SUBJECT} )?(?:(?:is|are|was|were|has|have|been|currently|yet) )*(?:"
    rf"(?:{_NOTHING})(?: (?:{_NOTHING}))*"
    rf"|not (?:(?:yet|currently|been) )*{_GIVEN}"
    rf"|none (?:(?:is|are|was|were) )?{_GIVEN}"
    rf"|no (?:{_SUBJECT}|studies|study|exams?|films?|images)(?: (?:is|are|was|were))? {_GIVEN}"
    rf"|no (?:reports?|text|data|info|information|dictation|details?)"
    rf"|(?:pending|please|pls)"
    rf")(?: (?:yet|here|currently|at (?:this|the) time))?"
)
# How such a text begins: most sections are told apart by their first word.
_BEGINNING = re.compile(
    rf"[\W_]*(?:$|\d|xxx|n\W|(?:{_SUBJECT}|the|is|are|was|were|has|have|been|currently|yet|not|no"
    rf"|pending|please|pls|{_NOTHING})(?![a-z]))",
    re.IGNORECASE,
)

# A pointer is made of these words alone, one of the first group among them, see `only_points`.
_POINTING = frozenset(
    {
        "above", "addendum", "below", "conclusion", "conclusions", "dictation", "elsewhere",
        "impression", "impressions", "infra", "previously", "refer", "see", "separate",
        "separately", "supra", "vide",
    }
)  # fmt: skip
_BESIDE_POINTING = frozenset(
    {
        "a", "accompanying", "additional", "all", "also", "an", "and", "are", "as", "at",
        "attached", "body", "chest", "combined", "comment", "comments", "complete", "concurrent",
        "corresponding", "ct", "cxr", "date", "dated", "day", "described", "description",
        "detail", "detailed", "details", "dictated", "discussed", "discussion", "done", "exam",
        "examination", "film", "films", "finding", "findings", "following", "for", "from", "full",
        "further", "given", "here", "in", "included", "into", "is", "it", "its", "kindly",
        "listed", "mentioned", "more", "mri", "note", "noted", "of", "on", "outlined", "part",
        "per", "please", "pls", "radiograph", "radiographs", "radiologist", "radiology", "ray",
        "read", "refer", "regarding", "report", "reported", "reports", "result", "results",
        "same", "scan", "section", "sections", "seen", "stated", "studies", "study", "summarized",
        "text", "that", "the", "their", "these", "this", "to", "under", "was", "were", "wet",
        "with", "written", "x",
    }
)  # fmt: skip
_LONGEST = 160  # characters: who writes more says something
_OF_THE_REPORT = ("findings", "impression")


def is_given(text: str) -> bool:
    """Say whether a cell holds a value.

    Meant for single values such as ids, times and views; of a section, ask `section_text`.
    """
    words = _NO_WORD.sub(" ", text).strip().lower()
    return bool(words) and words not in _NAMES and not _NO_CELL.fullmatch(text.strip())


def is_identifier(text: str) -> bool:
    """Say whether a cell can be an id: nothing that software writes for a missing value.

    "unknown" may be the name of a study; `nan` is none.
    """
    words = _NO_WORD.sub(" ", text).strip().lower()
    return bool(words) and words not in _NAMES_OF_SOFTWARE and not _NO_CELL.fullmatch(text.strip())


def has_text(text: str) -> bool:
    """Say whether there is a letter or a digit; `?`, `-` and `___` alone hold nothing."""
    return text[:1].isalnum() or any(character.isalnum() for character in text)


def section_text(text: str, section: str) -> str:
    """Return what a section says.

    Args:
        text: What the source holds under its name.
        section: `findings`, `impression`, `indication`, `technique` or `comparison`.

    Returns:
        The text with single spaces; empty where it says nothing, see `stands_for_nothing`, or where
        findings or impression say only where to look, see `only_points`.
    """
    text = " ".join(text.split())
    is_pointer = section in _OF_THE_REPORT and only_points(text)
    return "" if is_pointer or stands_for_nothing(text, section) else text


def stands_for_nothing(text: str, section: str) -> bool:
    """Say whether a section is empty or one of the ways to write that there is none.

    Args:
        text: The whole section.
        section: Its name. "None." or "None available" as a COMPARISON says something: there is no
            earlier study.

    Returns:
        True for no letter but those of de-identified words, and for `nan`, `N/A`, `Not available.`
        and the like. Findings and impression need a letter; other sections a letter or a digit.
    """
    if len(text) > _LONGEST or not (text.startswith(("#", "\\")) or _BEGINNING.match(text)):
        return False
    if not text or _NO_CELL.fullmatch(text):
        return True
    words = " ".join(_NO_WORD.sub(" ", _HIDDEN.sub(" ", text)).lower().split())
    if not words or (section in _OF_THE_REPORT and not any(map(str.isalpha, words))):
        return True
    if section == "comparison" and words.split()[0] in ("no", "none"):
        return False
    return _WHOLE.fullmatch(words) is not None


def only_points(text: str) -> bool:
    """Say whether a section says only where to look.

    A model that is taught "As above." or "Please see impression for details." would write it.

    Args:
        text: The whole section.

    Returns:
        True if every word belongs to pointing and one of them points; a word of what is to be seen
        on the images makes it a report.
    """
    if len(text) > _LONGEST:
        return False
    words = _NO_WORD.sub(" ", _HIDDEN.sub(" ", text)).lower().split()
    return not _POINTING.isdisjoint(words) and all(
        word in _POINTING or word in _BESIDE_POINTING or word.isdecimal() for word in words
    )
