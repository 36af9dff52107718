"""What falls in the course of a run."""

from enum import StrEnum


class Anneal(StrEnum):
    """How a setting changes in the course of a run."""

    NONE = "none"
    """It stays."""
    COSINE = "cosine"
    """It falls to 0 by half a cosine."""
