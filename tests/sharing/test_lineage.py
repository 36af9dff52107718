"""Where a model comes from is read from records, and compared with what the runs noted."""

import json
import shutil
from pathlib import Path

import pytest

from editgrpo.config import DataConfig, ModelConfig, Target, TrainConfig
from editgrpo.data.prompt import default_template
from editgrpo.errors import DataError, ModelError, TrainingError
from editgrpo.sharing.lineage import find_model, find_model_of_run, read_lineage
from tests.sharing.run_folders import BASE, rl_run, sft_run, write_run, write_studies


def chain(folder: Path) -> Path:
    """SFT on MIMIC-CXR, then EditGRPO on a set of one's own."""
    first = sft_run(folder, write_studies(folder / "mimic", "mimic-cxr"))
    return rl_run(folder, write_studies(folder / "own", train=5), str(first / "model-for-rl"))


def test_a_chain_of_runs_is_followed_to_the_hub(tmp_path: Path) -> None:
    lineage = read_lineage(chain(tmp_path))
    assert [stage.run.name for stage in lineage.stages] == ["sft", "rl"]
    assert (lineage.base, lineage.base_commit) == (BASE, "a" * 40)
    assert lineage.datasets == ("mimic-cxr", "folder")
    # Three training studies of which the limit leaves two, and all five.
    assert [stage.training_studies for stage in lineage.stages] == [2, 5]
    assert lineage.prompt_template == default_template(Target.FINDINGS)
    settings = lineage.prompt_settings()
    assert (settings.max_images, settings.max_completion_tokens) == (4, 99)
    assert (settings.budget.min_pixels, settings.budget.max_pixels) == (28 * 28, 56 * 56)


def test_each_model_of_a_run_can_be_named(tmp_path: Path) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "studies"))
    assert read_lineage(run).model == run / "model"
    assert read_lineage(run / "model-for-rl").model == run / "model-for-rl"
    assert read_lineage(run).prompt_settings().max_completion_tokens == 256


def test_an_export_is_a_model_and_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert find_model(tmp_path) == tmp_path
    with pytest.raises(TrainingError, match="is no run folder"):
        find_model_of_run(tmp_path)
    with pytest.raises(TrainingError, match="is no run folder"):
        find_model(tmp_path / "nothing")


def test_a_run_without_a_model_is_to_end_first(tmp_path: Path) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "studies"))
    shutil.rmtree(run / "model")
    with pytest.raises(TrainingError, match="has no model yet; let the run end, with --resume"):
        read_lineage(run)


def test_studies_that_were_moved_are_found_by_what_they_hold(tmp_path: Path) -> None:
    run = chain(tmp_path)
    (tmp_path / "mimic").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"mimic: .*/sft was trained on this set, and it is"):
        read_lineage(run)
    other = write_studies(tmp_path / "other", train=4)
    lineage = read_lineage(run, [other, tmp_path / "moved"])
    assert [stage.studies for stage in lineage.stages] == [tmp_path / "moved", tmp_path / "own"]


def test_other_studies_in_their_place_are_refused(tmp_path: Path) -> None:
    run = chain(tmp_path)
    shutil.rmtree(tmp_path / "mimic")
    shutil.rmtree(tmp_path / "mimic-originals")
    write_studies(tmp_path / "mimic", "phantom", train=4)
    with pytest.raises(DataError, match=r"mimic: is another set than .*/sft was trained on"):
        read_lineage(run)


def test_a_prompt_that_has_changed_is_refused(tmp_path: Path) -> None:
    studies, template = write_studies(tmp_path / "studies"), tmp_path / "prompt.jinja"
    template.write_text("Describe.")
    data = DataConfig(folder=str(studies), prompt_template=str(template))
    run = sft_run(tmp_path, studies, data=data)
    assert read_lineage(run).prompt_template == template
    template.write_text("Describe it.")
    with pytest.raises(
        TrainingError, match=r"the prompt has changed since .*; put back the one of"
    ):
        read_lineage(run)
    template.unlink()
    with pytest.raises(TrainingError, match="was trained with this prompt; put it back"):
        read_lineage(run)


def test_a_run_of_an_earlier_version_is_taken_at_its_word(tmp_path: Path) -> None:
    run = chain(tmp_path)
    (run / "inputs.json").unlink()
    assert len(read_lineage(run).stages) == 2


@pytest.mark.parametrize("kind", ["cache", "folder"])
def test_a_base_in_the_hubs_cache_has_its_name_and_another_folder_none(
    tmp_path: Path, kind: str
) -> None:
    start = tmp_path / (
        f"models--google--medgemma-4b-it/snapshots/{'b' * 40}" if kind == "cache" else "base"
    )
    start.mkdir(parents=True)
    studies = write_studies(tmp_path / "studies")
    run = sft_run(tmp_path, studies, model=ModelConfig(path=str(start)))
    found = read_lineage(run)
    known = ("google/medgemma-4b-it", "b" * 40) if kind == "cache" else (None, None)
    assert (found.base, found.base_commit) == known
    assert read_lineage(run, base_model="a/b").base == "a/b"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft/model-for-rl", "/gone/base", "./base", "some/where/base"])
def test_a_beginning_that_is_not_there_is_no_model_of_the_hub(tmp_path: Path, name: str) -> None:
    # Its card would lack the data of a first run, and `push` what their terms ask.
    run = rl_run(tmp_path, write_studies(tmp_path / "own", "phantom"), name)
    with pytest.raises(TrainingError, match=r"/rl began with this folder, and it is not there"):
        read_lineage(run)
    assert read_lineage(run, base_model="a/b").base == "a/b"


def test_an_unknown_data_set_counts_as_ones_own(tmp_path: Path) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "studies", "of a later version"))
    assert read_lineage(run).datasets == ("folder",)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    studies = write_studies(tmp_path / "studies")
    (tmp_path / "a" / "model").mkdir(parents=True)
    run = write_run_that_begins_with_itself(tmp_path / "a", studies)
    with pytest.raises(TrainingError, match="its model is its own beginning"):
        read_lineage(run)


def write_run_that_begins_with_itself(folder: Path, studies: Path) -> Path:
    (folder / "model").rmdir()
    config = TrainConfig(
        model=ModelConfig(path=str(folder / "model")),
        data=DataConfig(folder=str(studies)),
        output=str(folder),
    )
    return write_run(config)


def test_damaged_records_are_one_line(tmp_path: Path) -> None:
    run = chain(tmp_path)
    (run / "inputs.json").write_text(json.dumps([]))
    with pytest.raises(ModelError, match=r"inputs\.json: not a JSON object; put back") as caught:
        read_lineage(run)
    assert "\n" not in str(caught.value)
