"""A study on the page is the study of `editgrpo generate`: the same prompt, the same report."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from editgrpo.config import Target
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, ModelError
from editgrpo.files import read_jsonl, write_json
from editgrpo.page.films import Film
from editgrpo.page.models import LoadedModel, PageStudy, TriedModel, load_model, tried_model
from editgrpo.page.shelf import prepared_shelf
from editgrpo.training.generate import GenerationConfig, generate_predictions
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.prompts import PromptEncoder
from tests.builders import noise
from tests.training.tiny_run import MAX_TOKENS, Tiny


@pytest.fixture(scope="module")
def loaded(tried: TriedModel) -> LoadedModel:
    return load_model(tried, None)


@pytest.mark.slow
def test_the_likeliest_report_of_a_study_is_that_of_generate(
    tiny: Tiny, tried: TriedModel, loaded: LoadedModel, tmp_path: Path
) -> None:
    path = generate_predictions(
        model=str(tiny.checkpoint),
        data=replace(tried.data, validation_limit=4),
        split=Split.VALIDATION,
        output=tmp_path / "predictions.jsonl",
        config=GenerationConfig(max_completion_tokens=MAX_TOKENS),
    )
    shelf = prepared_shelf(tiny.studies)
    assert shelf.split is Split.VALIDATION  # the set has no test studies
    rows = [row for _, row in read_jsonl(path)]
    assert shelf.listed()[: len(rows)] == [row["study_id"] for row in rows]
    for row in rows:
        study, films = shelf.take(row["study_id"], max_images=2)
        *_, (draft,) = loaded.write(PageStudy(study=study, films=films))
        assert draft.text == row["prediction"]
        assert draft.is_truncated is row["truncated"]


@pytest.mark.slow
def test_files_make_the_prompt_and_the_pixels_of_a_prepared_study(
    tiny: Tiny, loaded: LoadedModel
) -> None:
    """The set's own films as if they had been dropped: the budget leaves their size as it is."""
    studies = StudySet.load(tiny.studies, split=Split.TRAIN)
    encoder = PromptEncoder(studies, load_processor(tiny.checkpoint), loaded.tried.data)
    for study in studies[:6]:
        films = tuple(
            Film(
                name="film.png",
                image=studies.images.load(image.image_id),
                view=image.view,
                timepoint=image.timepoint,
            )
            for image in study.images
        )
        ours, own = loaded._encoder(PageStudy(study=replace(study, images=()), films=films))
        found, expected = ours.encode(own), encoder.encode(study)
        assert torch.equal(found.input_ids_T, expected.input_ids_T)
        assert found.pixel_values is not None and expected.pixel_values is not None
        assert torch.equal(found.pixel_values, expected.pixel_values)


@pytest.mark.slow
def test_sizes_are_those_of_the_set_else_of_the_model(
    tiny: Tiny, tried: TriedModel, loaded: LoadedModel, tmp_path: Path
) -> None:
    # write_short_studies: tokens of 28 pixels, at most 2 x 2 of them
    assert loaded.budget == PixelBudget(min_pixels=28**2, max_pixels=56**2, multiple_of=28)
    elsewhere = replace(tried, data=tiny.data(folder=str(tmp_path / "moved away")))
    assert elsewhere.prepared is None
    folder = tmp_path / "model"
    shutil.copytree(tiny.checkpoint, folder)
    settings: dict[str, Any] = {"shortest_edge": 3136, "longest_edge": 12_845_056}
    said = load_processor(folder).image_processor.to_dict() | {"size": settings}
    write_json(folder / "preprocessor_config.json", said)
    # as published: no more than the paper's largest films
    expected = PixelBudget(min_pixels=3136, max_pixels=401_408, multiple_of=28)
    assert load_model(replace(elsewhere, path=str(folder)), None).budget == expected
    given = PixelBudget(min_pixels=784, max_pixels=784)
    assert load_model(elsewhere, given).budget == given


def test_sizes_that_the_model_cannot_read_are_refused(tried: TriedModel) -> None:
    with pytest.raises(ModelError, match=r"multiples of 28, not of 32; .* --multiple-of 28"):
        load_model(tried, PixelBudget(multiple_of=32))


def test_a_model_is_described_by_its_run(tiny: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "editgrpo"
    (run / "model").mkdir(parents=True)
    (run / "config.yaml").write_text(
        f"data: {{folder: {tiny.studies}, max_images: 3}}\nrollout: {{max_completion_tokens: 77}}\n"
    )
    tried = tried_model(str(run / "model"))
    assert (tried.name, tried.max_completion_tokens) == ("editgrpo", 77)
    assert (tried.data.max_images, tried.prepared) == (3, tiny.studies)
    changed = tried_model(
        str(run / "model"), overrides=["data.max_images=1"], max_completion_tokens=9
    )
    assert (changed.data.max_images, changed.max_completion_tokens) == (1, 9)
    (run / "config.yaml").write_text("run_name: chest-3b\n")
    assert tried_model(str(run / "model")).name == "chest-3b"
    bare = tried_model(str(tmp_path / "other"))
    assert (bare.name, bare.max_completion_tokens, bare.prepared) == ("other", 256, None)
    with pytest.raises(ConfigError, match="max_completion_tokens"):
        tried_model(str(run / "model"), max_completion_tokens=0)
    with pytest.raises(ConfigError, match="max_imges"):
        tried_model(str(run / "model"), overrides=["data.max_imges=1"])


def test_of_more_films_the_prompt_shows_as_many_as_in_training(loaded: LoadedModel) -> None:
    study = Study(study_id="page", patient_id="", split=Split.TEST, images=())
    shelf = prepared_shelf(Path(loaded.tried.data.folder))
    _, films = shelf.take(shelf.listed()[0], max_images=2)
    extra = [replace(films[0], name=f"{k}", image=noise(56, 56, seed=k)) for k in range(2)]
    encoder, own = loaded._encoder(PageStudy(study=study, films=(*extra, *films)))
    assert len(encoder.encode(own).image_ids) == 2


def test_a_model_that_writes_impressions_is_asked_for_them(tried: TriedModel) -> None:
    asked = replace(tried, data=replace(tried.data, target=Target.IMPRESSION))
    loaded = load_model(asked, None)
    study = Study(study_id="page", patient_id="", split=Split.TEST, images=())
    _, own = loaded._encoder(PageStudy(study=study, films=()))
    assert own.target is Target.IMPRESSION
