"""What RadGraph says of a report, as data, and its form in the annotation store."""

import json
from dataclasses import dataclass

FORMAT_VERSION = 1
"""Part of the namespace in the store; raise it when `encode` changes."""


@dataclass(frozen=True, slots=True)
class GraphRelation:
    """A relation that an entity has.

    Attributes:
        label: `modify`, `located_at` or `suggestive_of`, as the checkpoint's vocabulary has it.
        target: Index of the other entity in `RadGraph.entities`; may be the entity itself.
    """

    label: str
    target: int


@dataclass(frozen=True, slots=True)
class GraphEntity:
    """One entity.

    Attributes:
        tokens: Its words joined by single spaces, in the case of the report.
        label: As the checkpoint's vocabulary has it, such as `Observation::definitely absent`
            (radgraph-xl) or `OBS-DA` (radgraph).
        first_word: Index of its first word.
        last_word: Index of its last word, included.
        start: Position of its first character in the report.
        end: Position behind its last character.
        relations: In the order of their targets.
    """

    tokens: str
    label: str
    first_word: int
    last_word: int
    start: int
    end: int
    relations: tuple[GraphRelation, ...] = ()


@dataclass(frozen=True, slots=True)
class RadGraph:
    """The entities of a report, by first and then by last word."""

    entities: tuple[GraphEntity, ...] = ()


def encode(graph: RadGraph) -> bytes:
    """Return a graph as UTF-8 JSON: a list of entities, each a list in the order of its fields."""
    rows = [
        [
            *(entity.tokens, entity.label, entity.first_word, entity.last_word),
            *(entity.start, entity.end),
            [[relation.label, relation.target] for relation in entity.relations],
        ]
        for entity in graph.entities
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def decode(value: bytes) -> RadGraph:
    """Return the graph that `encode` wrote."""
    rows = json.loads(value)
    return RadGraph(
        tuple(
            GraphEntity(
                *(tokens, label, first_word, last_word, start, end),
                relations=tuple(GraphRelation(*pair) for pair in pairs),
            )
            for tokens, label, first_word, last_word, start, end, pairs in rows
        )
    )
