"""RadGraph-F1 of graphs written by hand; the counts stand in the comments."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.metrics.radgraph_f1 import RadGraphF1, RadGraphLevel, graph_items, radgraph_f1
from editgrpo.reports.radgraph.extractor import RadGraphExtractor
from editgrpo.reports.radgraph.graph import GraphEntity, GraphRelation, RadGraph

SIMPLE, PARTIAL = RadGraphLevel.SIMPLE, RadGraphLevel.PARTIAL
COMPLETE, REXRANK = RadGraphLevel.COMPLETE, RadGraphLevel.REXRANK


def graph(*rows: tuple[str, str, list[tuple[str, int]]]) -> RadGraph:
    """Return a graph of (tokens, label, relations); words and places play no part in the score."""
    return RadGraph(
        tuple(
            GraphEntity(tokens, label, 0, 0, 0, 0, tuple(GraphRelation(*rel) for rel in relations))
            for tokens, label, relations in rows
        )
    )


def score(candidate: RadGraph, reference: RadGraph, level: RadGraphLevel) -> float:
    return radgraph_f1(graph_items(candidate, level), graph_items(reference, level))


# What checkpoint `radgraph` finds in "no evidence of acute cardiopulmonary process moderate hiatal
# hernia", as published in the tests of the package (tests/radgraph_test.py of 0.1.18).
PUBLISHED = graph(
    ("acute", "OBS-DA", []),
    ("cardiopulmonary", "ANAT-DP", []),
    ("process", "OBS-DA", [("located_at", 1)]),
    ("moderate", "OBS-DP", []),
    ("hiatal", "ANAT-DP", []),
    ("hernia", "OBS-DP", []),
)
# Written by hand for "no evidence of acute pulmonary process moderately large size hiatal hernia".
# The package publishes no annotation of it, only the three scores of the pair, and these are met by
# this choice of relations. So the test says that the definitions give published scores, not that
# the model finds this graph.
BY_HAND = graph(
    ("acute", "OBS-DA", []),
    ("pulmonary", "ANAT-DP", []),
    ("process", "OBS-DA", []),
    ("moderately", "OBS-DP", [("modify", 4)]),
    ("large", "OBS-DP", [("modify", 5), ("modify", 7)]),
    ("size", "OBS-DP", [("modify", 7)]),
    ("hiatal", "ANAT-DP", []),
    ("hernia", "OBS-DP", []),
)


@pytest.mark.parametrize(
    ("level", "published"),
    [
        # Of 6 and 8 items 4 are the same: acute, process, hiatal, hernia. 8 / 14.
        (SIMPLE, 0.5714285714285715),
        # "process" has a relation on one side only: 3 of 6 and 8. 6 / 14.
        (PARTIAL, 0.42857142857142855),
        # "large" has two relations, so there are 9 items: 3 of 6 and 9. 6 / 15.
        (COMPLETE, 0.4),
    ],
)
def test_published_scores_of_a_pair(level: RadGraphLevel, published: float) -> None:
    assert score(PUBLISHED, BY_HAND, level) == pytest.approx(published, abs=1e-12)


CANDIDATE = graph(
    ("Small", "P", [("modify", 1)]),
    ("effusion", "P", [("located_at", 2)]),
    ("Left", "A", []),
    ("effusion", "P", []),  # the same words and label once more
)
REFERENCE = graph(
    ("small", "P", [("modify", 1)]),
    ("effusion", "P", [("located_at", 2), ("located_at", 3)]),
    ("left", "A", []),
    ("LEFT", "A", []),
)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        # Case counts: {Small P, effusion P, Left A} and {small P, effusion P, left A, LEFT A}.
        (SIMPLE, 2 * 1 / (3 + 4)),
        # "effusion" stands with and without a relation: 4 items against 4, one the same.
        (PARTIAL, 2 * 1 / (4 + 4)),
        # Lower case only where there is a relation: (small, P, modify, effusion) and (effusion, P,
        # located_at, left) are the same; Left A, effusion P, left A and LEFT A are alone. The two
        # targets "left" and "LEFT" are one.
        (COMPLETE, 2 * 2 / (4 + 4)),
        # Entities as in `simple`; of 2 and 3 relations none has equal ends: case counts.
        (REXRANK, (2 * 1 / (3 + 4) + 0) / 2),
    ],
)
def test_what_counts_as_the_same_at_each_level(level: RadGraphLevel, expected: float) -> None:
    assert score(CANDIDATE, REFERENCE, level) == pytest.approx(expected, abs=1e-12)
    assert score(REFERENCE, CANDIDATE, level) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", list(RadGraphLevel))
def test_a_report_without_entities_scores_nothing(level: RadGraphLevel) -> None:
    assert score(RadGraph(), RadGraph(), level) == 0
    assert score(RadGraph(), REFERENCE, level) == 0
    assert score(REFERENCE, RadGraph(), level) == 0


@pytest.mark.parametrize(
    ("level", "expected"), [(SIMPLE, 1), (PARTIAL, 1), (COMPLETE, 1), (REXRANK, 0.5)]
)
def test_equal_reports_without_relations_have_half_of_rexrank(
    level: RadGraphLevel, expected: float
) -> None:
    report = graph(("clear", "P", []), ("lungs", "A", []))
    assert score(report, report, level) == expected


def test_rexrank_is_the_mean_of_entities_and_relations() -> None:
    candidate = graph(("mild", "P", [("modify", 1)]), ("edema", "P", []))
    reference = graph(("mild", "P", [("modify", 1)]), ("edema", "P", []), ("lungs", "A", []))
    # Entities: 2 of 2 and 3, 4 / 5. Relations: the one is the same, 1.
    assert score(candidate, reference, REXRANK) == pytest.approx(0.9, abs=1e-12)


class FixedExtractor:
    """Two reports with known graphs; counts the texts that it is asked for."""

    model = ClinicalModel.RADGRAPH_XL

    def extract(self, texts: Sequence[str]) -> list[RadGraph]:
        return [{"candidate": CANDIDATE, "reference": REFERENCE}[text] for text in texts]


def test_the_component_reads_and_compares_and_names_its_variant() -> None:
    component = RadGraphF1(cast(RadGraphExtractor, FixedExtractor()), PARTIAL)
    candidate, reference = component.read(["candidate", "reference"])
    scores = component.compare([candidate, reference], [reference, reference])
    assert component.name == "radgraph/partial@radgraph-xl"
    assert scores.dtype == np.float64
    assert scores.tolist() == [0.25, 1.0]
