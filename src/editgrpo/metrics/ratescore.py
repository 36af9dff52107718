"""RaTEScore in its published versions.

Each entity of a report is compared with the entity of the other report that is nearest in meaning;
the cosine is weighted by the two types and reduced where they contradict each other. The score is
the F1 of both directions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from editgrpo.edits.similarity import contradiction_matrix
from editgrpo.errors import RewardError
from editgrpo.metrics.component import PairwiseComponent
from editgrpo.reports.types import AnnotatedReport, Annotator, Entity, EntityType

NO_ENTITIES = 0.5
"""Score of a pair in which either report has no entity."""

_TYPES = tuple(EntityType)
_CODE = {type_: code for code, type_ in enumerate(_TYPES)}

_NEAR = 1e-5
"""Cosines nearer than this to the best are as good as it: well above the rounding of a float32 sum,
by which equal embeddings differ in their cosines."""


class RateVariant(StrEnum):
    """A published version with the kind of reports that its weights were fitted to."""

    V0_5_0 = "0.5.0"
    V0_6_0_LONG = "0.6.0-long"
    V0_6_0_SHORT = "0.6.0-short"


# Matrix, and factor on the cosine of two entities that contradict each other.
_WEIGHTS = {
    RateVariant.V0_5_0: ("long", 0.3612),
    RateVariant.V0_6_0_LONG: ("long", 0.8716553966489615),
    RateVariant.V0_6_0_SHORT: ("short", 0.3611577852354489),
}


@dataclass(frozen=True, slots=True)
class EntityTable:
    """The entities of a report in reading order, a repeated one as often as it is said.

    Attributes:
        unit_ED: (E, D) float32, embeddings of norm 1 (a zero embedding stays zero).
        type_E: (E,) intp, position of the type in `EntityType`.
    """

    unit_ED: NDArray[np.float32]
    type_E: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class RateWeights:
    """The fitted numbers of a variant.

    Attributes:
        affinity_TT: (T, T) float64 above 0; rows are the types of the entities that are looked up,
            columns those of their best matches.
        factor_TT: (T, T) float64, 1 or, where the types contradict each other, less.
    """

    affinity_TT: NDArray[np.float64]
    factor_TT: NDArray[np.float64]


@lru_cache
def rate_weights(variant: RateVariant) -> RateWeights:
    """Read the weights of a variant."""
    published = json.loads(
        (files("editgrpo.metrics") / "ratescore.json").read_text(encoding="utf-8")
    )
    matrix, contradiction = _WEIGHTS[variant]
    order = [published["types"].index(type_) for type_ in _TYPES]
    affinity_TT = np.array(published[matrix], dtype=np.float64)[np.ix_(order, order)]
    one_of_each = [Entity(text="", type=type_) for type_ in _TYPES]
    contradicts_TT = contradiction_matrix(one_of_each, one_of_each)
    return RateWeights(affinity_TT, np.where(contradicts_TT, contradiction, 1.0))


def entity_table(report: AnnotatedReport) -> EntityTable:
    """Collect the entities of a report.

    Args:
        report: Sentences with entities of the annotator `rate`.

    Returns:
        All of them; (0, 0) if there is none.

    Raises:
        RewardError: an entity has no embedding or a type that is not RaTE-NER's.
    """
    import torch

    embeddings: list[NDArray[np.float32]] = []
    types: list[int] = []
    for entity in report.entities:
        if entity.embedding is None or entity.type not in _CODE:
            raise RewardError(
                "RaTEScore needs embedded entities of RaTE-NER's types; take the annotator rate"
            )
        embeddings.append(entity.embedding)
        types.append(_CODE[EntityType(entity.type)])
    if not types:
        return EntityTable(np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.intp))
    embedding_ED = torch.from_numpy(np.stack(embeddings))
    unit_ED = torch.nn.functional.normalize(embedding_ED, p=2.0, dim=1).numpy()
    return EntityTable(unit_ED, np.array(types, dtype=np.intp))


def rate_score(candidate: EntityTable, reference: EntityTable, weights: RateWeights) -> float:
    """Compute RaTEScore.

    Args:
        candidate: Entities of the generated report.
        reference: Entities of the reference report.
        weights: The variant's.

    Returns:
        2 P R / (P + R) of the two directed similarities, `NO_ENTITIES` if either report has no
        entity, 0 if P + R is 0. As a rule in [0, 1]; negative cosines can lead out of it.

    Source: RaTEScore (EMNLP 2024). Equals the packages 0.5.0 and 0.6.0:
    tests/parity/clinical/test_ratescore.py.
    """
    if not len(candidate.type_E) or not len(reference.type_E):
        return NO_ENTITIES
    cosine_CR = candidate.unit_ED @ reference.unit_ED.T
    precision = _directed(reference, candidate, cosine_CR.T, weights)
    recall = _directed(candidate, reference, cosine_CR, weights)
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _directed(
    looked_up: EntityTable,
    others: EntityTable,
    cosine_LO: NDArray[np.float32],
    weights: RateWeights,
) -> float:
    """Return sum_l w f cos / sum_l w over the best match of each entity l."""
    best_L = cosine_LO.argmax(axis=1)
    cosine_L = cosine_LO.max(axis=1)
    is_near_LO = cosine_LO >= cosine_L[:, None] - _NEAR
    differs_LO = others.type_E[None, :] != others.type_E[best_L][:, None]
    for row in np.flatnonzero((is_near_LO & differs_LO).any(axis=1)):
        best_L[row] = _choose(cosine_LO[row], is_near_LO[row])
    types_L = (looked_up.type_E, others.type_E[best_L])
    affinity_L = weights.affinity_TT[types_L]
    similarity_L = weights.factor_TT[types_L] * cosine_L.astype(np.float64)
    return float(affinity_L @ similarity_L / affinity_L.sum())


def _choose(cosine_O: NDArray[np.float32], is_near_O: NDArray[np.bool_]) -> int:
    """Choose one of several best matches whose types differ, as when a finding is both denied and
    stated.

    The choice changes the score. The package takes what torch's partial sort puts first, so that
    is asked here too; but in the package the rounding of a matrix product comes before it, which
    differs from one processor to the next. Here equal embeddings are equal.
    """
    import torch

    level_O = np.where(is_near_O, cosine_O.max(), cosine_O)
    return int(torch.topk(torch.from_numpy(level_O), 1).indices[0])


class RateScore(PairwiseComponent[EntityTable]):
    """RaTEScore of one report.

    Attributes:
        name: `ratescore@<variant>`, with `-guarded` behind it for the guarded form.

    Args:
        annotator: The annotator `rate`.
        variant: Which published version.
        guarded: Whether a candidate without entities earns 0 in place of `NO_ENTITIES`, as a
            reward needs it: half of the score could else be had for an empty report.
    """

    def __init__(
        self, annotator: Annotator, variant: RateVariant, *, guarded: bool = False
    ) -> None:
        self.name = f"ratescore@{variant}{'-guarded' if guarded else ''}"
        self._annotator = annotator
        self._weights = rate_weights(variant)
        self._guarded = guarded

    def read(self, texts: Sequence[str]) -> list[EntityTable]:
        """Return the entities of each text."""
        return [entity_table(report) for report in self._annotator.annotate(texts)]

    def score(self, candidate: EntityTable, reference: EntityTable) -> float:
        """Return the score of one pair."""
        # Deviation from RaTEScore, for rewards only: saying nothing earns nothing.
        if self._guarded and not len(candidate.type_E):
            return 0.0
        return rate_score(candidate, reference, self._weights)
