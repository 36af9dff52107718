"""RadGraph-F1 in the four forms that papers report, on a checkpoint of choice.

"RadGraph-F1" without more is the form `partial` on radgraph-xl. Tokens are compared as the package
radgraph 0.1.18 compares them: in the case of the report, except that `complete` lower-cases the
tokens of an entity that has relations, and of what it is related to.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

from editgrpo.metrics.component import PairwiseComponent
from editgrpo.metrics.entity_f1 import entity_f1
from editgrpo.reports.radgraph.extractor import RadGraphExtractor
from editgrpo.reports.radgraph.graph import GraphEntity, RadGraph

GraphItems: TypeAlias = tuple[frozenset[tuple[Hashable, ...]], ...]
"""Sets of what must be equal; the score is the mean of their F1."""


class RadGraphLevel(StrEnum):
    """What must be equal for two entities to be the same."""

    SIMPLE = "simple"
    """Tokens and label."""

    PARTIAL = "partial"
    """Tokens, label, and whether there is a relation."""

    COMPLETE = "complete"
    """Tokens, label, and for each relation its type and the tokens that it leads to."""

    REXRANK = "rexrank"
    """Mean of the F1 of entities (tokens, label) and of relations (both ends, type), as ReXrank and
    RadCliQ compute it."""


class RadGraphF1(PairwiseComponent[GraphItems]):
    """F1 of the entities, or entities and relations, of two reports.

    Attributes:
        name: `radgraph/<level>@<checkpoint>`.

    Args:
        extractor: Finds the graph of a text; share it between levels.
        level: What must be equal.
    """

    def __init__(self, extractor: RadGraphExtractor, level: RadGraphLevel) -> None:
        self.name = f"radgraph/{level}@{extractor.model}"
        self._extractor = extractor
        self._level = level

    def read(self, texts: Sequence[str]) -> list[GraphItems]:
        """Return the items of each text."""
        return [graph_items(graph, self._level) for graph in self._extractor.extract(texts)]

    def score(self, candidate: GraphItems, reference: GraphItems) -> float:
        """Return the F1 of one pair, in [0, 1]."""
        return radgraph_f1(candidate, reference)


def radgraph_f1(candidate: GraphItems, reference: GraphItems) -> float:
    """Compute the mean F1 over the sets of items.

    Args:
        candidate: Items of the generated report.
        reference: Items of the reference report, of the same level.

    Returns:
        A value in [0, 1]. A set that is empty on either side counts 0, so two reports without any
        relation have at most 1/2 at the level `rexrank`, equal ones too.

    Source: `compute_reward` of radgraph 0.1.18 and RadEval's radgraph_radcliq;
    tests/parity/clinical/test_radgraph.py.
    """
    pairs = zip(candidate, reference, strict=True)
    return sum(entity_f1(of_candidate, of_reference) for of_candidate, of_reference in pairs) / len(
        candidate
    )


def graph_items(graph: RadGraph, level: RadGraphLevel) -> GraphItems:
    """Reduce a graph to what a level compares; equal entities count once."""
    return _ITEMS[level](graph)


def _simple(graph: RadGraph) -> GraphItems:
    return (frozenset((entity.tokens, entity.label) for entity in graph.entities),)


def _partial(graph: RadGraph) -> GraphItems:
    return (
        frozenset(
            (entity.tokens, entity.label, bool(entity.relations)) for entity in graph.entities
        ),
    )


def _complete(graph: RadGraph) -> GraphItems:
    items: set[tuple[Hashable, ...]] = set()
    for entity in graph.entities:
        if not entity.relations:
            items.add((entity.tokens, entity.label))
        for relation in entity.relations:
            target = graph.entities[relation.target].tokens.lower()
            items.add((entity.tokens.lower(), entity.label, relation.label, target))
    return (frozenset(items),)


def _rexrank(graph: RadGraph) -> GraphItems:
    def node(entity: GraphEntity) -> tuple[str, str]:
        return entity.tokens, entity.label

    relations = frozenset(
        (node(entity), node(graph.entities[relation.target]), relation.label)
        for entity in graph.entities
        for relation in entity.relations
    )
    return frozenset(node(entity) for entity in graph.entities), relations


_ITEMS: Mapping[RadGraphLevel, Callable[[RadGraph], GraphItems]] = {
    RadGraphLevel.SIMPLE: _simple,
    RadGraphLevel.PARTIAL: _partial,
    RadGraphLevel.COMPLETE: _complete,
    RadGraphLevel.REXRANK: _rexrank,
}
