"""Recipes that come with the package: found by name, extended by name, copied without loss."""

from pathlib import Path

import pytest
from typer.main import get_command

from editgrpo.cli import app
from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.recipes import load_recipe
from editgrpo.recipes.copies import copy_published
from editgrpo.recipes.published_files import (
    KINDS,
    Published,
    Reader,
    find_published,
    published_files,
)

ALL = published_files()
RECIPES = [one for one in ALL if one.reader in KINDS]
WIDEST = 100


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder without any file, as somebody who has installed the package does."""
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


# What is published ----------------------------------------------------------------------------


def test_names_are_unique_and_every_reader_has_files() -> None:
    assert len({one.name for one in ALL}) == len(ALL)
    assert {one.reader for one in ALL} == set(Reader)


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_the_first_line_says_what_a_file_is(file: Published) -> None:
    assert file.path.read_text(encoding="utf-8").startswith("# ")
    assert file.summary().endswith(".")
    assert len(file.summary()) <= WIDEST


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_name_is_as_good_as_the_path(recipe: Published) -> None:
    kind = KINDS[recipe.reader]
    assert load_recipe(Path(recipe.name), kind) == load_recipe(recipe.path, kind)


def test_no_name_of_a_recipe_is_that_of_a_command() -> None:
    # `editgrpo recipes show train` would be read as something else than was meant.
    assert not {one.name for one in ALL} & set(get_command(app).commands)  # type: ignore[attr-defined]


# Names and files ------------------------------------------------------------------------------


def test_a_file_wins_over_a_name_and_a_folder_does_not() -> None:
    Path("grpo").mkdir()
    assert load_recipe(Path("grpo"), TrainConfig).output == "runs/grpo"
    write("dr-grpo", "seed: 41\n")
    assert load_recipe(Path("dr-grpo"), TrainConfig).seed == 41


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("dr-grop", TrainConfig, ", and no recipe has that name; did you mean 'dr-grpo'?"),
        ("EditGRPO-MIMIC-CXR", TrainConfig, "; did you mean 'editgrpo-mimic-cxr'?"),
        ("editgrpo_lora", TrainConfig, "; did you mean 'editgrpo-lora'?"),
        ("sft-mimic", SFTConfig, "; did you mean 'sft-mimic-cxr'?"),
        ("recipes/dr-grpo.yaml", TrainConfig, "; did you mean 'dr-grpo', which comes with"),
        ("dr-grpo.yaml", TrainConfig, "; did you mean 'dr-grpo', which comes with"),
        ("../grpo.yml", TrainConfig, "; did you mean 'grpo', which comes with"),
        (
            "q",
            TrainConfig,
            "; choose one of sft-chexone, sft-medgemma, sft-mimic-cxr, sft-qwen3-vl, dr-grpo, ",
        ),
        ("mine.yaml", TrainConfig, "mine.yaml: No such file or directory; give a recipe file"),
        ("runs/x/config.yaml", TrainConfig, "No such file or directory; give a recipe file"),
    ],
)
def test_what_is_neither_file_nor_name_is_told_the_nearest(
    given: str, kind: type, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_recipe(Path(given), kind)
    assert str(raised.value).startswith(f"{given}: No such file or directory")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", ["", ".", "/", "a\0b", "\n", "~", "-", "x" * 5000])
def test_an_odd_name_is_one_line(given: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_recipe(Path(given), TrainConfig)
    with pytest.raises(ConfigError) as refused:
        find_published(given)
    assert "\0" not in f"{raised.value}{refused.value}"


@pytest.mark.parametrize(
    ("name", "kind", "command", "instead"),
    [
        ("dr-grpo", SFTConfig, "editgrpo train", "sft-chexone"),
        ("sft-mimic-cxr", TrainConfig, "editgrpo sft", "dr-grpo"),
        ("fsdp2", TrainConfig, "accelerate launch", "dr-grpo"),
        ("zero3", SFTConfig, "accelerate launch", "sft-chexone"),
    ],
)
def test_a_name_for_another_command_is_refused(
    name: str, kind: type, command: str, instead: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is for `{command}`; .* one of {instead}"):
        load_recipe(Path(name), kind)
    mine = write("mine/r.yaml", f"extends: {name}\n")
    with pytest.raises(ConfigError, match=rf"^mine/r\.yaml: extends: {name} is for `{command}`"):
        load_recipe(mine, kind)


# Extending by name ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_file_extends_any_published_recipe_by_its_name(recipe: Published) -> None:
    kind = KINDS[recipe.reader]
    mine = write("some/where/mine.yaml", f"extends: {recipe.name}\nseed: 77\n")
    assert load_recipe(mine, kind) == load_recipe(recipe.path, kind, ["seed=77"])


def test_what_extends_a_published_recipe_is_itself_extended_no_further() -> None:
    write("below.yaml", "extends: dr-grpo\n")
    with pytest.raises(ConfigError, match=r"below\.yaml itself extends another recipe"):
        load_recipe(write("above.yaml", "extends: below.yaml\n"), TrainConfig)


def test_a_file_beside_wins_over_the_name_that_is_extended() -> None:
    write("mine/dr-grpo", "seed: 5\n")
    config = load_recipe(write("mine/r.yaml", "extends: dr-grpo\n"), TrainConfig)
    assert (config.seed, config.output) == (5, TrainConfig().output)


def test_a_mistyped_name_to_extend_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"dr-grop: No such file.*did you mean 'dr-grpo'"):
        load_recipe(write("mine/r.yaml", "extends: dr-grop\n"), TrainConfig)


# Copies ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_a_copy_means_what_the_recipe_means(file: Published) -> None:
    written = copy_published(file, Path("new/mine"))
    assert written[0] == Path("new/mine") / file.path.name
    assert written[0].read_bytes() == file.path.read_bytes()
    assert sorted(Path("new/mine").iterdir()) == sorted(written)
    if file.reader in KINDS:
        kind = KINDS[file.reader]
        assert load_recipe(written[0], kind) == load_recipe(file.path, kind)


def test_a_copy_follows_the_copied_base() -> None:
    copied, base = copy_published(find_published("dr-grpo"), Path("mine"))
    base.write_text(base.read_text().replace("seed: 0", "seed: 9"))
    assert load_recipe(copied, TrainConfig).seed == 9


def test_a_copy_replaces_nothing() -> None:
    copied, base = copy_published(find_published("dr-grpo"), Path("mine"))
    with pytest.raises(ConfigError, match=r"^mine/dr-grpo\.yaml: already there"):
        copy_published(find_published("dr-grpo"), Path("mine"))
    # The base lies there as it was published: nothing is lost and nothing is written.
    assert copy_published(find_published("grpo"), Path("mine")) == (Path("mine/grpo.yaml"),)
    base.write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r"^mine/editgrpo-mimic-cxr\.yaml: already there"):
        copy_published(find_published("editgrpo-norm"), Path("mine"))
    assert base.read_text() == "seed: 1\n"
    assert not Path("mine/editgrpo-norm.yaml").exists()
    copied.unlink()
    copied.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="already there"):
        copy_published(find_published("dr-grpo"), Path("mine"))
    assert copied.is_symlink()
