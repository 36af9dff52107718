"""The annotator `radgraph`: entities in their sentences, with three presence labels."""

from collections.abc import Sequence

import pytest

from editgrpo.config import ClinicalConfig
from editgrpo.edits.similarity import missing_entities, spurious_entities
from editgrpo.reports import load_annotator
from editgrpo.reports.radgraph.annotator import RadGraphAnnotator
from editgrpo.reports.radgraph.extractor import RadGraphExtractor
from editgrpo.reports.radgraph.graph import GraphEntity, RadGraph
from editgrpo.reports.types import Presence
from tests.checkpoints.corpus import SENTENCES

TEXT = "No large effusion.  Possible Small nodule."


def graph(*rows: tuple[int, int, str]) -> RadGraph:
    return RadGraph(tuple(GraphEntity("", label, 0, 0, start, end) for start, end, label in rows))


@pytest.fixture
def annotator(config: ClinicalConfig) -> RadGraphAnnotator:
    return RadGraphAnnotator(config)


def fix(monkeypatch: pytest.MonkeyPatch, graphs: dict[str, RadGraph]) -> None:
    def extract(self: RadGraphExtractor, texts: Sequence[str]) -> list[RadGraph]:
        return [graphs[text] for text in texts]

    monkeypatch.setattr(RadGraphExtractor, "extract", extract)


def test_entities_belong_to_the_sentence_of_their_first_character(
    annotator: RadGraphAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix(
        monkeypatch,
        {
            TEXT: graph(
                (3, 8, "Observation::definitely absent"),
                (9, 28, "Observation::definitely absent"),  # goes on into the second sentence
                (20, 28, "Anatomy::definitely present"),  # starts with it
                (29, 34, "Observation::measurement::uncertain"),
                (35, 41, "Observation::definitely present"),
            )
        },
    )
    (report,) = annotator.annotate([TEXT])
    assert [sentence.text for sentence in report.sentences] == [
        "No large effusion.",
        "Possible Small nodule.",
    ]
    first, second = (sentence.entities for sentence in report.sentences)
    assert [entity.text for entity in first] == ["large", "effusion.  Possible"]
    assert [entity.text for entity in second] == ["Possible", "Small", "nodule"]
    assert [entity.type.presence for entity in (*first, *second)] == [
        Presence.ABSENT,
        Presence.ABSENT,
        None,
        Presence.UNCERTAIN,
        Presence.PRESENT,
    ]


def test_mentions_match_by_words_and_presence(
    annotator: RadGraphAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout, reference = "Large effusion.", "large EFFUSION. nodule"
    fix(
        monkeypatch,
        {
            rollout: graph(
                (0, 5, "Observation::definitely present"), (6, 14, "Observation::uncertain")
            ),
            reference: graph(
                (0, 5, "Observation::definitely present"),
                (6, 14, "Observation::definitely present"),
                (16, 22, "Observation::definitely present"),
            ),
        },
    )
    x, y = annotator.annotate([rollout, reference])
    # "Large" has its counterpart whatever its case; an uncertain effusion is not a present one.
    assert [e.text for e in spurious_entities(x, y, threshold=0.6)] == ["effusion"]
    assert [e.text for e in missing_entities(x, y, threshold=0.6)] == ["EFFUSION", "nodule"]


def test_a_report_is_annotated_by_the_model(config: ClinicalConfig) -> None:
    annotator = load_annotator("radgraph", config)
    texts = [" ".join(SENTENCES), "", "Effusion"]
    reports = annotator.annotate(texts)
    for text, report in zip(texts, reports, strict=True):
        spans = annotator.split(text)
        assert [s.text for s in report.sentences] == [text[s.start : s.end] for s in spans]
        assert all(entity.embedding is None for entity in report.entities)
        assert all(
            entity.text.split()[0] in sentence.text  # the last words may stand in the next one
            for sentence in report.sentences
            for entity in sentence.entities
        )
    assert len(reports[0].entities) > 3
    assert reports[1].sentences == ()
