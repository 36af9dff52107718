"""The annotator `rate` as a whole: the protocol, and that no sentence or entity is read twice."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from editgrpo.clinical.store import FactStore
from editgrpo.config import ClinicalConfig
from editgrpo.edits import edit_report
from editgrpo.reports.rate.annotator import RateAnnotator
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.rate import build_rate_ner

ROLLOUT = " ".join(SENTENCES[:5])
REFERENCE = " ".join(SENTENCES[3:9])
REPORTS = ["", " \n", "ok", ROLLOUT, REFERENCE, "no effusion no edema", "Naïve café. 心 5 µm."]


def test_sentences_are_the_texts_of_the_split(config: ClinicalConfig) -> None:
    annotator = RateAnnotator(config)
    for text, report in zip(REPORTS, annotator.annotate(REPORTS), strict=True):
        spans = annotator.split(text)
        assert [one.text for one in report.sentences] == [text[s.start : s.end] for s in spans]


def test_entities_are_embedded(config: ClinicalConfig) -> None:
    (report,) = RateAnnotator(config).annotate([ROLLOUT])
    assert len(report.entities) > 5
    for entity in report.entities:
        assert entity.embedding is not None
        assert entity.embedding.shape == (48,)


def test_a_sentence_under_three_characters_is_kept_without_entities(
    config: ClinicalConfig, rows_read: dict[str, int]
) -> None:
    (report,) = RateAnnotator(config).annotate(["ok"])
    assert [(one.text, one.entities) for one in report.sentences] == [("ok", ())]
    assert rows_read == {"entities": 0, "embeddings": 0}


def test_each_sentence_and_entity_is_read_once(
    config: ClinicalConfig, rows_read: dict[str, int]
) -> None:
    annotator = RateAnnotator(config)
    first = annotator.annotate([ROLLOUT, ROLLOUT, REFERENCE])
    texts = {entity.text for report in first for entity in report.entities}
    assert rows_read == {"entities": 9, "embeddings": len(texts)}  # sentences 3 and 4 are in both
    again = annotator.annotate([REFERENCE, ROLLOUT])
    assert rows_read == {"entities": 9, "embeddings": len(texts)}
    assert first[0].sentences[3] is first[2].sentences[0]
    assert all(a is b for a, b in zip(first[2].sentences, again[0].sentences, strict=True))


def test_an_edited_report_costs_no_model(config: ClinicalConfig, rows_read: dict[str, int]) -> None:
    annotator = RateAnnotator(config)
    rollout, reference = annotator.annotate([ROLLOUT, REFERENCE])
    before = dict(rows_read)
    for seed in range(20):
        # Embeddings of a random model are all alike; most entities differ at this threshold.
        rng = random.Random(seed)
        edit = edit_report(rollout, reference, rng=rng, threshold=0.99, max_edits=3)
        assert edit.steps
        (edited,) = annotator.annotate([edit.report.text])
        assert edited == edit.report
    assert rows_read == before


def test_the_store_serves_another_process(
    config: ClinicalConfig, rows_read: dict[str, int], tmp_path: Path
) -> None:
    writing = replace(config, store=str(tmp_path), store_writes=True)
    expected = RateAnnotator(writing).annotate(REPORTS)
    before = dict(rows_read)
    reading = replace(config, store=str(tmp_path))
    found = RateAnnotator(reading).annotate(REPORTS)  # a new object remembers nothing
    assert found == expected
    assert rows_read == before
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one.entities, other.entities, strict=True):
            np.testing.assert_array_equal(a.embedding, b.embedding)
    kinds = FactStore(tmp_path, writable=False).count()
    assert {name.split("/")[1] for name in kinds} == {"entities", "embeddings"}


def test_another_model_does_not_take_what_the_store_has(
    config: ClinicalConfig, rows_read: dict[str, int], tmp_path: Path
) -> None:
    writing = replace(config, store=str(tmp_path / "store"), store_writes=True)
    RateAnnotator(writing).annotate([ROLLOUT])
    build_rate_ner(tmp_path / "other", seed=1)
    before = rows_read["entities"]
    other = replace(writing, sources={"rate-ner": str(tmp_path / "other")})
    RateAnnotator(other).annotate([ROLLOUT])
    assert rows_read["entities"] == before + 5
