"""What every test shares: the network is blocked, and no example has a deadline."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# On a busy machine an example that usually takes a millisecond may take a second.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


# A mark of a whole file, as it is written: `pytestmark = pytest.mark.slow` or a list with it.
_WHOLE_FILE = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files all of whose tests a mark deselects: what they import takes time, too."""
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    found = _WHOLE_FILE.search(collection_path.read_text(encoding="utf-8"))
    unwanted = re.findall(r"\bnot (\w+)", config.option.markexpr or "")
    return True if found is not None and found[1] in unwanted else None


# TRL imports trackio, which notes as it is imported where it writes.
_TRACKIO = tempfile.mkdtemp(prefix="trackio-")
os.environ["TRACKIO_DIR"] = _TRACKIO


def pytest_unconfigure() -> None:
    """Remove what runs have told trackio."""
    shutil.rmtree(_TRACKIO, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every connection that leaves this machine."""
    original = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"a test tried to connect to {host}; tests run without a network")
        original(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
