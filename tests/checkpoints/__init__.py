"""Small random checkpoints of the clinical models, in the true file formats; one file a model."""

from enum import StrEnum


class Size(StrEnum):
    """How large a random checkpoint is."""

    TINY = "tiny"
    """A few layers of a few dozen units, for tests."""

    TRUE = "true"
    """The published model's dimensions, for benchmarks."""
