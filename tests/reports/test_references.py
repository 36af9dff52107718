"""Reading references ahead of time: what is in the store is not read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.reports import load_annotator, load_labeler, references
from editgrpo.reports.chexbert_model import CheXbertLabeler
from editgrpo.reports.references import label_references, read_references, warn_of_silence
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.corpus import SENTENCES

SPANISH = [
    "Sin hallazgos patológicos significativos.",
    "Derrame pleural izquierdo. Silueta cardíaca aumentada de tamaño.",
    "Infiltrado en la base derecha.",
    "Pinzamiento del seno costofrénico izquierdo.",
]
TEXTS = [*SENTENCES[:5], SENTENCES[0]]


class StopError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_chexbert(folder / "chexbert")
    return folder


@pytest.fixture
def config(models: Path, tmp_path: Path) -> ClinicalConfig:
    return ClinicalConfig(
        models=str(models), device="cpu", store=str(tmp_path / "store"), store_writes=True
    )


@pytest.fixture
def read_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the texts that the model itself reads; batches are of two reports."""
    monkeypatch.setattr(references, "BATCH", 2)
    read: list[str] = []
    original = CheXbertLabeler._read

    def counted(self: CheXbertLabeler, texts: list[str]) -> object:
        read.extend(text for text in texts if text in TEXTS)  # not what only loads the model
        return original(self, texts)

    monkeypatch.setattr(CheXbertLabeler, "_read", counted)
    return read


def test_each_distinct_report_is_read_once_and_kept(
    config: ClinicalConfig, read_texts: list[str]
) -> None:
    done: list[tuple[int, int]] = []
    found = read_references(TEXTS, ["chexbert"], config, progress=lambda *now: done.append(now))
    assert (found.reports, found.distinct, found.added) == (6, 5, {"chexbert": 5})
    assert done == [(2, 5), (4, 5), (5, 5)]
    assert len(read_texts) == 5
    assert found.size_bytes > 0
    # Another batch bound makes another labeler without memory, as in another process.
    again = read_references(TEXTS, ["chexbert"], replace(config, batch_tokens=4096))
    assert again.added == {"chexbert": 0}
    assert len(read_texts) == 5


def test_a_stopped_run_goes_on_where_it_was(config: ClinicalConfig, read_texts: list[str]) -> None:
    def stop(done: int, _: int) -> None:
        if done == 4:
            raise StopError

    with pytest.raises(StopError):
        read_references(TEXTS, ["chexbert"], config, progress=stop)
    rest = read_references(TEXTS, ["chexbert"], replace(config, batch_tokens=4096))
    assert rest.added == {"chexbert": 1}
    assert len(read_texts) == 5


def test_labels_come_back_in_the_order_of_the_reports(
    config: ClinicalConfig, read_texts: list[str]
) -> None:
    labeler = load_labeler("chexbert", config)
    labels = label_references(labeler, TEXTS)
    np.testing.assert_array_equal(labels, labeler.label(TEXTS))
    np.testing.assert_array_equal(labels[0], labels[5])


def test_what_cannot_be_kept_is_refused(config: ClinicalConfig) -> None:
    with pytest.raises(ConfigError, match=r"name a folder, and clinical\.store_writes be true"):
        read_references(TEXTS, ["chexbert"], replace(config, store=None, store_writes=False))
    with pytest.raises(ConfigError, match="annotator 'radgrph' is unknown; did you mean 'radgra"):
        read_references(TEXTS, ["radgrph"], config)
    with pytest.raises(ConfigError, match="name some of rate, radgraph, chexbert"):
        read_references(TEXTS, [], config)


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        (SPANISH, "in 4 of 4 references looked at (100 %)"),
        ([*SPANISH, "No pleural effusion."], "in 4 of 5 references looked at (80 %)"),
        ([*SPANISH, " ", "..."], "in 4 of 4 references looked at (100 %)"),  # blank: not counted
        (SPANISH * 100, "in 64 of 64 references looked at (100 %)"),
        ([*SPANISH[:2], "Edema.", "No pleural effusion."], None),  # half is not most
        (list(SENTENCES), None),
        ([], None),
    ],
)
def test_an_annotator_that_finds_nothing_in_most_references_says_so(
    texts: list[str], share: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_silence(load_annotator("rules"), texts)
    if share is None:
        assert not caplog.messages
    else:
        (message,) = caplog.messages
        assert message.startswith(f"annotator rules finds nothing {share}: annotators and ")
        assert "English only" in message and "--language en" in message
        assert not any(text in message for text in SPANISH) and "\n" not in message


def test_reading_ahead_says_that_references_cannot_be_read(
    config: ClinicalConfig, caplog: pytest.LogCaptureFixture
) -> None:
    read_references(SPANISH, ["chexbert"], config)
    (message,) = caplog.messages
    assert "finds nothing in 4 of 4 references" in message
