"""What the runner of oracles does with answers, failures and missing packages; needs no package."""

import sys
from pathlib import Path

import pytest

from tests.parity.clinical import conftest
from tests.parity.clinical.conftest import run_oracle

pytestmark = pytest.mark.parity

ECHO = """
import json, os, sys
request = json.load(sys.stdin)
print("a package that chats")
print(json.dumps({"text": request["text"], "path": os.environ["PYTHONPATH"].split(os.pathsep)[0],
                  "offline": os.environ["HF_HUB_OFFLINE"]}))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EDITGRPO_ORACLE_PYTHON", sys.executable)
    monkeypatch.setenv("EDITGRPO_ORACLE_ECHO_1_2", str(tmp_path))
    monkeypatch.setattr(conftest, "_answers", {})
    return "echo-1.2"


def write(folder: Path, source: str) -> Path:
    path = folder / "oracle.py"
    path.write_text(source, encoding="utf-8")
    return path


def test_the_last_line_is_the_answer_and_the_package_comes_first(
    tmp_path: Path, package: str
) -> None:
    answer = run_oracle(write(tmp_path, ECHO), {"text": "naïve 5 µm"}, package=package)
    assert answer == {"text": "naïve 5 µm", "path": str(tmp_path), "offline": "1"}


def test_the_same_request_is_run_once_and_its_answer_cannot_be_spoilt(
    tmp_path: Path, package: str
) -> None:
    script = write(tmp_path, ECHO)
    run_oracle(script, {"text": "same"}, package=package).clear()
    script.unlink()
    assert run_oracle(script, {"text": "same"}, package=package)["text"] == "same"


@pytest.mark.parametrize(
    ("source", "timeout_s", "message"),
    [
        ("import sys; sys.exit('no such model')", 60, "no such model"),
        ("print('[1]')", 60, "no JSON object"),
        ("import sys; sys.stderr.write('said why'); print('nothing')", 60, "said why"),
        ("import time; time.sleep(60)", 2, "within 2 s"),
    ],
)
def test_a_failing_oracle_fails_the_test_with_its_reason(
    tmp_path: Path, package: str, source: str, timeout_s: int, message: str
) -> None:
    with pytest.raises(pytest.fail.Exception, match=message):
        run_oracle(write(tmp_path, source), {}, package=package, timeout_s=timeout_s)


def test_without_the_package_the_test_skips_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITGRPO_ORACLE_PYTHON", sys.executable)
    with pytest.raises(pytest.skip.Exception, match=r"EDITGRPO_ORACLE_ABSENT.*make parity"):
        run_oracle(write(tmp_path, ECHO), {}, package="absent")


def test_an_oracle_reaches_no_network(tmp_path: Path, package: str) -> None:
    script = write(tmp_path, "import urllib.request as r; r.urlopen('https://example.org')")
    with pytest.raises(pytest.fail.Exception, match=r"tried to reach example\.org"):
        run_oracle(script, {}, package=package)
