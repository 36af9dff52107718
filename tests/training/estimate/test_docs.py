"""docs/performance.md holds what its commands print."""

import re
import shlex
from pathlib import Path

import pytest
from benchmarks import estimates

from editgrpo.cli import main
from tests.builders import REPOSITORY

PAGE = (REPOSITORY / "docs" / "performance.md").read_text("utf-8")


@pytest.mark.slow
def test_the_page_holds_the_tables_as_they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    estimates.main()
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert len(tables) == 2
    assert all(table in PAGE for table in tables)


def test_the_page_shows_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without runs, as whoever reads the page
    (block,) = re.findall(r"```console\n\$ editgrpo (.*?)\n(.*?)```", PAGE, flags=re.DOTALL)
    with pytest.raises(SystemExit):
        main(shlex.split(block[0]))
    assert capsys.readouterr().out == block[1]
