"""A name of the Hub without the Hub: one line at once, or what the cache holds."""

import shutil
import time
from pathlib import Path

import datasets
import httpx2
import pytest
from huggingface_hub import HfApi, errors

from editgrpo.data.huggingface.rows import load_rows
from editgrpo.errors import DataError
from tests.clinical.hub_server import point_to


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers, nobody has said so, and whoever waits to ask again fails."""
    point_to(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)

    def wait(seconds: float) -> None:
        raise AssertionError(f"waits {seconds} s to ask again")

    monkeypatch.setattr(time, "sleep", wait)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache with a data set `org/name`, as the library leaves it."""
    source, cache = tmp_path / "source", tmp_path / "cache"
    source.mkdir()
    datasets.Dataset.from_dict({"findings": ["Clear lungs.", ""]}).to_parquet(
        source / "train.parquet"
    )
    datasets.load_dataset(str(source), cache_dir=str(cache))
    (arrow,) = cache.rglob("source-train.arrow")
    place = cache / "org___name" / "default" / "0.0.0" / ("a" * 40)
    shutil.copytree(arrow.parent, place)
    (place / arrow.name).rename(place / "name-train.arrow")
    return cache


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_hub_is_asked_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_rows("org/name", None, None, tmp_path)
    assert str(caught.value) == (
        "org/name: is no folder, and as a name on the Hub: no connection to the Hub "
        "(ConnectError); prepare it where there is a network, or give a folder"
    )
    assert not datasets.config.HF_HUB_OFFLINE  # as it was


def test_with_the_hub_switched_off_it_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE switches the Hub off; unset it"):
        load_rows("org/name", None, None, tmp_path)


@pytest.mark.usefixtures("no_network")
def test_what_is_in_the_cache_is_read_without_a_network(cache: Path) -> None:
    rows = load_rows("org/name", None, None, cache)
    assert {name: len(data) for name, data in rows.splits.items()} == {"train": 2}
    assert rows.columns == ("findings",)


def test_a_set_whose_terms_are_not_accepted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub tells anyone that the set is there; the library is refused its files."""
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: None)

    def refuse(*_: object, **__: object) -> None:
        answer = httpx2.Response(403, request=httpx2.Request("GET", "https://huggingface.co/a"))
        cause = errors.GatedRepoError("gated", response=answer)
        raise datasets.exceptions.DatasetNotFoundError("is a gated dataset") from cause

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError) as caught:
        load_rows("org/name", config=None, revision=None, cache=None)
    message = str(caught.value)
    assert "accept terms first; do so at https://huggingface.co/datasets/org/name" in message
