"""The card of a prepared set: what it states, and that `datasets` opens the folder by it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from editgrpo.data.prepared.card import DATASETS, Sharing, card_text
from editgrpo.data.prepared.flow import FlowKind
from editgrpo.data.prepared.store import read_prepared
from editgrpo.data.redact import Redactor
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.errors import ConfigError
from tests.data.small_sets import draw_images, small_studies, write_small_set


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`datasets.load_dataset`, offline, with a cache that vanishes."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()

    def load_dataset(folder: Path, *names: str, **options: Any) -> Any:
        return datasets.load_dataset(
            str(folder), *names, cache_dir=str(tmp_path / "cache"), **options
        )

    yield load_dataset
    if shown:
        datasets.enable_progress_bars()


def prepared(**counts: dict[str, int]) -> dict[str, Any]:
    """Return a prepared.json with rows of a flow, each by its name with `_` for spaces."""
    return {
        "split_rule": "by hand",
        "budget": {"min_pixels": 784, "max_pixels": 1568, "multiple_of": 28},
        "redaction": "",
        "flow": [
            {
                "name": name.replace("_", " "),
                "kind": FlowKind.KEPT.value if "kept" in name else FlowKind.LEFT_OUT.value,
                **{key: row.get(key, 0) for key in (*Split, "unassigned")},
                "all": sum(row.values()),
            }
            for name, row in counts.items()
        ],
    }


def header(text: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return content


def test_a_prepared_set_is_opened_by_split_and_its_images_are_pictures(
    tmp_path: Path, load: Any
) -> None:
    folder = write_small_set(tmp_path)
    studies = load(folder)
    assert {split: len(part) for split, part in studies.items()} == {
        "train": 4,
        "validation": 2,
        "test": 1,
    }
    assert studies["train"][1]["findings"] == "Clear lungs in 2."
    assert studies["train"][1]["images"][2] == {
        "image_id": "s1-front",
        "view": "PA",
        "timepoint": "prior",
    }
    images = load(folder, "images", split="all")
    assert len(images) == 14
    # The ids in the order in which the studies show them; the sixth original is 20 x 40 pixels.
    assert images[0]["image_id"] == "s1-front"
    assert (images[0]["image"].size, images[0]["image"].mode) == ((28, 28), "L")


def test_a_prepared_set_is_opened_as_a_stream(tmp_path: Path, load: Any) -> None:
    folder = write_small_set(tmp_path)
    (study,) = load(folder, split="test", streaming=True)
    assert study["study_id"] == "s7"
    images = list(load(folder, "images", split="all", streaming=True))
    assert len(images) == 14
    assert images[0]["image"].size == (28, 28)


@pytest.mark.slow
def test_shards_that_list_different_problems_are_opened_together(tmp_path: Path, load: Any) -> None:
    # 256 images fill a shard; the one that cannot be read is listed in the second shard alone.
    studies = [
        Study(
            study_id=f"{number:03}",
            patient_id=f"{number:03}",
            split=Split.TRAIN,
            images=(StudyImage(image_id=f"{number:03}", view=View.PA),),
            findings="Clear lungs.",
        )
        for number in range(260)
    ]
    originals = draw_images(tmp_path / "originals", [study.study_id for study in studies])
    Path(originals["258"]).write_bytes(b"")
    folder = write_small_set(tmp_path, studies=studies, originals=originals)
    assert len(load(folder, "images", split="all")) == 259
    assert len(load(folder)["train"]) == 259


def test_only_splits_that_have_studies_and_images_that_there_are_are_announced() -> None:
    text = card_text("iu-xray", prepared(studies_kept={"train": 2, "test": 1}))
    (studies,) = header(text)["configs"]
    assert studies["config_name"] == "studies" and studies["default"] is True
    assert studies["data_files"] == [
        {"split": "train", "path": "studies/train.arrow"},
        {"split": "test", "path": "studies/test.arrow"},
    ]
    assert '"images"' not in text and "**Images.** None." in text


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_card_states_licence_terms_and_citation(dataset: str) -> None:
    card, text = DATASETS[dataset], card_text(dataset, prepared(studies_kept={"test": 1}))
    top = header(text)
    assert top["license"] == card.licence_id
    if card.licence_id == "other":
        # The hub takes names of small letters, digits, dots and dashes.
        assert re.fullmatch(r"[a-z0-9.-]+", top["license_name"])
        assert top["license_link"] == card.licence_link
    for part in (card.title, card.licence, card.source, *card.terms, *card.citations):
        assert part in text


def test_every_set_but_own_tables_and_phantoms_says_not_to_share_it() -> None:
    forbidden = {name for name, card in DATASETS.items() if card.sharing is Sharing.FORBIDDEN}
    assert forbidden == {"mimic-cxr", "rexgradient", "iu-xray", "padchest-gr", "chexpert-plus"}
    for name in DATASETS:
        text = card_text(name, prepared(studies_kept={"test": 1}))
        assert ("**Do not share this folder.**" in text) == (name in forbidden)


def test_the_flow_is_a_table_by_split() -> None:
    text = card_text(
        "folder",
        prepared(
            studies_kept={"train": 1_200, "test": 30},
            **{"no|findings": {"train": 4, "validation": 5}},
        ),
    )
    assert "| | train | validation | test | all |" in text
    assert "| studies kept | 1,200 | 0 | 30 | 1,230 |" in text
    assert "| left out: no\\|findings | 4 | 5 | 0 | 9 |" in text


def test_studies_without_a_split_have_a_column_where_there_are_any() -> None:
    text = card_text("folder", prepared(studies_kept={"test": 1}, no_report={"unassigned": 2}))
    assert "| | train | validation | test | unassigned | all |" in text
    assert "| left out: no report | 0 | 0 | 0 | 2 | 2 |" in text


def test_a_card_says_whether_identifiers_are_hidden_and_by_which_key(tmp_path: Path) -> None:
    redactor = Redactor(bytes(32))
    folder = write_small_set(tmp_path / "hidden", redactor=redactor)
    assert redactor.fingerprint in (folder / "README.md").read_text(encoding="utf-8")
    folder = write_small_set(tmp_path / "plain")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "**Identifiers.** As in the source." in text


def test_the_same_preparation_gives_the_same_card_wherever_it_lies(tmp_path: Path) -> None:
    texts = [
        (write_small_set(tmp_path / place) / "README.md").read_bytes() for place in ("one", "two")
    ]
    assert texts[0] == texts[1]
    assert str(tmp_path).encode() not in texts[0]


def test_a_written_card_is_that_of_its_own_account(tmp_path: Path) -> None:
    folder = write_small_set(tmp_path)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == card_text("iu-xray", read_prepared(folder))
    # Of the seven studies, three have a prior one: 2 + 4 + 4 + 2 images in training, and so on.
    assert "784 to 1,568 pixels" in text and "multiples of 28" in text
    images = sum(len(study.images) for study in small_studies())
    assert f"| images shown, prior ones included | 12 | 6 | 2 | {images} |" in text


def test_an_unknown_data_set_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mimic-cxr'"):
        card_text("mimic_cxr", prepared(studies_kept={"test": 1}))
