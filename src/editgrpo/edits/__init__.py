"""The edit rules as pure functions, and the splice from an edited text to edited tokens."""

from editgrpo.edits.rules import edit_report
from editgrpo.edits.types import Edit, EditRule, EditStep, Origin, SentenceSource

__all__ = ["Edit", "EditRule", "EditStep", "Origin", "SentenceSource", "edit_report"]
