"""The edit rules as pure functions, and the splice from an edited text to edited tokens."""

from editgrpo.edits.edit import Edit, EditStep, Origin, SentenceSource, edit_report
from editgrpo.edits.rules import EditRule

__all__ = ["Edit", "EditRule", "EditStep", "Origin", "SentenceSource", "edit_report"]
