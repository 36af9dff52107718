"""The tutorials do what they say: files are written, commands run, what they print is compared.

In a page's order, a block with a title is a file, `diff` is a change of the source, `bash` is run,
and `text` is what it printed, shortened: every line of it is seen, in order, but for `...`. A `log`
has numbers that another machine may print otherwise, and is not compared.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import REPOSITORY

TUTORIALS = REPOSITORY / "docs" / "tutorials"
RUN = ["score.md", "own-studies.md", "edit-rule.md"]
"""The others need hours, weights or protected data; their options are read by
`test_documented_commands.py`."""

BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Make a folder with the commands that a reader's shell would find."""
    desk = tmp_path / "desk"
    desk.mkdir()
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, arguments in (("editgrpo", "-m editgrpo"), ("python", "")):
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        command.chmod(0o755)
    return desk


def change(difference: str, desk: Path) -> None:
    """Change a copy of the source, which is what commands run from then on."""
    if not (desk / "src").exists():
        for folder in ("src", "tests", "docs"):
            shutil.copytree(
                REPOSITORY / folder,
                desk / folder,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(REPOSITORY / "pyproject.toml", desk)
    command = ["patch", "--strip=1", "--no-backup-if-mismatch", "--silent"]
    result = subprocess.run(
        command, cwd=desk, input=difference, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def run(text: str, desk: Path) -> str:
    """Run lines of a shell until one fails; return what they printed."""
    environment = {
        **os.environ,
        "PATH": f"{desk.parent / 'bin'}:{os.environ['PATH']}",
        # The changed copy, where there is one; else what the tests run with.
        "PYTHONPATH": os.pathsep.join(
            [str(desk / "src"), *filter(None, [os.getenv("PYTHONPATH")])]
        ),
        "COLUMNS": "110",  # tables are as wide as on the page
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        ["bash", "-e", "-c", text],
        cwd=desk,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def tidy(text: str) -> list[str]:
    """Return lines without their indentation and the spacing of tables."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line not in ("", "...")]


def not_seen(expected: str, printed: str) -> list[str]:
    """Return the lines that were expected and not printed, or not in this order.

    A part of a line is enough, and at the end of one `...` stands for what follows.
    """
    rest = iter(tidy(printed))
    return [
        line for line in tidy(expected) if not any(line.removesuffix(" ...") in one for one in rest)
    ]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("patch") is None,
    reason="bash or patch, with which the pages are followed, is not installed",
)
@pytest.mark.parametrize("page", RUN)
def test_what_a_tutorial_shows_is_what_happens(page: str, desk: Path) -> None:
    printed = ""
    blocks = list(BLOCK.finditer((TUTORIALS / page).read_text(encoding="utf-8")))
    assert blocks
    for block in blocks:
        language, text = block["language"], block["text"]
        if block["title"]:
            (desk / block["title"]).write_text(text, encoding="utf-8")
        elif language == "diff":
            change(text, desk)
        elif language == "bash":
            printed = run(text, desk)
        elif language == "text":
            assert not_seen(text, printed) == [], printed
        elif language != "log":
            pytest.fail(f"{page}: nothing is known of a block of {language}")
