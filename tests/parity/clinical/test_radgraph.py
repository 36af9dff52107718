"""Our RadGraph against the package `radgraph` and against the copy of it inside RadEval.

The same random archives are loaded by both; the packages load them strictly, so that their form is
that of the published ones.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.metrics.radgraph_f1 import RadGraphF1, RadGraphLevel
from editgrpo.reports.radgraph.extractor import RadGraphExtractor
from editgrpo.reports.radgraph.graph import RadGraph
from editgrpo.reports.radgraph.loading import load_radgraph
from editgrpo.reports.radgraph.tokens import split_words
from tests.checkpoints.radgraph import build_radgraph
from tests.parity.clinical.conftest import OracleRunner
from tests.parity.clinical.texts import AWKWARD, iu_findings, report_pairs

pytestmark = pytest.mark.parity

SCRIPT = Path("radgraph.py")
XL, OLD = ClinicalModel.RADGRAPH_XL, ClinicalModel.RADGRAPH
PACKAGES = ("radgraph", "radeval")
# Reports that stop the package: see test_a_report_of_white_space_stops_the_package.
UNREADABLE = frozenset(text for text in AWKWARD if text and not text.strip())
LONG = 700  # characters; longer reports are compared by their graphs, not in pairs as well
PUNCTUATED = (
    "(Stable). 'No change.' Heart: 90%, 80%. Lines/tubes -- intact/. (12.5%) e.g., T12-L1?!",
    'Impression: 1.) "Clear" lungs\\n2.) No effusion\\f\\u2122 \\"normal\\" size...',
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with both checkpoints, extracted, as the packages keep them."""
    folder = tmp_path_factory.mktemp("models")
    for model in (XL, OLD):
        build_radgraph(folder / model, model=model, texts=iu_findings(200), packed=False)
    return folder


@pytest.fixture(scope="module")
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


def readable_reports() -> list[str]:
    """Return real, awkward and long reports; the packages take seconds for a long one."""
    texts = [*iu_findings(24), *AWKWARD[:-2], *AWKWARD[-1:], *PUNCTUATED]
    return [text for text in texts if text and text not in UNREADABLE]


def readable_pairs() -> list[list[str]]:
    """Return pairs of short reports, among them real ones without their last sentence."""
    cut = [[text.rstrip(". ").rpartition(". ")[0] + ".", text] for text in iu_findings(40)[16:]]
    pairs = [*(list(pair) for pair in zip(*report_pairs(), strict=True)), *cut]
    short = [pair for pair in pairs if all(len(text) < LONG for text in pair)]
    return [pair for pair in short if UNREADABLE.isdisjoint(pair)]


def request(package: str, model: ClinicalModel, models: Path, **asked: Any) -> dict[str, Any]:
    return {"package": package, "model_type": model.value, "models": str(models), **asked}


def package_form(graph: RadGraph) -> dict[str, Any]:
    """Return a graph as the package writes it."""
    return {
        str(number): {
            "tokens": entity.tokens,
            "label": entity.label,
            "start_ix": entity.first_word,
            "end_ix": entity.last_word,
            "relations": [[rel.label, str(rel.target + 1)] for rel in entity.relations],
        }
        for number, entity in enumerate(graph.entities, start=1)
    }


@pytest.mark.parametrize("model", [XL, OLD])
@pytest.mark.parametrize("package", PACKAGES)
def test_graphs_and_scores_are_those_of_the_package(
    run_oracle: OracleRunner,
    config: ClinicalConfig,
    models: Path,
    package: str,
    model: ClinicalModel,
) -> None:
    reports = readable_reports()
    asked = request(package, model, models, reports=reports)
    theirs = run_oracle(SCRIPT, asked, package=package)["reports"]
    graphs = RadGraphExtractor(config, model).extract(reports)
    assert [package_form(graph) for graph in graphs] == [
        answer["annotation"]["entities"] for answer in theirs
    ]
    loaded = load_radgraph(config, model)
    words = [[word.encoded for word in split_words(text, model)] for text in reports]
    for entities, answer in zip(loaded.find(loaded.tokenizer.pieces(words)), theirs, strict=True):
        expected = [score for *_, score in answer["entity_scores"]]
        ours = torch.tensor([entity.score for entity in entities])
        torch.testing.assert_close(ours, torch.tensor(expected), rtol=1e-5, atol=1e-5)
        of_pair = {tuple(pair): score for *pair, score in answer["relation_scores"]}
        for entity in entities:
            for relation in entity.relations:
                other = entities[relation.target]
                ends = (entity.first_word, entity.last_word, other.first_word, other.last_word)
                # The sum of three scores of some tens, in float32.
                assert relation.score == pytest.approx(of_pair[ends], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("model", [XL, OLD])
def test_the_reports_have_all_kinds_of_entities_and_relations(
    config: ClinicalConfig, model: ClinicalModel
) -> None:
    # Else the comparison above would compare little.
    extractor = RadGraphExtractor(config, model)
    graphs = extractor.extract(readable_reports())
    entities = [entity for graph in graphs for entity in graph.entities]
    relations = [relation for entity in entities for relation in entity.relations]
    assert len({entity.label for entity in entities}) >= 4
    assert len({relation.label for relation in relations}) == 3
    assert len(relations) > 100
    # Some entities have no relation, some have several.
    assert {min(len(entity.relations), 2) for entity in entities} == {0, 1, 2}


@pytest.mark.parametrize("model", [XL, OLD])
@pytest.mark.parametrize("package", PACKAGES)
def test_words_are_those_of_the_package(
    run_oracle: OracleRunner, models: Path, package: str, model: ClinicalModel
) -> None:
    reports = [*iu_findings(5000), *AWKWARD, *PUNCTUATED]
    asked = request(package, model, models, words=reports)
    theirs = run_oracle(SCRIPT, asked, package=package)["words"]
    ours = [" ".join(word.text for word in split_words(text, model)) for text in reports]
    assert ours == theirs


@pytest.mark.parametrize("model", [XL, OLD])
@pytest.mark.parametrize("package", PACKAGES)
def test_f1_is_that_of_the_package(
    run_oracle: OracleRunner,
    config: ClinicalConfig,
    models: Path,
    package: str,
    model: ClinicalModel,
) -> None:
    pairs = readable_pairs()
    asked = request(package, model, models, pairs=pairs)
    theirs = run_oracle(SCRIPT, asked, package=package)["pairs"]
    levels = (RadGraphLevel.SIMPLE, RadGraphLevel.PARTIAL, RadGraphLevel.COMPLETE)
    for level, expected in zip(levels, theirs, strict=True):
        assert score(config, model, level, pairs) == pytest.approx(expected, abs=1e-9)
        assert len({*expected}) >= 8


@pytest.mark.parametrize("model", [XL, OLD])
def test_rexrank_is_that_of_radeval(
    run_oracle: OracleRunner, config: ClinicalConfig, models: Path, model: ClinicalModel
) -> None:
    pairs = [pair for pair in readable_pairs() if all(pair)]
    asked = request("radeval", model, models, rexrank=pairs)
    theirs = run_oracle(SCRIPT, asked, package="radeval")["rexrank"]
    assert score(config, model, RadGraphLevel.REXRANK, pairs) == pytest.approx(theirs, abs=1e-9)


def score(
    config: ClinicalConfig, model: ClinicalModel, level: RadGraphLevel, pairs: list[list[str]]
) -> list[float]:
    component = RadGraphF1(RadGraphExtractor(config, model), level)
    candidates, references = (component.read([pair[side] for pair in pairs]) for side in (0, 1))
    scores: list[float] = component.compare(candidates, references).tolist()
    return scores


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_reads_the_empty_report_as_the_word_none(
    run_oracle: OracleRunner, config: ClinicalConfig, models: Path, package: str
) -> None:
    asked = request(package, XL, models, reports=["", "None"])
    empty, none = run_oracle(SCRIPT, asked, package=package)["reports"]
    assert empty == none
    assert empty["annotation"]["text"] == "None"
    assert RadGraphExtractor(config, XL).extract([""]) == [RadGraph()]


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder whose checkpoint finds an entity in every span."""
    models = tmp_path_factory.mktemp("eager")
    folder = build_radgraph(models / OLD, model=OLD, packed=False)
    bias = "_ner._ner_scorers.radgraph__ner_labels.1._module.bias"
    state = torch.load(folder / "weights.th", weights_only=True)
    state[bias] = state[bias] + 100
    torch.save(state, folder / "weights.th")
    return models


def test_two_empty_reports_can_score_in_radeval(run_oracle: OracleRunner, eager: Path) -> None:
    # Both become the word "None"; their entities are the same, and 1/2 is earned by saying nothing.
    asked = request("radeval", OLD, eager, rexrank=[["", ""]])
    (theirs,) = run_oracle(SCRIPT, asked, package="radeval")["rexrank"]
    assert theirs >= 0.5
    config = ClinicalConfig(models=str(eager), offline=True, device="cpu")
    assert score(config, OLD, RadGraphLevel.REXRANK, [["", ""]]) == [0.0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_finds_entities_where_nothing_was_read(
    run_oracle: OracleRunner, eager: Path, package: str
) -> None:
    # The tokenizer drops a zero-width space, so the encoder is given nothing of it.
    asked = request(package, OLD, eager, reports=["\u200b"])
    (theirs,) = run_oracle(SCRIPT, asked, package=package)["reports"]
    assert [found["tokens"] for found in theirs["annotation"]["entities"].values()] == ["\u200b"]
    config = ClinicalConfig(models=str(eager), offline=True, device="cpu")
    assert RadGraphExtractor(config, OLD).extract(["\u200b"]) == [RadGraph()]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_report_of_white_space_stops_the_package(
    run_oracle: OracleRunner, config: ClinicalConfig, models: Path, package: str
) -> None:
    # The whole call fails, and with it every report of the batch.
    pairs = [["No effusion.", "No effusion."], [" \n ", "No effusion."]]
    asked = request(package, XL, models, pairs=pairs)
    assert run_oracle(SCRIPT, asked, package=package)["pairs"] == {"error": "AssertionError"}
    assert score(config, XL, RadGraphLevel.PARTIAL, pairs)[1] == 0
