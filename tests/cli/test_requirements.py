"""Every command asks for the extras that it needs before it does anything."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from editgrpo import extras
from editgrpo.cli import main
from editgrpo.extras import Extra, modules_of
from tests.cli.test_main import COMMANDS

DATA, REPORT, CLINICAL, TRAIN = Extra.DATA, Extra.REPORT, Extra.CLINICAL, Extra.TRAIN

# Each command as somebody gives it, and what it needs then.
NEEDS: dict[str, tuple[Extra, ...]] = {
    "prepare mimic-cxr --root . --out a": (DATA,),
    "prepare rexgradient --root . --out a": (DATA,),
    "prepare chexpert-plus --root . --out a": (DATA,),
    "prepare hf . --out a": (Extra.HUB,),
    "prepare iu-xray --root . --out a": (DATA,),
    "prepare padchest-gr --root . --out a": (DATA,),
    "prepare folder a.csv --out a --column study_id=a --column image=b": (DATA,),
    "prepare phantom --out a": (DATA,),
    "data stats studies --json a.json": (DATA,),
    "data stats studies --labeler none --html a.html": (DATA, REPORT),
    "data stats studies --labeler chexbert": (DATA, CLINICAL),
    "data show studies 1": (DATA,),
    "data check studies --json a.json": (DATA,),
    "models fetch chexbert --models a": (CLINICAL,),
    "models tiny a": (TRAIN,),
    "models fetch --base sft-mimic-cxr": (TRAIN,),
    "annotate studies": (DATA, CLINICAL),
    "sft sft-mimic-cxr": (TRAIN, CLINICAL),
    "sft sft-mimic-cxr --set reward.name=rules": (TRAIN,),
    "train editgrpo-mimic-cxr": (TRAIN, CLINICAL),
    "train editgrpo-rules": (TRAIN,),
    "train editgrpo-rules --set edit.annotator=rate": (TRAIN, CLINICAL),
    "train editgrpo-rules --set 'reward.weights={chexbert/report-micro-f1-14: 1}'": (
        TRAIN,
        CLINICAL,
    ),
    "train editgrpo-rules --set 'reward.weights={green@radllama2-7b-guarded: 1}' "
    "--set clinical.green_endpoint=http://a/v1": (TRAIN,),
    "train editgrpo-rules --set optim.state=8bit": (TRAIN, Extra.EIGHT_BIT),
    "train editgrpo-rules --set model.lora.quantization=nf4": (TRAIN, Extra.EIGHT_BIT),
    "train editgrpo-rules --set report_to=[tensorboard]": (TRAIN, Extra.TRACKERS),
    "train editgrpo-rules --set rollout.engine=vllm_colocate": (TRAIN, Extra.VLLM),
    "generate organisation/model --output a.jsonl": (TRAIN,),
    "pairs organisation/model --output a.parquet": (TRAIN,),
    "pairs organisation/model --output a.parquet --set edit.annotator=rate": (TRAIN, CLINICAL),
    "evaluate a.jsonl --metrics chexbert --output a": (CLINICAL,),
    "score a.jsonl --metrics rules,paper --output a": (CLINICAL,),
    "edit --rollout a --reference b --annotator radgraph": (CLINICAL,),
    "demo": (Extra.DEMO,),
    "demo --train-base": (Extra.DEMO,),
    "report runs/a --output a.html": (REPORT,),
    "card runs/a": (TRAIN,),
    "export runs/a out": (TRAIN,),
    "push runs/a organisation/model": (TRAIN,),
    "try runs/a": (Extra.PAGE,),
}
FREE = {
    "rexrank table",
    "rexrank submit",
    "models list",
    "models verify",
    "recipes list",
    "recipes show",
    "recipes copy",
    "recipes schema",
}
GROUPS = {"prepare", "data", "models", "recipes", "rexrank"}


def outcome(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stop:
        main(words)
    return stop.value.code, capsys.readouterr().err


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder, with nothing but the core."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extras, "_is_absent", lambda module: True)


def test_every_command_is_in_the_table() -> None:
    commands = {" ".join(command) for command in COMMANDS} - GROUPS
    listed = {one for one in commands for words in NEEDS if f"{words} ".startswith(f"{one} ")}
    assert listed == commands - FREE


@pytest.mark.parametrize("words", NEEDS)
def test_a_command_names_the_extras_that_it_needs_and_writes_nothing(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = outcome(shlex.split(words), capsys)
    assert code == 2
    assert shown.endswith(f"; pip install 'editgrpo[{','.join(NEEDS[words])}]'\n")
    assert len(shown.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# With what they need these would begin.
BEGINS = (
    "demo",
    "models fetch",
    "models tiny",
    "prepare phantom",
    "sft",
    "train",
    "generate",
    "annotate",
    "pairs",
)


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in NEEDS if not words.startswith(BEGINS)])
def test_a_command_needs_no_more(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = frozenset[str]().union(*map(modules_of, NEEDS[words]))
    monkeypatch.setattr(extras, "_is_absent", lambda module: module not in there)
    _, shown = outcome(shlex.split(words), capsys)
    assert "pip install" not in shown


def test_a_tracker_that_is_not_installed_is_said_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "_is_absent", lambda module: module == "wandb")
    words = shlex.split("train editgrpo-rules --set report_to=[wandb]")
    said = "error: report_to: wandb is not installed; pip install wandb\n"
    assert outcome(words, capsys) == (2, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("train editgrpo-rules --set reward.name=nothing", "reward 'nothing' is unknown"),
        ("score a.jsonl --metrics nothing --output a", "metric 'nothing' is unknown"),
        ("edit --rollout a --reference b --annotator nothing", "annotator 'nothing' is unknown"),
        ("score a.jsonl --output a", "a.jsonl: No such file"),
        (
            "score a.jsonl --metrics green@radllama2-7b --green-endpoint http://a/v1 --output a",
            "a.jsonl: No such file",
        ),
    ],
)
def test_a_wrong_name_is_said_and_what_needs_no_extra_asks_for_none(
    words: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = outcome(shlex.split(words), capsys)
    assert code == 2
    assert shown in said
    assert "pip install" not in said


def test_accelerates_launcher_is_asked_for_deepspeed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    _, shown = outcome(["train", "editgrpo-rules"], capsys)
    assert shown.endswith("; pip install 'editgrpo[train,deepspeed]'\n")
