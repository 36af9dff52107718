"""Words of a sentence in the normal form that the ontology's patterns are matched against.

A normal form drops case, hyphens, plural endings and the inflection of "be" and "have", so that one
pattern covers them all. It is made for matching only: every token keeps its place in the raw text.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['’][^\W_]+)?|[,;:./()?!]")

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
    "couldn’t": "could not",
    "isn't": "be not",
    "can't": "can t",
    "x-ray": "xray",
}


def word_set(words: str) -> frozenset[str]:
    """Return the words of a text as a set; for word lists that read better as running text."""
    return frozenset(words.split())


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
    """Return the tokens of a text; hyphens and symbols separate words and are dropped."""
    return tuple(
        Token(normal_form(match.group()), match.start(), match.end())
        for match in _TOKEN.finditer(text)
    )
