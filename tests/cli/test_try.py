"""`editgrpo try`: what it refuses before there is a page, and how it ends."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from editgrpo.cli import app
from tests.training.conftest import tiny
from tests.training.tiny_run import Tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

pytest.importorskip("gradio", reason="gradio, which serves the page, is not installed")


@contextmanager
def running(*words: str, folder: Path) -> Iterator[Any]:
    """Run the command; its temporary files go to a folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "editgrpo", "try", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 0, "Reports written: 0; scored: 0. Nothing was kept"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
    ],
)
def test_the_page_is_there_until_the_command_ends_and_then_nothing_is(
    tiny: Tiny, tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    words = (str(tiny.checkpoint), "--data", str(tiny.studies))
    with running(*words, folder=tmp_path) as process:
        line = process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(address, timeout=30).status == 200
        assert [path.name[:14] for path in tmp_path.iterdir()] == ["editgrpo-page-"]
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert said in output + errors
        assert "Traceback" not in errors
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["./no-such-model"], "no-such-model"),
        (["MODEL", "--beside", "./no-such-model"], "no-such-model"),
        (["MODEL", "--data", "no-such-set"], "no-such-set: no such folder"),
        (["MODEL", "--set", "data.max_imges=2"], "max_imges"),
        (["MODEL", "--set", "optim.learning_rate=1"], "only data.key=value"),
        (["MODEL", "--min-pixels", "0"], "min_pixels=0"),
        (["MODEL", "--max-completion-tokens", "0"], "max_completion_tokens"),
    ],
)
def test_what_is_wrong_is_said_before_there_is_a_page(
    tiny: Tiny, tmp_path: Path, words: list[str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(tiny.checkpoint) if word == "MODEL" else word for word in words]
    result = CliRunner().invoke(app, ["try", *words])
    assert fault in str(result.exception)
    assert "The page is at" not in result.output
