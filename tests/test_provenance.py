"""A run folder says what made it."""

import json
import platform
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

import editgrpo
from editgrpo.config import (
    ClinicalConfig,
    EditConfig,
    EditLevel,
    LoraConfig,
    ModelConfig,
    RewardConfig,
    TrainConfig,
)
from editgrpo.errors import TrainingError
from editgrpo.provenance import (
    check_same_config,
    command_line,
    git_state,
    name_of_run,
    package_versions,
    write_provenance,
)
from editgrpo.recipes import load_recipe


def test_a_run_folder_says_what_made_it(tmp_path: Path) -> None:
    config = TrainConfig(edit=EditConfig(level=EditLevel.NONE), seed=5)
    command = "editgrpo train 'my recipe.yaml'"
    launch = {"processes": 2, "sharding": "FSDP shards"}
    write_provenance(tmp_path / "run", config=config, seed=5, command=command, launch=launch)
    assert load_recipe(tmp_path / "run" / "config.yaml", TrainConfig) == config
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    keys = ["editgrpo", "git", "versions", "seed", "command", "launch", "started"]
    assert list(provenance) == keys
    assert provenance["editgrpo"] == editgrpo.__version__
    assert (provenance["seed"], provenance["command"]) == (5, command)
    assert provenance["launch"] == launch
    assert provenance["versions"]["torch"] == version("torch")
    assert provenance["versions"]["python"] == platform.python_version()
    age = datetime.now(UTC) - datetime.fromisoformat(provenance["started"])
    assert 0 <= age.total_seconds() < 60
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.yaml",
        "provenance.json",
    ]


@pytest.mark.slow
def test_versions_are_read_without_importing_the_packages() -> None:
    code = (
        "import sys; from editgrpo.provenance import package_versions; package_versions(); "
        "print(sorted({'torch', 'numpy', 'spacy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_absent_package_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editgrpo.provenance.PACKAGES", ("torch", "no-such-package"))
    versions = package_versions()
    assert versions["no-such-package"] is None
    assert versions["torch"] is not None


def test_git_state_sees_commit_and_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert git_state(tmp_path) is None
    git("init", "--quiet")
    assert git_state(tmp_path) is None, "a repository without a commit has no state to name"
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / ".gitignore").write_text("runs/")
    git("add", ".")
    git("commit", "--quiet", "--message", "First")
    commit = git("rev-parse", "HEAD").strip()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ignored").write_text("")
    clean = git_state(tmp_path)
    assert clean is not None
    assert (clean.commit, clean.dirty) == (commit, False)
    # A command that writes beside a file of the checkout holds a lock and keeps scores there.
    (tmp_path / ".demo.lock").write_text("process 1 on host")
    (tmp_path / "docs" / ".scores.csv.scoring").mkdir(parents=True)
    (tmp_path / "docs" / ".scores.csv.scoring" / "1.jsonl").write_text("{}")
    assert git_state(tmp_path) == clean
    (tmp_path / "results" / "of").mkdir(parents=True)
    (tmp_path / "results" / "of" / "one.json").write_text("{}")
    with_results = git_state(tmp_path, apart="results")
    assert with_results is not None and not with_results.dirty
    assert getattr(git_state(tmp_path), "dirty", None) is True
    (tmp_path / "a.txt").write_text("two")
    assert getattr(git_state(tmp_path, apart="results"), "dirty", None) is True
    changed = git_state(tmp_path)
    assert changed is not None
    assert (changed.commit, changed.dirty) == (commit, True)


def test_no_git_means_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_the_command_line_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/editgrpo", "train", "my recipe.yaml"])
    assert command_line() == "editgrpo train 'my recipe.yaml'"


def test_a_run_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    config = TrainConfig(seed=3)
    check_same_config(tmp_path, config)
    write_provenance(tmp_path, config=config, seed=3, command="", launch={})
    check_same_config(tmp_path, config)
    check_same_config(tmp_path, replace(config, output="moved", save_every=7))
    # A time limit that was too short may be raised, and models may move as the policy may.
    patient = replace(config, reward=RewardConfig(timeout_s=7200.0))
    check_same_config(tmp_path, replace(patient, clinical=ClinicalConfig(models="moved")))
    # A Hub id and its commit become a folder: what it holds is compared elsewhere.
    moved = ModelConfig(path="/models/qwen", revision=None)
    write_provenance(
        tmp_path / "hub",
        config=replace(config, model=ModelConfig(path="Qwen/x", revision="0" * 40)),
        seed=3,
        command="",
        launch={},
    )
    check_same_config(tmp_path / "hub", replace(config, model=moved))
    with pytest.raises(TrainingError, match=r"config.yaml: .* started with seed=3, not 4; resume"):
        check_same_config(tmp_path, replace(config, seed=4))
    with_adapters = replace(config, model=ModelConfig(lora=LoraConfig()))
    with pytest.raises(TrainingError, match=r"started with model.lora"):
        check_same_config(tmp_path, with_adapters)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ("run_name: mine\nseed: 1\n", "mine"),
        ("run_name: null\n", "run"),
        ("seed: 1\n", "run"),
        ("run_name: [1, 2\n", "run"),
        (None, "run"),
    ],
)
def test_a_run_has_its_own_name_or_that_of_its_folder(
    tmp_path: Path, settings: str | None, name: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    if settings is not None:
        (folder / "config.yaml").write_text(settings)
    assert name_of_run(folder) == name
