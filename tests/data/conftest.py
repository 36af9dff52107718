"""A small prepared set that tests may damage."""

import shutil
from pathlib import Path

import pytest

from tests.data.small_sets import write_small_set


@pytest.fixture(scope="session")
def written_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of `small_sets.py` as the library wrote it; not to be changed."""
    return write_small_set(tmp_path_factory.mktemp("written"))


@pytest.fixture
def small_set(written_set: Path, tmp_path: Path) -> Path:
    """A copy of it, free to be damaged."""
    return Path(shutil.copytree(written_set, tmp_path / "set"))
