"""When two entities mean the same finding, and which entities have no counterpart.

The rules and the rewards share these functions. Nothing is drawn at random and nothing is cached
here.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, Entity, Presence

DECIMALS = 12
"""Cosines are rounded to this many decimals, well above the float64 rounding of a sum over D, so
that neither a tie nor a cosine equal to the threshold is decided by the order of summation."""

_CODE_OF_PRESENCE = {Presence.PRESENT: 1, Presence.ABSENT: -1, Presence.UNCERTAIN: 2, None: 0}


def similarity_matrix(rows: Sequence[Entity], columns: Sequence[Entity]) -> NDArray[np.float64]:
    """Measure every entity of one sequence against every entity of another.

    Args:
        rows: R entities, all with an embedding or all without.
        columns: C entities, likewise.

    Returns:
        (R, C) float64: cosines where the annotator gives embeddings; where it gives none (RadGraph)
        1 for equal words, case aside, and 0 for others.

    Raises:
        EditError: some entities have an embedding and some have none, or the embeddings do not fit
            together.
    """
    without = [entity.embedding is None for entity in (*rows, *columns)]
    if not any(without):
        return cosine_matrix(rows, columns)
    if not all(without):
        raise EditError(
            "some entities have an embedding and some have none; "
            "annotate rollout and reference with one annotator"
        )
    words_R, words_C = (
        [" ".join(e.text.lower().split()) for e in side] for side in (rows, columns)
    )
    equal_RC = np.equal.outer(np.array(words_R, dtype=object), np.array(words_C, dtype=object))
    likeness_RC: NDArray[np.float64] = equal_RC.astype(np.float64)
    return likeness_RC


def cosine_matrix(rows: Sequence[Entity], columns: Sequence[Entity]) -> NDArray[np.float64]:
    """Compute the cosine of every embedding of one sequence with every one of another.

    Args:
        rows: R entities with embeddings (D,) of any norm.
        columns: C entities with embeddings of the same D.

    Returns:
        (R, C) float64 in [-1, 1], rounded to `DECIMALS`; 0 where either embedding is zero.

    Raises:
        EditError: the embeddings are not all vectors of one length, or hold NaN or infinity.
    """
    if not rows or not columns:
        return np.zeros((len(rows), len(columns)))
    vectors_ED = embeddings([*rows, *columns])
    vectors_RD, vectors_CD = vectors_ED[: len(rows)], vectors_ED[len(rows) :]
    squares_E = np.einsum("ed,ed->e", vectors_ED, vectors_ED)
    # One root of the product, not a product of two roots: a vector's cosine with itself is then 1.
    norms_RC = np.sqrt(np.outer(squares_E[: len(rows)], squares_E[len(rows) :]))
    dots_RC = vectors_RD @ vectors_CD.T
    cosines_RC = np.divide(dots_RC, norms_RC, out=np.zeros_like(dots_RC), where=norms_RC > 0)
    rounded_RC: NDArray[np.float64] = np.clip(np.round(cosines_RC, DECIMALS), -1.0, 1.0)
    return rounded_RC


def embeddings(entities: Sequence[Entity]) -> NDArray[np.float64]:
    """Stack the embeddings of entities.

    Args:
        entities: At least one; all with embeddings of one length.

    Returns:
        (E, D) float64.

    Raises:
        EditError: an embedding is missing, they are not all vectors of one length, or one holds NaN
            or infinity.
    """
    vectors = [entity.embedding for entity in entities if entity.embedding is not None]
    shapes = {vector.shape for vector in vectors}
    if len(vectors) < len(entities) or len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise EditError(
            f"the embeddings of {len(entities)} entities, {len(entities) - len(vectors)} without, "
            f"have the shapes {sorted(shapes)}; "
            "annotate rollout and reference with one annotator, which gives (D,) to all"
        )
    vectors_ED = np.stack(vectors).astype(np.float64)
    if not np.isfinite(vectors_ED).all():
        raise EditError("an entity's embedding holds NaN or infinity; repair the annotator")
    return vectors_ED


def presence_codes(entities: Sequence[Entity]) -> NDArray[np.int8]:
    """Return (E,) int8: 1 present, -1 absent, 2 uncertain, 0 for anatomy, which says none."""
    return np.array([_CODE_OF_PRESENCE[entity.type.presence] for entity in entities], np.int8)


def contradiction_matrix(rows: Sequence[Entity], columns: Sequence[Entity]) -> NDArray[np.bool_]:
    """Return (R, C) bool, True where both entities have a presence and these differ."""
    codes_R, codes_C = presence_codes(rows), presence_codes(columns)
    both_RC = np.logical_and.outer(codes_R != 0, codes_C != 0)
    return np.asarray(both_RC & np.not_equal.outer(codes_R, codes_C), dtype=np.bool_)


def can_be_unmatched(entities: Sequence[Entity], *, anatomy_counts: bool) -> NDArray[np.bool_]:
    """Return (E,) bool, True where an entity may itself be spurious or missing."""
    # Deviation from paper, which does not set ANATOMY apart: it states no finding of its own.
    has_presence_E: NDArray[np.bool_] = presence_codes(entities) != 0
    return np.ones_like(has_presence_E) if anatomy_counts else has_presence_E


def is_close(cosines: NDArray[np.float64], *, threshold: float) -> NDArray[np.bool_]:
    """Return a bool array, True where a rounded cosine is above the threshold, not equal to it."""
    close: NDArray[np.bool_] = cosines > round(threshold, DECIMALS)
    return close


def match_matrix(
    rows: Sequence[Entity], columns: Sequence[Entity], *, threshold: float
) -> NDArray[np.bool_]:
    """Say which entities are counterparts: cosine above the threshold and the same presence.

    Two ANATOMY entities have the same presence (none), so they can be counterparts; an ANATOMY
    entity and an entity with a presence cannot.

    Args:
        rows: R entities.
        columns: C entities.
        threshold: Tau; a cosine equal to it is no match.

    Returns:
        (R, C) bool; symmetric, in that exchanging rows and columns transposes it.
    """
    same_presence_RC: NDArray[np.bool_] = np.equal.outer(
        presence_codes(rows), presence_codes(columns)
    )
    return same_presence_RC & is_close(similarity_matrix(rows, columns), threshold=threshold)


def spurious_entities(
    rollout: AnnotatedReport,
    reference: AnnotatedReport,
    *,
    threshold: float,
    anatomy_counts: bool = False,
) -> tuple[Entity, ...]:
    """Return the rollout's entities without a counterpart in the reference, in reading order.

    Args:
        rollout: The report to check.
        reference: The report taken as true.
        threshold: Tau, see `match_matrix`.
        anatomy_counts: Whether an ANATOMY entity can be spurious.

    Returns:
        The same `Entity` objects; a mention that is repeated is returned as often.
    """
    entities = rollout.entities
    is_matched_E = match_matrix(entities, reference.entities, threshold=threshold).any(axis=1)
    is_unmatched_E = ~is_matched_E & can_be_unmatched(entities, anatomy_counts=anatomy_counts)
    return tuple(entities[index] for index in np.flatnonzero(is_unmatched_E).tolist())


def missing_entities(
    rollout: AnnotatedReport,
    reference: AnnotatedReport,
    *,
    threshold: float,
    anatomy_counts: bool = False,
) -> tuple[Entity, ...]:
    """Return the reference's entities without a counterpart in the rollout, in reading order.

    Args:
        rollout: The report to check.
        reference: The report taken as true.
        threshold: Tau, see `match_matrix`.
        anatomy_counts: Whether an ANATOMY entity can be missing.

    Returns:
        The same `Entity` objects; a mention that is repeated is returned as often.
    """
    # What the rollout misses is what the reference would hold spuriously if the rollout were true.
    return spurious_entities(reference, rollout, threshold=threshold, anatomy_counts=anatomy_counts)


def unsaid_entities(
    reference: AnnotatedReport,
    rollouts: Sequence[AnnotatedReport],
    *,
    threshold: float,
    anatomy_counts: bool = False,
) -> NDArray[np.bool_]:
    """Say which entities of the reference no rollout states: they are missing from all of them.

    Args:
        reference: The report taken as true, with Y entities.
        rollouts: The reports to look into; with none of them all that counts is unsaid.
        threshold: Tau, see `match_matrix`.
        anatomy_counts: Whether an ANATOMY entity can be unsaid.

    Returns:
        (Y,) bool, in reading order.
    """
    of_y = reference.entities
    said = [entity for rollout in rollouts for entity in rollout.entities]
    is_said_Y = match_matrix(of_y, said, threshold=threshold).any(axis=1)
    unsaid_Y: NDArray[np.bool_] = ~is_said_Y & can_be_unmatched(of_y, anatomy_counts=anatomy_counts)
    return unsaid_Y


def without_embeddings(report: AnnotatedReport) -> AnnotatedReport:
    """Return a report whose entities are alike only if their words are equal (exact match).

    Args:
        report: The report.

    Returns:
        The same sentences and entities; see `similarity_matrix` for how they compare.
    """
    return AnnotatedReport(
        tuple(
            replace(one, entities=tuple(replace(e, embedding=None) for e in one.entities))
            for one in report.sentences
        )
    )
