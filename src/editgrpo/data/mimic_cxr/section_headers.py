"""What a header of a radiology report opens: the table of spellings, to be changed here.

A header is text at a line's beginning, in capitals or one of `NAMES`, with a colon behind. The
first row of `TABLE` whose pattern stands in it says what it opens. Nobody can list the labels that
radiologists put before the parts of their findings, so that a header in capitals that no row knows
is `UNKNOWN`: within findings a sub-heading, elsewhere the end of the section before it.
"""

import re
from enum import StrEnum
from functools import lru_cache


class Kind(StrEnum):
    """What a header opens."""

    FINDINGS = "findings"
    COMBINED = "findings and impression"
    VIEW = "the exam's name as a header, such as CHEST, PA AND LATERAL"
    IMPRESSION = "impression"
    INDICATION = "indication"
    TECHNIQUE = "technique"
    COMPARISON = "comparison"
    EXAMINATION = "examination"
    PRELIMINARY = "a reading before the final one: wet read, provisional impression"
    ADDENDUM = "addendum"
    OTHER = "a section of another kind, such as recommendations or a signature"
    UNKNOWN = "a label in capitals that no row knows"
    PART = "a part of the body or a device: a label inside of a section, not a section"


# Tuples: an enum's hash costs more than the few comparisons.
FINDINGS = (Kind.FINDINGS, Kind.COMBINED, Kind.VIEW)
RESULTS = (*FINDINGS, Kind.IMPRESSION)
CONTEXT = (Kind.INDICATION, Kind.TECHNIQUE, Kind.COMPARISON, Kind.EXAMINATION)
ASIDE = (Kind.PRELIMINARY, Kind.ADDENDUM)

# Read from above; the first row that fits decides. Patterns see the header in capitals, its
# punctuation and `___` as single spaces: "FINDINGS/IMPRESSION" is "FINDINGS IMPRESSION",
# "RECOMMENDATION(S)" is "RECOMMENDATIONS". Misspelt words are put right before, see `_CORE_WORDS`.
_VERDICT = r"(?:IMPRESSIONS?|CONCLUSIONS?|OPINION|INTERPRETATION)"
_EARLIER_EXAM = (
    r"(?:STUD(?:Y|IES)|EXAMS?|EXAMINATIONS?|FILMS?|IMAGING|IMAGES?|RADIOGRAPHS?|FINDINGS?|REPORTS?"
    r"|COMPARISONS?|CXRS?|X ?RAYS?|CHEST)"
)
TABLE: tuple[tuple[Kind, str], ...] = (
    # "WET ___": de-identification took READ for a name.
    (Kind.PRELIMINARY, r"^WET(?: READ(?:ING)?\b|READ\b|$)|\b(?:PROVISIONAL|PRELIMINARY)\b|\bPFI$"),
    (Kind.ADDENDUM, r"\bADDENDUM\b"),
    (Kind.OTHER, r"\b(?:NOTIFICATIONS?|NOTIFIED|COMMUNICATIONS?|COMMUNICATED|DISCUSSED|DATE)\b"),
    (
        Kind.OTHER,
        r"^(?:DICTATED|TRANSCRIBED|SIGNED|SIGNATURES?|ELECTRONICALLY|APPROVED|REPORTED|REVIEWED"
        r"|READ|INTERPRETED|VERIFIED|FINALIZED|ENTERED|ORDERED|REQUESTED|REFERRING|ATTENDING"
        r"|RESIDENT|FELLOW|RADIOLOGISTS?|PHYSICIANS?|ACCESSION|MRN|CC)\b|\bTIME$",
    ),
    (Kind.OTHER, r"\b(?:CT|CTA|MRI|MRA|MR|PET|ULTRASOUND|ECHOCARDIOGRAM)\b"),
    (Kind.COMBINED, rf"\bFINDINGS?\b.*\b{_VERDICT}\b|\b{_VERDICT}\b.*\bFINDINGS?\b"),
    (Kind.COMPARISON, rf"^(?:PRIORS?|PREVIOUS)(?:$|\b.*\b{_EARLIER_EXAM}\b)"),
    (Kind.FINDINGS, r"\bFINDINGS?\b|^OBSERVATIONS?$"),
    (
        Kind.IMPRESSION,
        rf"\b{_VERDICT}\b|^(?:SUMMARY|ASSESSMENT|IMPR?(?:ESS?)?|CONCL?|DIAGNOS[IE]S)$",
    ),
    (
        Kind.INDICATION,
        r"\b(?:INDICATIONS?|HISTORY|HX|REASON|COMPLAINT)\b|^ADMITTING DIAGNOSIS$|^IND$",
    ),
    (Kind.INDICATION, r"^CLINICAL (?:INFORMATION|INFO|DATA|QUESTION|BACKGROUND|DETAILS|CONTEXT)\b"),
    (Kind.COMPARISON, r"^COMPAR(?:ED|E|ISONS?)\b|\bCOMPARISONS?\b|^REFERENCE\b"),
    (Kind.TECHNIQUE, r"\bTECHNIQUES?\b|^PROCEDURES?\b"),
    (
        Kind.EXAMINATION,
        # "STUDY QUALITY", "EXAM LIMITATIONS" speak of what is seen.
        r"^(?:TYPE OF )?(?:EXAM|EXAMINATIONS?|EXAMS|STUDY|STUDIES)\b"
        r"(?!.*\b(?:QUALITY|LIMIT\w*|ADEQUACY|TECHNICAL|FACTORS?)\b)",
    ),
    (Kind.OTHER, r"\bRECOMMENDATIONS?\b|^COMMENTS?$|^NOTE$"),
    # Last, so that "LUNG FINDINGS" opens findings.
    (
        Kind.PART,
        r"\b(?:LUNGS?|PULMONARY|PARENCHYMA|AIRSPACES?|PLEURAL?|PLEURAE|COSTOPHRENIC|HEART|CARDIAC"
        r"|(?:CARDIO)?MEDIASTIN(?:UM|AL)|SILHOUETTE|HILA|HILUM|HILAR|AORTA|AIRWAYS?|TRACHEA"
        r"|(?:HEMI)?DIAPHRAGMS?|BONES?|BONY|OSSEOUS|(?:MUSCULO)?SKELET(?:ON|AL)|SPINE|RIBS?"
        r"|CLAVICLES?|THORAX|NECK|SHOULDERS?|SOFT TISSUES?|CHEST WALL|ABDOMEN|VASCULATURE"
        r"|VASCULARITY|VESSELS|EFFUSIONS?|PNEUMOTHORAX|EDEMA|TUBES?|LINES?|DRAINS?|WIRES"
        r"|CATHETERS?|DEVICES?|HARDWARE|PACEMAKER)\b|^OTHER$",
    ),
)

# A header in capitals made of these words alone, one of the first group among them, names the exam.
_EXAM_WORDS = frozenset(
    {
        "AP", "CHEST", "CXR", "FILM", "FILMS", "FRONTAL", "LAT", "LATERAL", "PA", "PORTABLE",
        "RADIOGRAPH", "RADIOGRAPHS", "RIB", "RIBS", "VIEW", "VIEWS", "XRAY", "XRAYS",
    }
)  # fmt: skip
_WORDS_BESIDE_EXAM_WORDS = frozenset(
    {
        "A", "ABDOMEN", "ABDOMINAL", "AM", "AN", "AND", "AT", "BEDSIDE", "BILATERAL", "BONE",
        "DATED", "DECUBITUS", "ERECT", "EXAM", "EXAMINATION", "EXPIRATORY", "FOR", "FOUR", "FROM",
        "HOURS", "IMAGE", "IMAGES", "IN", "INSPIRATORY", "INTRAOPERATIVE", "LEFT", "LINE",
        "LORDOTIC", "M", "MULTIPLE", "OBLIQUE", "OBLIQUES", "OF", "ON", "ONE", "ONLY", "P",
        "PELVIS", "PLACEMENT", "PM", "POSITION", "RAY", "RAYS", "RIGHT", "SEMI", "SEMIERECT",
        "SEMIUPRIGHT", "SERIES", "SINGLE", "STUDY", "SUPINE", "SWIMMERS", "THE", "THREE", "TWO",
        "UPPER", "UPRIGHT", "WINDOW", "WINDOWS", "WITH", "X",
    }
)  # fmt: skip

# Headers also with small letters ("Findings:"), or in capitals alone on their line without a colon.
NAMES = frozenset(
    {
        "FINDINGS", "FINDING", "FINDINGS AND IMPRESSION", "FINDINGS IMPRESSION",
        "IMPRESSION AND FINDINGS", "IMPRESSION", "IMPRESSIONS", "FINAL IMPRESSION", "IMP", "IMPR",
        "CONCLUSION", "CONCLUSIONS",
        "INDICATION", "INDICATIONS", "CLINICAL INDICATION", "HISTORY", "CLINICAL HISTORY",
        "PATIENT HISTORY", "CLINICAL INFORMATION", "REASON FOR EXAM", "REASON FOR EXAMINATION",
        "REASON FOR THE EXAM", "REASON FOR THIS EXAM", "REASON FOR THIS EXAMINATION",
        "REASON FOR STUDY", "COMPARISON", "COMPARISONS", "TECHNIQUE", "EXAMINATION",
        "RECOMMENDATION", "RECOMMENDATIONS", "NOTIFICATION", "WET READ", "ADDENDUM",
    }
)  # fmt: skip

# A word one letter, or two neighbours exchanged, away from one of these is that word: FINIDNGS,
# IMPRESION, MPRESSION, COMPARISION, CONCUSION, INDICTAION. Shorter words are too near to others.
_CORE_WORDS = (
    "FINDINGS", "IMPRESSION", "INDICATION", "COMPARISON", "COMPARISONS", "TECHNIQUE", "CONCLUSION",
    "EXAMINATION", "RECOMMENDATION", "RECOMMENDATIONS", "NOTIFICATION", "ADDENDUM",
)  # fmt: skip
_SHORTEST_MISSPELT = 7  # letters
# A header of MIMIC-CXR has at most six words, unless it names an exam; more are a shouted sentence.
_MOST_WORDS = 6
# CABG, COPD and PICC at a line's beginning are wrapped text.
_SHORTEST_UNKNOWN = 5  # letters
_LONGEST_SMALL_NAME = 24  # characters: "Findings and impression"

_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in TABLE)
_NOT_A_WORD = re.compile(r"[\W_]+")
_IN_BRACKETS = re.compile(r"\([^)]*\)?")


@lru_cache(maxsize=65_536)  # 227,835 reports share a few thousand headers
def classify(header: str) -> Kind | None:
    """Say what a header opens.

    Args:
        header: The text between the line's beginning and the colon.

    Returns:
        None if this is ordinary text before a colon.
    """
    words = _words(header)
    name = " ".join(words)
    if not in_capitals(header) and name not in NAMES:
        return None
    if _names_exam(words):
        return Kind.VIEW
    if not words or len(words) > _MOST_WORDS:
        return None
    for kind, pattern in _PATTERNS:
        if pattern.search(name):
            return kind
    return Kind.UNKNOWN if sum(map(str.isalpha, name)) >= _SHORTEST_UNKNOWN else None


def is_name(header: str) -> bool:
    """Say whether text needs no colon to be a header where it is alone on its line.

    One of `NAMES` in capitals; with a capital at its beginning, as "Impression", only one that
    results or what follows them stand under: "History" may be wrapped text.
    """
    in_small_letters = not header.isupper()
    if in_small_letters and len(header) > _LONGEST_SMALL_NAME:
        return False  # a line of prose, as most are: saves a third of the time
    if " ".join(_words(header)) not in NAMES:
        return False
    return not in_small_letters or (header[0].isupper() and classify(header) not in CONTEXT)


@lru_cache(maxsize=65_536)
def names_findings_alone(header: str) -> bool:
    """Say whether a header that opens findings names nothing but findings and the exam.

    Within findings, "INCIDENTAL FINDINGS" or "LUNG FINDINGS" are labels of a part of them.
    """
    words = [word for word in _words(header) if word not in ("FINDINGS", "FINDING")]
    return all(word in _EXAM_WORDS or word in _WORDS_BESIDE_EXAM_WORDS for word in words)


@lru_cache(maxsize=65_536)
def in_capitals(header: str) -> bool:
    """Say whether a header has no small letter; what is in brackets does not matter."""
    return _IN_BRACKETS.sub("", header).isupper()


def _words(header: str) -> list[str]:
    text = header.upper().replace("(S)", "S")
    return [_corrected(word) for word in _NOT_A_WORD.sub(" ", text).split()]


def _names_exam(words: list[str]) -> bool:
    return not _EXAM_WORDS.isdisjoint(words) and all(
        word in _EXAM_WORDS or word in _WORDS_BESIDE_EXAM_WORDS or word.isdecimal()
        for word in words
    )


def _corrected(word: str) -> str:
    if len(word) < _SHORTEST_MISSPELT or word in _CORE_WORDS:
        return word
    return next((core for core in _CORE_WORDS if _one_slip(word, core)), word)


def _one_slip(word: str, core: str) -> bool:
    """Say whether one letter too many, missing or wrong, or one exchange, parts two words."""
    shorter, longer = sorted((word, core), key=len)
    first = next(
        (k for k, pair in enumerate(zip(word, core, strict=False)) if len(set(pair)) > 1),
        len(shorter),
    )
    if len(longer) - len(shorter) == 1:
        return shorter[first:] == longer[first + 1 :]
    if len(word) != len(core):
        return False
    exchanged = word[first + 1 : first + 2] + word[first : first + 1] + word[first + 2 :]
    return word[first + 1 :] == core[first + 1 :] or exchanged == core[first:]
