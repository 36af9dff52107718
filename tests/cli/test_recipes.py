"""`editgrpo recipes`, and recipes by name, as a user meets them."""

from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.config import TrainConfig
from editgrpo.recipes import load_recipe
from editgrpo.recipes.published_files import KINDS, published_files


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Run a command and return what it printed; on the error stream if it fails."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    captured = capsys.readouterr()
    assert stop.value.code == code, captured.err
    return captured.err if code else captured.out


def test_the_list_has_one_line_for_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "recipes", "list").splitlines()
    assert [line.split(maxsplit=2)[:2] for line in lines] == [
        [one.name, one.reader.value] for one in published_files()
    ]
    (dr_grpo,) = (line for line in lines if line.startswith("dr-grpo "))
    assert dr_grpo.endswith("nothing is edited, all ten responses of a group are sampled.")


@pytest.mark.slow
@pytest.mark.parametrize("file", published_files(), ids=lambda file: file.name)
def test_shown_is_what_the_command_would_take(
    capsys: pytest.CaptureFixture[str], file: object
) -> None:
    name, reader, path = file.name, file.reader, file.path  # type: ignore[attr-defined]
    shown = run(capsys, "recipes", "show", name)
    if reader in KINDS:
        assert shown == run(capsys, reader.value, name, "--dry-run")
        assert "extends" not in shown
        Path("shown.yaml").write_text(shown)
        assert load_recipe(Path("shown.yaml"), KINDS[reader]) == load_recipe(path, KINDS[reader])
    else:
        assert shown == path.read_text()


def test_a_copy_is_named_and_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    written = run(capsys, "recipes", "copy", "dr-grpo", "mine").splitlines()
    assert written == ["mine/dr-grpo.yaml", "mine/editgrpo-mimic-cxr.yaml"]
    assert run(capsys, "train", "mine/dr-grpo.yaml", "--dry-run") == run(
        capsys, "recipes", "show", "dr-grpo"
    )
    assert run(capsys, "recipes", "copy", "fsdp2") == "fsdp2.yaml\n"
    again = run(capsys, "recipes", "copy", "fsdp2", code=2)
    assert again == "error: fsdp2.yaml: already there; name another folder, or move it away\n"


def test_a_folder_that_is_a_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").write_text("")
    error = run(capsys, "recipes", "copy", "grpo", "mine", code=2)
    assert error.startswith("error: mine")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [("recipes", "show"), ("recipes", "copy"), ("train",), ("train", "--dry-run")],
    ids=" ".join,
)
def test_a_mistyped_name_is_told_the_nearest(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    error = run(capsys, *words, "dr-grop", code=2)
    assert error.endswith("; did you mean 'dr-grpo'?\n")
    assert error.count("\n") == 1


def test_overrides_win_over_a_recipe_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, "train", "editgrpo-norm", "--dry-run", "--set", "steps=3", "--seed", "8")
    Path("shown.yaml").write_text(shown)
    config = load_recipe(Path("shown.yaml"), TrainConfig)
    assert (config.steps, config.seed, config.objective.scale.value) == (3, 8, "group")
    error = run(capsys, "train", "editgrpo-norm", "--set", "steps=0", code=2)
    assert error.startswith("error: editgrpo-norm with --set steps=0: steps")
