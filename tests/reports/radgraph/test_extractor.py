"""Graphs of reports: what is remembered, what is empty, what memory running out does."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.reports.radgraph.extractor import RadGraphExtractor, load_extractor
from editgrpo.reports.radgraph.graph import GraphEntity, GraphRelation, RadGraph, decode, encode
from editgrpo.reports.radgraph.loading import LoadedRadGraph, load_radgraph
from editgrpo.reports.radgraph.wordpieces import ReportPieces
from tests.checkpoints.corpus import SENTENCES

XL = ClinicalModel.RADGRAPH_XL
REPORTS = [" ".join(SENTENCES[start : start + 3]) for start in range(0, 12, 2)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the size of every batch that a model reads."""
    sizes: list[int] = []
    original = LoadedRadGraph.find

    def find(self: LoadedRadGraph, reports: Sequence[ReportPieces]) -> object:
        sizes.append(len(reports))
        return original(self, reports)

    monkeypatch.setattr(LoadedRadGraph, "find", find)
    return sizes


def test_entities_are_named_by_their_words_and_places(extractor: RadGraphExtractor) -> None:
    for text, graph in zip(REPORTS, extractor.extract(REPORTS), strict=True):
        assert graph.entities
        for entity in graph.entities:
            as_it_stands = text[entity.start : entity.end]
            assert as_it_stands.replace(" ", "") == entity.tokens.replace(" ", "")
            assert entity.last_word - entity.first_word == entity.tokens.count(" ")
            assert all(0 <= rel.target < len(graph.entities) for rel in entity.relations)


@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
def test_a_report_without_words_that_can_be_read_has_no_entities(
    extractor: RadGraphExtractor, text: str
) -> None:
    assert extractor.extract([REPORTS[0], text])[1] == RadGraph()


def test_each_distinct_report_is_read_once(extractor: RadGraphExtractor, read: list[int]) -> None:
    first = extractor.extract([*REPORTS, *REPORTS])
    assert sum(read) == len(REPORTS)
    assert extractor.extract(REPORTS[::-1]) == first[: len(REPORTS)][::-1]
    assert sum(read) == len(REPORTS)


@pytest.mark.parametrize("batch_tokens", [1, 60, 100_000])
def test_the_size_of_batches_changes_nothing(
    config: ClinicalConfig, models: Path, extractor: RadGraphExtractor, batch_tokens: int
) -> None:
    other = ClinicalConfig(
        models=str(models), offline=True, device="cpu", batch_tokens=batch_tokens
    )
    assert RadGraphExtractor(other, XL).extract(REPORTS) == extractor.extract(REPORTS)


def test_a_batch_that_does_not_fit_is_halved(
    extractor: RadGraphExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = extractor.extract(REPORTS)
    original = LoadedRadGraph.find

    def find(self: LoadedRadGraph, reports: Sequence[ReportPieces]) -> object:
        if len(reports) > 1:
            raise MemoryError
        return original(self, reports)

    monkeypatch.setattr(LoadedRadGraph, "find", find)
    assert RadGraphExtractor(extractor._config, XL).extract(REPORTS) == expected


def test_a_store_answers_for_the_model(
    models: Path, tmp_path: Path, extractor: RadGraphExtractor, read: list[int]
) -> None:
    def stored(model: ClinicalModel, *, writes: bool) -> RadGraphExtractor:
        config = ClinicalConfig(
            models=str(models),
            offline=True,
            device="cpu",
            store=str(tmp_path / "store"),
            store_writes=writes,
        )
        return RadGraphExtractor(config, model)

    written = stored(XL, writes=True).extract(REPORTS)
    read.clear()
    assert stored(XL, writes=False).extract(REPORTS) == written == extractor.extract(REPORTS)
    assert sum(read) == len(REPORTS)  # by `extractor`, which has no store
    stored(ClinicalModel.RADGRAPH, writes=False).extract(REPORTS)  # another model, other facts
    assert sum(read) == 2 * len(REPORTS)


def test_equal_configurations_share_an_extractor(config: ClinicalConfig, models: Path) -> None:
    same = ClinicalConfig(models=str(models), offline=True, device="cpu")
    assert load_extractor(config, XL) is load_extractor(same, XL)
    assert load_extractor(config, XL) is not load_extractor(config, ClinicalModel.RADGRAPH)


def test_weights_are_asked_for_when_a_report_is_read(tmp_path: Path) -> None:
    extractor = RadGraphExtractor(ClinicalConfig(models=str(tmp_path), offline=True), XL)
    with pytest.raises(ModelError, match="editgrpo models fetch radgraph-xl"):
        extractor.extract(["No effusion."])


def test_a_graph_survives_the_store() -> None:
    graph = RadGraph(
        (
            GraphEntity("größe", "OBS-DP", 0, 0, 0, 5, (GraphRelation("modify", 1),)),
            GraphEntity("of heart", "ANAT-DP", 2, 3, 9, 17),
        )
    )
    assert decode(encode(graph)) == graph
    assert decode(encode(RadGraph())) == RadGraph()


def test_loading_leaves_the_run_s_randomness_alone(config: ClinicalConfig) -> None:
    before = torch.random.get_rng_state()
    load_radgraph(config, ClinicalModel.RADGRAPH_XL)
    assert torch.equal(torch.random.get_rng_state(), before)
