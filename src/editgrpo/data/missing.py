"""Cells that stand for "not given": `?`, `-`, `N/A`, `unknown`, `nan`, `None` and the like."""

import re

_NAMES = frozenset(
    {"unknown", "unk", "n a", "na", "none", "null", "nan", "nat", "missing", "unspecified"}
)


def is_given(text: str) -> bool:
    """Say whether a cell holds a value.

    Meant for single values such as times and views. A sentence such as "None." in a COMPARISON
    section does say something: see `has_text`.
    """
    words = re.sub(r"[\W_]+", " ", text).strip().lower()
    return bool(words) and words not in _NAMES


def has_text(text: str) -> bool:
    """Say whether a section holds a letter or a digit; `?`, `-` and `___` alone hold nothing."""
    return text[:1].isalnum() or any(character.isalnum() for character in text)
