"""A rollout compared with its reference: everything that the edit rules look at, computed once.

Arrays are indexed by entity (X of the rollout, Y of the reference, in reading order) and by
reference sentence (n). The rules themselves stand in `rules.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from editgrpo.edits.similarity import (
    DECIMALS,
    can_be_unmatched,
    contradiction_matrix,
    is_close,
    presence_codes,
    similarity_matrix,
)
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the rules know of a rollout x_1..x_m and its reference y_1..y_n.

    Attributes:
        rollout: The report x.
        reference: The report y.
        threshold: Tau, rounded like the cosines.
        is_spurious_X: (X,) bool, True for the rollout's spurious entities.
        is_missing_Y: (Y,) bool, True for the reference's missing entities.
        can_be_missing_Y: (Y,) bool, True for those that an empty report would lack.
        cosines_XY: (X, Y) float64, the cosine of each pair of entities, rounded; for entities
            without embeddings 1 for equal words, else 0.
        contradicts_XY: (X, Y) bool, True where the cosine is above tau and the presence differs.
        best_cosine_Xn: (X, n) float64, the best cosine of an entity with the entities of each
            reference sentence, ANATOMY included; -inf where that sentence has no entity.
        sentence_of_X: (X,) intp, the rollout sentence of each entity.
        sentence_of_Y: (Y,) intp, the reference sentence of each entity.
        insertable: The reference sentences that do not stand verbatim in the rollout, ascending.
    """

    rollout: AnnotatedReport
    reference: AnnotatedReport
    threshold: float
    is_spurious_X: NDArray[np.bool_]
    is_missing_Y: NDArray[np.bool_]
    can_be_missing_Y: NDArray[np.bool_]
    cosines_XY: NDArray[np.float64]
    contradicts_XY: NDArray[np.bool_]
    best_cosine_Xn: NDArray[np.float64]
    sentence_of_X: NDArray[np.intp]
    sentence_of_Y: NDArray[np.intp]
    insertable: tuple[int, ...]

    def inserting_only(self, is_wanted_Y: NDArray[np.bool_]) -> "Comparison":
        """Return the comparison as if only sentences with a wanted entity could be inserted.

        Args:
            is_wanted_Y: (Y,) bool, True for the reference entities that are wanted; those that the
                rollout states already ask for nothing.

        Returns:
            A comparison that differs in `insertable` alone.
        """
        holding = set(self.sentence_of_Y[self.is_missing_Y & is_wanted_Y].tolist())
        insertable = tuple(position for position in self.insertable if position in holding)
        return replace(self, insertable=insertable)

    def spurious_rows(self, position: int) -> NDArray[np.intp]:
        """Return the indices, among the rollout's entities, of a sentence's spurious ones."""
        return np.flatnonzero(self.is_spurious_X & (self.sentence_of_X == position))

    def sentences_missing_from_an_empty_report(self) -> list[int]:
        """Return the reference sentences that hold an entity that can be missing, ascending."""
        return sorted(set(self.sentence_of_Y[self.can_be_missing_Y].tolist()))

    def spurious_sentences(self) -> list[int]:
        """Return the rollout sentences that hold a spurious entity, ascending."""
        return sorted(set(self.sentence_of_X[self.is_spurious_X].tolist()))


def compare(
    rollout: AnnotatedReport,
    reference: AnnotatedReport,
    *,
    threshold: float,
    anatomy_counts: bool,
) -> Comparison:
    """Compare a rollout with its reference; the one place that computes cosines for the rules.

    Args:
        rollout: The report to edit.
        reference: The report that corrections are taken from.
        threshold: Tau; two entities are alike if their cosine is above it.
        anatomy_counts: Whether an ANATOMY entity can itself be spurious or missing.

    Returns:
        The comparison; its arrays are not to be written to.
    """
    of_x, of_y = rollout.entities, reference.entities
    cosines_XY = similarity_matrix(of_x, of_y)
    presence_X, presence_Y = presence_codes(of_x), presence_codes(of_y)
    is_close_XY = is_close(cosines_XY, threshold=threshold)
    match_XY = is_close_XY & np.equal.outer(presence_X, presence_Y)
    verbatim = {sentence.text for sentence in rollout.sentences}
    return Comparison(
        rollout=rollout,
        reference=reference,
        threshold=round(threshold, DECIMALS),
        is_spurious_X=_unmatched(of_x, match_XY, anatomy_counts=anatomy_counts),
        is_missing_Y=_unmatched(of_y, match_XY.T, anatomy_counts=anatomy_counts),
        can_be_missing_Y=can_be_unmatched(of_y, anatomy_counts=anatomy_counts),
        cosines_XY=cosines_XY,
        contradicts_XY=is_close_XY & contradiction_matrix(of_x, of_y),
        best_cosine_Xn=_best_by_sentence(cosines_XY, reference.sentences),
        sentence_of_X=_sentence_of_entity(rollout.sentences),
        sentence_of_Y=_sentence_of_entity(reference.sentences),
        insertable=tuple(
            position
            for position, sentence in enumerate(reference.sentences)
            if sentence.text not in verbatim
        ),
    )


def _unmatched(
    entities: Sequence[Entity], match_EO: NDArray[np.bool_], *, anatomy_counts: bool
) -> NDArray[np.bool_]:
    """Return (E,) bool, True for entities that count and match none of the others."""
    is_unmatched_E = ~np.asarray(match_EO.any(axis=1), dtype=np.bool_)
    return is_unmatched_E & can_be_unmatched(entities, anatomy_counts=anatomy_counts)


def _sentence_of_entity(sentences: Sequence[AnnotatedSentence]) -> NDArray[np.intp]:
    """Return (E,) intp, the index of the sentence of each entity in reading order."""
    counts = [len(sentence.entities) for sentence in sentences]
    return np.repeat(np.arange(len(sentences)), counts)


def _best_by_sentence(
    cosines_XY: NDArray[np.float64], sentences: Sequence[AnnotatedSentence]
) -> NDArray[np.float64]:
    """Return (X, n) float64, the maximum over each sentence's columns; -inf if it has none."""
    counts_n = np.array([len(sentence.entities) for sentence in sentences], dtype=np.intp)
    best_Xn = np.full((cosines_XY.shape[0], len(sentences)), -np.inf)
    if cosines_XY.size:
        has_entity_n = counts_n > 0
        # Sentences without entities own no columns, so the starts of the others are strictly
        # ascending, as reduceat needs them.
        starts = (np.cumsum(counts_n) - counts_n)[has_entity_n]
        best_Xn[:, has_entity_n] = np.maximum.reduceat(cosines_XY, starts, axis=1)
    return best_Xn
