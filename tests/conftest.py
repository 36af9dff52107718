"""What every test shares: the network is blocked, and no example has a deadline."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

# On a busy machine an example that usually takes a millisecond may take a second.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


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
