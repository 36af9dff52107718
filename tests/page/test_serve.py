"""The page belongs to this machine: what it answers, whom it tells, and what it leaves behind."""

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from editgrpo.errors import ConfigError, ModelError
from editgrpo.page import OpenPage, TriedModel, open_page
from editgrpo.page.serve import HOST
from tests.page.conftest import Opener

pytestmark = pytest.mark.slow


def answer(address: str, host: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(address, headers={"Host": host})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, {k.lower(): v for k, v in response.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, {}


def listening_on(page: OpenPage) -> set[str]:
    """Return the addresses on which the page's port is open (Linux: /proc/net/tcp)."""
    port = int(page.address.rstrip("/").rpartition(":")[2])
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A" and int(local.partition(":")[2], 16) == port:
                found.add(local.partition(":")[0])
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_only_this_machine_is_answered_and_by_its_own_name(opened: Opener) -> None:
    with opened() as page:
        port = page.address.rstrip("/").rpartition(":")[2]
        assert page.address == f"http://{HOST}:{port}/"
        assert listening_on(page) == {"0100007F"}  # 127.0.0.1, bytes backwards
        status, headers = answer(page.address, f"localhost:{port}")
        assert status == 200
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "http" not in policy
        assert headers["cache-control"] == "no-store"
        # A name of the web that was made to lead here.
        for name in ("elsewhere.example", f"elsewhere.example:{port}", ""):
            assert answer(page.address, name)[0] == 421
    with pytest.raises(urllib.error.URLError):
        answer(page.address, "localhost")


def test_nobody_is_told_and_nothing_stays(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **keywords: Any) -> Any:
        asked.append(host)
        return original(host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    with opened() as page:
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "True"
        assert Path(os.environ["GRADIO_TEMP_DIR"]).is_relative_to(page.folder)
        assert page.folder.stat().st_mode & 0o077 == 0  # for its owner alone
        answer(page.address, "localhost")
    assert {str(host) for host in asked} <= {HOST, "localhost", "None"}
    assert not page.folder.exists()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "True"
    assert "GRADIO_TEMP_DIR" not in os.environ


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_a_proxy_is_not_asked_for_the_page(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody answers
    for one in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "intranet.example")
    with opened() as page:
        assert answer(page.address, "localhost")[0] == 200
    assert os.environ[name] == "intranet.example"


def test_a_second_page_of_a_process_leaves_nothing_either(opened: Opener) -> None:
    with opened() as first, opened() as second:
        assert first.address != second.address
    assert not first.folder.exists() and not second.folder.exists()


def test_a_page_that_fails_leaves_nothing(opened: Opener) -> None:
    folders: list[Path] = []
    with pytest.raises(KeyboardInterrupt), opened() as page:
        folders.append(page.folder)
        raise KeyboardInterrupt
    assert folders and not folders[0].exists()


def test_what_cannot_be_tried_is_said_before_there_is_a_page(tried: TriedModel) -> None:
    with (
        pytest.raises(ModelError, match="no-such-model"),
        open_page([_at("./no-such-model", tried)]),
    ):
        pass
    with pytest.raises(ConfigError, match="0 models"), open_page([]):
        pass
    with pytest.raises(ConfigError, match="3 models"), open_page([tried] * 3):
        pass


def test_a_port_in_use_is_named(tried: TriedModel) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"port {port}: is in use"),
            open_page([tried], port=port),
        ):
            pass


def _at(path: str, tried: TriedModel) -> TriedModel:
    return TriedModel(path=path, data=tried.data)
