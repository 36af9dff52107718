"""Helpers that several test files share."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_data() -> Path:
    """Return the folder of real samples that may lie beside the repository, or skip the test."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real samples are not at hand: no ../shared/data beside the repository")
    return folder
