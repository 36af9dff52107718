"""Where an added sentence goes: at the end, as in the paper, or where the reference has it."""

import numpy as np
from numpy.typing import NDArray

from editgrpo.edits.comparison import Comparison
from editgrpo.edits.similarity import is_close, presence_codes


def place_in_reference_order(comparison: Comparison, reference_position: int) -> int:
    """Find the place at which a reference sentence joins a rollout in the reference's order.

    A rollout sentence stands for the reference sentence with the same text, or else for the one
    that it shares most findings with, whatever their presence. Those that stand for an earlier
    sentence than the added one belong before it, those for a later one behind it.

    Args:
        comparison: The rollout beside its reference.
        reference_position: The reference sentence that is added.

    Returns:
        From 0 to the number of rollout sentences: the place that leaves the fewest sentences on the
        wrong side, the last one if several do.
    """
    stands_for_m = _counterpart_sentences(comparison)
    belongs_behind_m = stands_for_m > reference_position
    belongs_before_m = (stands_for_m >= 0) & (stands_for_m < reference_position)
    wrong_before_P = np.concatenate([[0], np.cumsum(belongs_behind_m)])
    wrong_behind_P = belongs_before_m.sum() - np.concatenate([[0], np.cumsum(belongs_before_m)])
    wrong_P = wrong_before_P + wrong_behind_P
    return int(np.flatnonzero(wrong_P == wrong_P.min())[-1])


def _counterpart_sentences(comparison: Comparison) -> NDArray[np.intp]:
    """Return (m,) intp: which reference sentence each of the rollout stands for; -1 for none."""
    rollout, reference = comparison.rollout, comparison.reference
    has_presence_XY = np.logical_and.outer(
        presence_codes(rollout.entities) != 0, presence_codes(reference.entities) != 0
    )
    is_alike_XY = has_presence_XY & is_close(comparison.cosines_XY, threshold=comparison.threshold)
    shared_mn = np.zeros((len(rollout.sentences), len(reference.sentences)))
    rows, columns = np.nonzero(is_alike_XY)
    np.add.at(shared_mn, (comparison.sentence_of_X[rows], comparison.sentence_of_Y[columns]), 1)
    for i, sentence in enumerate(rollout.sentences):
        for j, other in enumerate(reference.sentences):
            if sentence.text == other.text:
                shared_mn[i, j] = np.inf
    if not shared_mn.size:
        return np.full(len(rollout.sentences), -1, dtype=np.intp)
    return np.where(shared_mn.any(axis=1), shared_mn.argmax(axis=1), -1)
