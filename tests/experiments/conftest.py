"""Fixtures of the tests of the study."""

from tests.training.conftest import tiny

__all__ = ["tiny"]
