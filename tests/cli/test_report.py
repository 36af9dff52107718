"""`editgrpo report --watch` ends with Ctrl-C as it ends with the runs: well."""

import time
from pathlib import Path

import pytest

from editgrpo.cli import main
from tests.display.run_folders import write_sft_run


@pytest.mark.slow
def test_watching_follows_the_runs_until_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, output, waited = tmp_path / "sft", tmp_path / "report.html", []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt
        write_sft_run(run, studies="studies", steps=3)

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(SystemExit) as stop:
        main(["report", "--watch", str(run), "--output", str(output), "--every", "5"])
    assert stop.value.code == 0
    assert waited == [5, 5]
    shown = capsys.readouterr().out
    assert shown.count("Runs: 1; evaluations: 0") == 2  # awaited, then begun
    assert "location.reload" not in output.read_text(encoding="utf-8")
