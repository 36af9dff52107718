"""The command line as a whole: quick to start, one line for what the user can put right."""

import errno
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import editgrpo
from editgrpo.cli import _how_to_go_on, app, main
from editgrpo.errors import DataError, RunStoppedError

# Whatever takes long to import; none of it may be loaded to show a help text.
SLOW = {"torch", "transformers", "trl", "spacy", "medspacy", "pandas", "numpy", "sklearn", "plotly"}

HELP_BUDGET_S = 0.5
# An application of Typer that does nothing, and what its help takes of an idle core.
EMPTY = """
import typer

app = typer.Typer()
app.command()(lambda: None)
app(["--help"])
"""
EMPTY_S = 0.2


def commands(group: typer.Typer, *above: str) -> Iterator[tuple[str, ...]]:
    """List every command as the words that lead to it."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*above, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        assert inner.name is not None
        yield (*above, inner.name)
        yield from commands(inner.typer_instance, *above, inner.name)


COMMANDS = list(commands(app))


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_helps_with_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Example" in shown
    assert f"editgrpo {' '.join(words)} " in shown.partition("Example")[2]


@pytest.mark.slow
def test_no_help_text_loads_a_slow_library() -> None:
    code = f"""
import sys
from editgrpo.cli import main
for words in {[[], *map(list, COMMANDS)]!r}:
    try:
        main([*words, "--help"])
    except SystemExit as stop:
        assert stop.code == 0, words
print({sorted(SLOW)!r} and sorted(set({sorted(SLOW)!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("train",)], ids=["editgrpo", "train"])
def test_help_starts_within_half_a_second(words: tuple[str, ...]) -> None:
    def seconds_of_children() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def seconds_of(*arguments: str) -> float:
        started = seconds_of_children()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        return seconds_of_children() - started

    # Processor time, which unlike the clock does not count other processes of a busy machine; the
    # best of several, since those still slow a core down. How much is seen at an empty application.
    pairs = [
        (seconds_of("-c", EMPTY), seconds_of("-m", "editgrpo", *words, "--help")) for _ in range(5)
    ]
    empty, taken = (min(column) for column in zip(*pairs, strict=True))
    assert taken < HELP_BUDGET_S * max(1.0, empty / EMPTY_S)


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"editgrpo {editgrpo.__version__}\n"


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "error: No such command 'trian'. Did you mean 'train'?; see editgrpo --help"),
        (["prepare"], "error: Missing command; see editgrpo prepare --help"),
        (["train"], "error: Missing argument 'RECIPE'; see editgrpo train --help"),
        (["train", "no.yaml"], "error: no.yaml: No such file or directory; give a recipe file"),
        (["train", "-x"], "error: No such option: -x; see editgrpo train --help"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == message + "\n"
    assert captured.out == ""


def test_debug_lets_the_error_through_from_any_position() -> None:
    for words in (["--debug", "train", "no.yaml"], ["train", "no.yaml", "--debug"]):
        with pytest.raises(editgrpo.errors.ConfigError):
            main(words)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Make `editgrpo train` raise what the test puts into the list."""
    raised: list[BaseException] = []

    def fail(*_: object) -> None:
        raise raised[0]

    monkeypatch.setattr("editgrpo.cli.runs.load_recipe", fail)
    yield raised


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a.csv, line 3:\n no id"), 2, "error: a.csv, line 3: no id\n"),
        (FileNotFoundError(2, "No such file", "a.csv"), 2, "error: a.csv: No such file\n"),
        (PermissionError(13, "Permission denied", "a"), 2, "error: a: Permission denied\n"),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "a"),
            2,
            "error: a: File name too long\n",
        ),
        (KeyboardInterrupt(), 130, "error: interrupted; continue with --resume\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            2,
            "error: a/b: No space left on device; free space and continue with --resume\n",
        ),
        (
            Exception("I/O error: File too large (os error 27)"),  # what safetensors raises
            2,
            "error: the output: File too large; raise the limit on file sizes (ulimit -f) and "
            "continue with --resume\n",
        ),
        (RunStoppedError("a: stopped", 15), 143, "error: a: stopped; continue with --resume\n"),
    ],
    ids=[
        "ours",
        "absent file",
        "closed file",
        "long name",
        "interrupt",
        "full disk",
        "library",
        "signal",
    ],
)
def test_errors_and_their_exit_codes(
    failing: list[BaseException],
    error: BaseException,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing.append(error)
    with pytest.raises(SystemExit) as stop:
        main(["train", "x.yaml"])
    assert stop.value.code == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), OSError("of no file")])
def test_a_bug_keeps_its_traceback(failing: list[BaseException], bug: Exception) -> None:
    failing.append(bug)
    with pytest.raises(type(bug)):
        main(["train", "x.yaml"])


def test_the_end_of_a_file_is_no_interrupt(failing: list[BaseException]) -> None:
    """Typer takes every EOFError, one of a damaged file too, for the keyboard's."""
    failing.append(EOFError("Ran out of input"))
    with pytest.raises(EOFError):
        main(["train", "x.yaml"])


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("train x.yaml", "continue with --resume"),
        ("sft x.yaml --overwrite", "continue with --resume in place of --overwrite"),
        ("prepare folder x.csv", "continue with --resume"),
        ("prepare phantom --output x", "give the same command again"),
        ("generate x", "give the same command again"),
        ("demo", "give the same command again"),
        ("data stats x", "give the same command again"),
    ],
)
def test_the_way_to_go_on_is_one_that_the_command_has(words: str, advice: str) -> None:
    assert _how_to_go_on(words.split()) == advice


SLEEPING = """
import signal, sys, time

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

from editgrpo.cli import main
import editgrpo.display.html, editgrpo.recipes, editgrpo.phantom

def sleep(*_, **__):
    print("asleep", flush=True)
    time.sleep(60)

editgrpo.display.html.write_report = sleep
editgrpo.cli.runs.load_recipe = sleep
editgrpo.phantom.write_phantom = sleep
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "what", "code"),
    [(signal.SIGTERM, "stopped by SIGTERM", 143), (signal.SIGINT, "interrupted", 130)],
)
@pytest.mark.parametrize(
    "words", ["train x.yaml", "sft x.yaml", "prepare phantom --output x", "report y --output z"]
)
def test_a_signal_is_one_line_before_the_first_step_and_in_every_other_command(
    tmp_path: Path, words: str, number: int, what: str, code: int
) -> None:
    command = [sys.executable, "-c", SLEEPING, *words.split()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(number)
        shown = process.stderr.read()
    assert process.returncode == code
    (line,) = [line for line in shown.splitlines() if "error: " in line]
    assert f"error: {what}; " in line and "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def test_the_handler_of_whoever_calls_is_left_alone(failing: list[BaseException]) -> None:
    failing.append(DataError("a"))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit):
            main(["train", "x.yaml"])
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_full_recipe_runs_dry(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "train",
        "dr-grpo",
        "--dry-run",
        "--set",
        "steps=7",
        "--seed",
        "3",
        "--output",
        "it's 1",
    ]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for line in ("  level: none\n", "steps: 7\n", "seed: 3\n", "output: it's 1\n"):
        assert line in shown


def test_a_dry_run_can_be_saved_and_run_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def dry_run(recipe: Path | str) -> str:
        with pytest.raises(SystemExit):
            main(["sft", str(recipe), "--dry-run"])
        return capsys.readouterr().out

    shown = dry_run("sft-mimic-cxr")
    (tmp_path / "saved.yaml").write_text(shown, encoding="utf-8")
    assert dry_run(tmp_path / "saved.yaml") == shown


EDIT = ["edit", "--rollout", "There is a small pneumothorax.", "--reference", "No pneumothorax."]


def test_an_edit_is_shown_as_text_and_as_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rollout.txt").write_text("There is a small pneumothorax.\n", encoding="utf-8")
    words = ["edit", "--rollout", f"@{tmp_path}/rollout.txt", *EDIT[3:], "--json"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rule"], shown["report"]) == ("mislabelled", "No pneumothorax.")
    with pytest.raises(SystemExit):
        main(EDIT)
    assert "- There is a small pneumothorax.\n+ No pneumothorax.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "2"], "edit.threshold is 2.0; it must be between 0 and 1"),
        (["--annotator", "nobody"], "nobody"),
        (["--rollout", "@absent.txt"], "absent.txt: No such file or directory"),
    ],
)
def test_a_wrong_edit_option_is_named(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*EDIT, *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
