"""Similarity in meaning of the entities of two reports, in the manner of RaTEScore.

Same structure as RaTEScore, with weights that can be stated in a line instead of a fitted matrix:
a finding weighs 1, an ANATOMY entity 1/2. Two deliberate differences close ways to score without
being right: a report without entities earns nothing (RaTEScore gives 0.5), and what is said twice
counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from editgrpo.edits.similarity import DECIMALS, embeddings, presence_codes
from editgrpo.metrics.component import PairwiseComponent
from editgrpo.metrics.entity_f1 import normalised_tokens
from editgrpo.reports.types import AnnotatedReport, Annotator, Entity

CONTRADICTION_FACTOR = 0.3612
"""Factor on the cosine of two entities of opposite presence.

RaTEScore 0.5.0's fitted value, the one that the paper used; opposite presence holds for exactly
RaTEScore's eight contradicting pairs of types.
"""

ANATOMY_WEIGHT = 0.5
"""An anatomy is the place of a finding; alone it says little of the patient."""

SAME_FINDING = 0.8
"""Cosine above which two entities of one report with equal presence share one weight.

The annotators place synonyms above it.
"""


@dataclass(frozen=True, slots=True)
class EntityVectors:
    """The distinct entities of a report, normalised once however often they are compared.

    Attributes:
        unit_ED: (E, D) float64, embeddings of norm 1 (a zero embedding stays zero).
        sign_E: (E,) int8, 1 present, -1 absent, 0 anatomy.
        weight_E: (E,) float64, above 0.
    """

    unit_ED: NDArray[np.float64]
    sign_E: NDArray[np.int8]
    weight_E: NDArray[np.float64]


def entity_vectors(report: AnnotatedReport) -> EntityVectors:
    """Collect the distinct entities of a report with their weights.

    Args:
        report: Sentences with entities; all embeddings have one length.

    Returns:
        Each (words, type) once. Entities of equal presence whose cosine is above `SAME_FINDING`
        divide their weight by their number, so that synonyms gain nothing either.

    Raises:
        EditError: an entity has no embedding, or the embeddings do not fit together or hold NaN.
    """
    distinct: dict[tuple[tuple[str, ...], str], Entity] = {}
    for entity in report.entities:
        distinct.setdefault((normalised_tokens(entity.text), entity.type), entity)
    entities = list(distinct.values())
    if not entities:
        return EntityVectors(np.zeros((0, 0)), np.zeros(0, dtype=np.int8), np.zeros(0))
    embedding_ED = embeddings(entities)
    norm_E = np.linalg.norm(embedding_ED, axis=1, keepdims=True)
    unit_ED = embedding_ED / np.where(norm_E == 0, 1.0, norm_E)
    sign_E = presence_codes(entities)
    same_EE = (unit_ED @ unit_ED.T > SAME_FINDING) & (sign_E[:, None] == sign_E[None, :])
    np.fill_diagonal(same_EE, True)
    weight_E = np.where(sign_E == 0, ANATOMY_WEIGHT, 1.0) / same_EE.sum(axis=1)
    return EntityVectors(unit_ED, sign_E, weight_E)


def entity_similarity(candidate: EntityVectors, reference: EntityVectors) -> float:
    """Compute the F1 of the two directed similarities S(candidate->reference) and back.

    S(A->B) = sum_e w(e) max_e' n(e, e') cos(e, e') / sum_e w(e), e over A and e' over B; n is
    `CONTRADICTION_FACTOR` for opposite presence, else 1; a negative cosine counts as 0.

    Args:
        candidate: Entities of the generated report.
        reference: Entities of the reference report.

    Returns:
        A value in [0, 1], rounded to `DECIMALS`; 0 if either report has no entity.

    Source: RaTEScore (EMNLP 2024); differences in the module docstring and docs/metrics.md.
    """
    if not len(candidate.weight_E) or not len(reference.weight_E):
        return 0.0
    cosine_CR = np.clip(candidate.unit_ED @ reference.unit_ED.T, 0.0, 1.0)
    contradicts_CR = candidate.sign_E[:, None] * reference.sign_E[None, :] == -1
    similarity_CR = np.where(contradicts_CR, CONTRADICTION_FACTOR * cosine_CR, cosine_CR)
    precision = np.average(similarity_CR.max(axis=1), weights=candidate.weight_E)
    recall = np.average(similarity_CR.max(axis=0), weights=reference.weight_E)
    if precision + recall == 0:
        return 0.0
    # Rounded, so that two reports that say the same never differ by the order of a summation.
    return round(float(2 * precision * recall / (precision + recall)), DECIMALS)


class EntitySimilarity(PairwiseComponent[EntityVectors]):
    """RaTEScore-like similarity of entities.

    Attributes:
        name: `entity_similarity@<annotator>`.

    Args:
        annotator: Finds and embeds the entities of a text.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.name = f"entity_similarity@{annotator.name}"
        self._annotator = annotator

    def read(self, texts: Sequence[str]) -> list[EntityVectors]:
        """Return the entity vectors of each text."""
        return [entity_vectors(report) for report in self._annotator.annotate(texts)]

    def score(self, candidate: EntityVectors, reference: EntityVectors) -> float:
        """Return the similarity of one pair."""
        return entity_similarity(candidate, reference)
