"""Random reports for the property tests: few directions and few texts, so that likeness, ties,
contradictions and repeated sentences are common."""

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from editgrpo.edits import Edit
from editgrpo.reports.types import AnnotatedReport, Entity, EntityType
from tests.edits.reports import entity, report, sentence

# Pairwise cosines of these take the values -1, 0, 3/5 (equal to tau), 4/5, 1, sqrt(1/2) and more.
DIRECTIONS = [
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, 2),
    (3, 4, 0),
    (4, 3, 0),
    (3, 0, 4),
    (1, 1, 0),
    (-1, 0, 0),
]


def reports() -> st.SearchStrategy[AnnotatedReport]:
    """Draw a report whose texts and entities have nothing to do with each other; embeddings may be
    zero."""
    vectors = st.sampled_from([*DIRECTIONS, (0, 0, 0)])
    entities = st.builds(entity, vectors, st.sampled_from(list(EntityType)))
    sentences = st.builds(
        lambda text, found: sentence(text, *found),
        st.sampled_from("abcde"),
        st.lists(entities, max_size=3),
    )
    return st.lists(sentences, max_size=4).map(lambda drawn: report(*drawn))


def pairs() -> st.SearchStrategy[tuple[AnnotatedReport, AnnotatedReport]]:
    """Draw rollout and reference, half of the time so that rules (a) and (b) are likely: findings
    on two axes against ANATOMY or the opposite presence along directions between them."""
    any_pair = st.tuples(reports(), reports())
    stated = st.builds(entity, st.sampled_from(DIRECTIONS[:2]), st.just(EntityType.ABNORMALITY))
    between = st.builds(
        entity,
        st.sampled_from(DIRECTIONS[4:]),
        st.sampled_from([EntityType.ANATOMY] * 3 + [EntityType.NON_DISEASE]),
    )
    likely_pair = st.tuples(_crowded("abc", stated), _crowded("cdef", between))
    return st.booleans().flatmap(lambda likely: likely_pair if likely else any_pair)


def _crowded(texts: str, found: st.SearchStrategy[Entity]) -> st.SearchStrategy[AnnotatedReport]:
    """Draw a report in which every sentence has entities."""
    sentences = st.builds(
        lambda text, drawn: sentence(text, *drawn),
        st.sampled_from(texts),
        st.lists(found, min_size=1, max_size=3),
    )
    return st.lists(sentences, min_size=1, max_size=4).map(lambda drawn: report(*drawn))


def annotated_pairs(
    max_entities: int | None = None,
) -> st.SearchStrategy[tuple[AnnotatedReport, AnnotatedReport]]:
    """Draw rollout and reference as an annotator gives them: equal texts have equal entities, no
    embedding is zero. The rollout's sentences have at most `max_entities`."""
    return pairs().map(
        lambda pair: (_consistent(pair[0], max_entities), _consistent(pair[1], None))
    )


def _consistent(drawn: AnnotatedReport, max_entities: int | None) -> AnnotatedReport:
    """Name every sentence by its entities, leaving out those with zero embeddings."""
    sentences = []
    for each in drawn.sentences:
        found = [e for e in each.entities if e.embedding.any()][:max_entities]
        text = " ".join(f"{e.type.value}{e.embedding.tolist()}" for e in found)
        sentences.append(sentence(text or "prose", *found))
    return report(*sentences)


class ScriptedChoices(random.Random):
    """A generator that takes prescribed choices and notes how many options there were."""

    def __init__(self, script: Sequence[int]) -> None:
        super().__init__(0)
        self.script, self.options = list(script), []

    def choice(self, seq: Sequence[Any]) -> Any:
        taken = self.script[len(self.options)] if len(self.options) < len(self.script) else 0
        self.options.append(len(seq))
        return seq[taken]

    def random(self) -> float:
        raise AssertionError("the rules draw by choice only")

    def getrandbits(self, k: int, /) -> int:
        raise AssertionError("the rules draw by choice only")


def distribution(edit: Callable[[random.Random], Edit]) -> list[tuple[Edit, Fraction, int]]:
    """Walk through all draws; return each outcome with its exact probability and its draws."""
    found, scripts = [], [[]]  # type: ignore[var-annotated]
    while scripts:
        script = scripts.pop()
        rng = ScriptedChoices(script)
        outcome = edit(rng)
        share = Fraction(1)
        for count in rng.options:
            share /= count
        found.append((outcome, share, len(rng.options)))
        for depth in range(len(script), len(rng.options)):
            prefix = (script + [0] * depth)[:depth]
            scripts += [[*prefix, taken] for taken in range(1, rng.options[depth])]
    return found
