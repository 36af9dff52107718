"""An output has one owner, however it came to its end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.cli.output import clear_away
from editgrpo.errors import ConfigError
from editgrpo.ownership import _lock_path, disown_all, own, owning
from tests.builders import write_model_config

HOLD = """
import sys, time
from pathlib import Path
from editgrpo.ownership import own
own(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def other_owner(output: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process own an output."""
    command = [sys.executable, "-c", HOLD, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    """Let go of what a test owned."""
    yield
    disown_all()


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with other_owner(output) as process:
        expected = f"{output}: process {process.pid} on {socket.gethostname()} writes to it; wait"
        with pytest.raises(ConfigError) as refused:
            own(output)
        assert str(refused.value).startswith(expected)
        own(tmp_path / "other")  # its neighbour is free


def test_a_killed_owner_holds_nothing_though_its_file_stays(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with other_owner(output) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".run.lock").is_file()
        own(output)
    assert f"process {os.getpid()} " in (tmp_path / ".run.lock").read_text()


def test_an_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    with owning(tmp_path / "new" / "run"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".run.lock"]
    assert list(tmp_path.iterdir()) == []


def test_one_process_may_own_an_output_at_two_places_of_its_code(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with owning(output):
        with owning(tmp_path / "x" / ".." / "run"):
            pass
        assert (tmp_path / ".run.lock").is_file()
    assert not (tmp_path / ".run.lock").exists()


def test_two_names_of_one_folder_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "name").symlink_to(tmp_path / "real")
    with other_owner(tmp_path / "real"), pytest.raises(ConfigError, match="name: process"):
        own(tmp_path / "name")


def test_the_processes_of_one_launch_share_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other_owner(tmp_path / "run"):
        monkeypatch.setenv("RANK", "1")
        with owning(tmp_path / "run"):
            pass


def test_a_folder_whose_parent_is_closed_holds_its_lock_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a volume that is mounted below a folder of another owner."""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with owning(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".editgrpo.lock"]


def test_the_root_holds_its_lock_itself() -> None:
    """As where the predictions of `evaluate` lie in the root of a container."""
    assert _lock_path(Path("/")) == Path("/.editgrpo.lock")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", "--resume", "--overwrite"])
@pytest.mark.parametrize("command", ["train", "sft"])
def test_no_second_run_starts_resumes_or_replaces_beside_a_live_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, how: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    (run / "provenance.json").write_text("{}")
    (tmp_path / "prepared.json").write_text('{"form": 1, "files": {}}')
    folders = f"model: {{path: '{tmp_path}'}}\ndata: {{folder: '{tmp_path}'}}\n"
    (tmp_path / "recipe.yaml").write_text(folders)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    words = [command, str(tmp_path / "recipe.yaml"), "--output", str(run), *how.split()]
    with other_owner(run), pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert (
        "writes to it; wait until it has ended, or name another output" in capsys.readouterr().err
    )
    assert (run / "metrics.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("prepare phantom --output {}", "set"),
        ("prepare phantom --output {} --overwrite", "set"),
        ("prepare folder x.csv --column study_id=a --column image=b --output {} --resume", "set"),
        ("generate model --studies . --output {} --overwrite", "predictions.jsonl"),
        ("score p.jsonl --output {} --overwrite", "scores.jsonl"),
        ("evaluate p.jsonl --output {} --overwrite", "evaluation"),
        ("demo --output {} --overwrite", "demo"),
        ("report run --output {} --overwrite", "report.html"),
        ("annotate studies --annotators rate --store {}", "store"),
    ],
)
def test_every_writer_asks_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, output: str
) -> None:
    path = tmp_path / output
    model = write_model_config(tmp_path / "given")
    words = words.replace("generate model", f"generate {model}")
    with other_owner(path), pytest.raises(SystemExit) as stop:
        main([word.format(path) for word in words.split()])
    assert stop.value.code == 2
    assert f"{path}: process" in capsys.readouterr().err
    assert not path.exists()


def test_a_command_that_ended_lets_go(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit):
            main(["evaluate", str(tmp_path / "absent.jsonl"), "--output", str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("proof", ["provenance.json", "demo.json"])
@pytest.mark.parametrize("inner", ["evaluation/x/predictions.jsonl", "notes/own.csv"])
def test_a_folder_is_not_cleared_under_a_writer_in_it(
    tmp_path: Path, proof: str, inner: str
) -> None:
    """`generate` writes into `evaluation/` of a run, whose `train` has ended."""
    run = tmp_path / "run"
    run.mkdir()
    (run / proof).write_text("{}")
    own(run)
    with other_owner(run / inner) as process:
        with pytest.raises(ConfigError) as refused:
            clear_away(run, (proof, "evaluation"))
        assert str(refused.value).startswith(
            f"{(run / inner).parent}: process {process.pid} on {socket.gethostname()} writes there"
        )
        assert "\n" not in str(refused.value)
        assert (run / proof).is_file()
    own(run / "evaluation/mine.jsonl")  # this process's own, and what a killed one left, are none
    clear_away(run, (proof, "evaluation"))
    assert not (run / proof).exists()


@pytest.mark.slow
def test_links_that_lead_back_to_themselves_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop, other = tmp_path / "loop", tmp_path / "other"
    loop.symlink_to(other)
    other.symlink_to(loop)
    predictions = tmp_path / "predictions.csv"
    predictions.write_text("study_id,prediction,reference\na,No effusion.,No effusion.\n")
    for words in (
        ["score", str(predictions), "--output", str(loop)],
        ["score", str(predictions), "--output", str(loop / "scores.csv")],
        ["score", str(loop), "--output", str(tmp_path / "scores.csv")],
        ["evaluate", str(loop)],
        ["evaluate", str(predictions), "--output", str(loop)],
        ["report", str(loop), "--output", str(tmp_path / "report.html")],
        ["report", str(tmp_path), "--output", str(loop)],
        ["prepare", "phantom", "--output", str(loop), "--studies", "2"],
        ["train", str(loop)],
        ["data", "check", str(loop)],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr().err.strip()
        assert ended.value.code == 2, (words, said)
        assert len(said.splitlines()) == 1, (words, said)
        assert "loop" in said


def test_no_path_is_resolved_in_the_way_that_raises_at_a_loop() -> None:
    source = Path(__file__).parents[1] / "src" / "editgrpo"
    assert [p.name for p in source.rglob("*.py") if ".resolve()" in p.read_text("utf-8")] == []
