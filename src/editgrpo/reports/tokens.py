"""Words of a sentence in the normal form that the ontology's patterns are matched against.

A normal form drops case, hyphens, plural endings and the inflection of "be" and "have", so that one
pattern covers them all. Short forms are spelled out ("w/o" is "without", "isn't" is "be not"); a
dash or equals sign between a label and its value becomes the colon it stands for; a word under
"non-" is one token, "non-displaced" like "nondisplaced". It is made for matching only: every token
keeps its place in the raw text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

NON = "non-"
"""What the form of a word under that prefix begins with."""

_IRREGULAR = {
    **dict.fromkeys(("is", "are", "was", "were", "been", "being", "am", "appears", "appear"), "be"),
    **dict.fromkeys(("appeared", "remains", "remain", "remained", "seems", "seem"), "be"),
    **dict.fromkeys(("has", "had", "having"), "have"),
    **dict.fromkeys(("does", "did"), "do"),
    **dict.fromkeys(("projects", "projecting"), "project"),
    "bases": "base",
    "apices": "apex",
    "hila": "hilum",
    "hilus": "hilum",
    "vertebrae": "vertebra",
    "sulci": "sulcus",
    "bullae": "bulla",
    "masses": "mass",
    "atria": "atrium",
    "thickenings": "thickening",
    "densities": "density",
    "pneumothoraces": "pneumothorax",
    "bronchi": "bronchus",
    "diseases": "disease",
    "spaces": "space",
    "changes": "change",
    "processes": "process",
    "diagnoses": "diagnosis",
    "nodes": "node",
    "metastases": "metastasis",
    "sinuses": "sinus",
    "nil": "none",
    "neg": "negative",
    "fxs": "fx",
}

# Short forms with a slash: the words on its left and right side; where one word is both, the right
# side is empty.
_SLASHED = {
    "a/w": ("associated", "with"),
    "and/or": ("or", ""),
    "b/l": ("bilateral", ""),
    "c/b": ("complicated", "by"),
    "c/f": ("concerning", "for"),
    "c/o": ("complaint", "of"),
    "c/w": ("consistent", "with"),
    "d/t": ("due", "to"),
    "e/o": ("evidence", "of"),
    "h/o": ("history", "of"),
    "n/a": ("not", "applicable"),
    "o/w": ("otherwise", ""),
    "r/o": ("rule", "out"),
    "r/t": ("related", "to"),
    "s/o": ("suggestive", "of"),
    "s/p": ("status", "post"),
    "w/": ("with", ""),
    "w/o": ("without", ""),
    "w/out": ("without", ""),
}
# Auxiliary verbs whose stem changes before "n't"; the others stand in full.
_STEMS = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}
_FULL = "is are was were has have had does do did can could would should might must need"
# A sign in place of a value: "Pneumothorax (-)", "Effusion: +", "Edema: -ve".
_SIGNS = {"+": "positive", "-": "negative"}

_APOSTROPHE = "['’‘`´ʼ]"
_DASH = "[-‐‑‒–—−]"
_WORD = r"[^\W_]+(?:['’][^\W_]+)?"
_NUMBER = r"\d+(?:[.,]\d+)+"
_MARK = "[,;:./()?!]"
_TOKEN = re.compile(f"{_NUMBER}|{_WORD}|{_MARK}")
_VERB = "|".join((*_FULL.split(), *_STEMS))
# Hints that a text needs the larger expression below; most do not, and it is slow.
_RARE_SIGNS = frozenset("'’‘`´ʼ/+=±‐‑‒–—−")
_RARE_HYPHEN = re.compile(r"(?<!\w)-|-(?!\w)|-n", re.I)
_RARE_WORDS = frozenset({"cannot", *(f"{verb}nt" for verb in _VERB.split("|"))})
_RARE_TOKEN = re.compile(
    "|".join(
        (
            r"(?P<maybe>\+\s?/\s?[-‐‑‒–—−]|±)",
            rf"(?P<sign>\(\s?(?:\+|{_DASH})\s?\)|(?<!\w)(?:\+|{_DASH})ve\b)",
            rf"(?P<slashed>\b(?:{'|'.join(sorted(_SLASHED, key=len, reverse=True))})"
            r"(?:(?<=w/)|(?!\w)))",
            f"(?P<number>{_NUMBER})",
            rf"(?P<verb>\b(?:{_VERB}))\s?(?P<nt>n{_APOSTROPHE}?t\b)",
            r"(?P<can>\bcan)(?P<not>not\b)",
            rf"(?P<non>\bnon(?:{_DASH}|\s)*(?!etheless\b)(?P<stem>[^\W_]{{3,}}))",
            rf"(?P<owner>[^\W_]+)(?P<s>{_APOSTROPHE}s\b)",
            f"(?P<word>{_WORD})",
            rf"(?P<dash>(?<!\w){_DASH}+|{_DASH}+(?!\w)|[=—]+|{_DASH}(?=(?:none|no|nil)\b))|\+",
            f"(?P<mark>{_MARK})",
        )
    ),
    re.I,
)


def word_set(words: str) -> frozenset[str]:
    """Return the words of a text as a set; for word lists that read better as running text."""
    return frozenset(words.split())


# More words than this before a dash or colon are no label ...
_LONGEST_LABEL = 8
# ... and neither is what holds one of these: a statement of its own.
_NO_LABEL = word_set("no not without be have do with see there show this that which , ; : . ? ! (")
_STOPS = word_set(", ; : . ? ! (")


@dataclass(frozen=True, slots=True)
class Token:
    """One word or punctuation mark: its normal form and its characters in the sentence."""

    form: str
    start: int
    end: int


@lru_cache(maxsize=65_536)
def normal_form(word: str) -> str:
    """Return the normal form of one word."""
    lower = word.lower()
    if lower in _IRREGULAR:
        return _IRREGULAR[lower]
    if len(lower) < 4 or not lower.endswith("s") or lower.endswith(("ss", "us", "is")):
        return lower
    if lower.endswith("ies"):
        return lower[:-3] + "y"
    if lower.endswith(("sses", "xes", "shes", "ches")):
        return lower[:-2]
    return lower[:-1]


def tokenize(text: str) -> tuple[Token, ...]:
    """Return the tokens of a text; hyphens and symbols separate words and are dropped, but for the
    dashes and signs that stand for a word or a colon."""
    words = list(_TOKEN.finditer(text))
    forms = [normal_form(word[0]) for word in words]
    if _is_rare(text) or not _RARE_WORDS.isdisjoint(forms):
        return tuple(_with_colons(list(_rare_tokens(text))))
    return tuple([Token(form, *word.span()) for form, word in zip(forms, words, strict=True)])


def _is_rare(text: str) -> bool:
    """Tell whether a text may hold short forms, signs or "non-"."""
    if not _RARE_SIGNS.isdisjoint(text) or "non" in text or "Non" in text or "NON" in text:
        return True
    return "-" in text and _RARE_HYPHEN.search(text) is not None


def is_label(tokens: list[Token]) -> bool:
    """Tell whether words before a colon or dash name something and do not state it."""
    forms = [token.form for token in tokens]
    if forms and forms[-1] == "be":  # "Heart size is: enlarged"
        forms.pop()
    return (
        len(forms) <= _LONGEST_LABEL
        and any(form[0].isalpha() for form in forms)
        and _NO_LABEL.isdisjoint(forms)
    )


def _rare_tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a text with short forms; dashes still stand as "-", equals signs as
    "="."""
    for match in _RARE_TOKEN.finditer(text):
        kind, start, end = match.lastgroup, match.start(), match.end()
        word = match.group()
        if kind == "maybe":
            yield Token("possible", start, end)
        elif kind == "sign":
            yield Token(_SIGNS["+" if "+" in word else "-"], start, end)
        elif kind == "slashed":
            left, right = _SLASHED[word.lower()]
            middle = start + word.index("/") + 1 if right else end
            yield Token(normal_form(left), start, middle)
            if right:
                yield Token(normal_form(right), middle, end)
        elif kind in ("nt", "not"):
            verb = match["verb"] or match["can"]
            yield Token(normal_form(_STEMS.get(verb.lower(), verb)), start, start + len(verb))
            yield Token("not", match.start(kind), end)
        elif kind == "non":
            yield Token(NON + normal_form(match["stem"]), start, end)
        elif kind == "s":
            yield Token(normal_form(match["owner"]), start, match.end("owner"))
            yield Token("'s", match.start("s"), end)
        elif kind == "dash":
            yield Token("=" if "=" in word else "-", start, end)
        elif kind is None:
            yield Token("+", start, end)
        else:
            yield Token(normal_form(word), start, end)


def _with_colons(tokens: list[Token]) -> Iterator[Token]:
    """Read the signs: one in the place of a value is that value, a dash or equals sign behind a
    label is a colon, another dash a semicolon, and any other nothing."""
    label: list[Token] = []
    last = ""
    behind_value = False
    for token in tokens:
        if token.form in _SIGNS and last == ":":
            yield Token(_SIGNS[token.form], token.start, token.end)
        elif token.form in ("-", "="):
            if label and not last[0].isdigit():
                last = ":" if is_label(label[_value_length(label) * behind_value :]) else ";"
                behind_value = last == ":"
                yield Token(last, token.start, token.end)
                label = []
            continue
        elif token.form != "+":
            yield token
            label = [*label, token]
            if token.form in _STOPS:
                label, behind_value = [], False
        last = token.form


def _value_length(tokens: list[Token]) -> int:
    """Return how many words are a value's for sure: "no" of "edema - no effusion - yes"."""
    return max((n for n, token in enumerate(tokens, 1) if token.form in _NO_LABEL), default=0)
