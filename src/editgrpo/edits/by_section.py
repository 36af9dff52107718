"""Sections of a report and of its reference in pairs, since an edit stays within one.

A report whose sentences name no section is one part, itself.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports.types import AnnotatedReport


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportPart:
    """One section of two reports.

    Attributes:
        reports: The section of the rollout, and that of the reference.
        of_rollout: Which sentences of the whole rollout its sentences are, ascending.
        of_reference: Likewise of the whole reference.
        end: Where in the whole rollout a sentence is put that comes after all of the section.
        is_entity_Y: (Y,) bool, True for the entities of the whole reference that stand in it.
    """

    reports: tuple[AnnotatedReport, AnnotatedReport]
    of_rollout: Sequence[int]
    of_reference: Sequence[int]
    end: int
    is_entity_Y: NDArray[np.bool_]

    def place(self, position: int) -> int:
        """Return what a position in the section is in the whole rollout."""
        return self.of_rollout[position] if position < len(self.of_rollout) else self.end


def parts_by_section(
    rollout: AnnotatedReport, reference: AnnotatedReport, rng: random.Random
) -> list[ReportPart]:
    """Take two reports apart into the sections that either has.

    Args:
        rollout: The report to edit.
        reference: The report that corrections are taken from.
        rng: Shuffles several sections; draws nothing for one.

    Returns:
        The parts in random order; the whole reports, if there is one section.
    """
    in_order = dict.fromkeys(one.section for one in (*reference.sentences, *rollout.sentences))
    names = list(in_order) or [""]
    if len(names) == 1:
        return [_whole(rollout, reference)]
    parts = [_part(rollout, reference, name, names[:number]) for number, name in enumerate(names)]
    rng.shuffle(parts)
    return parts


def _whole(rollout: AnnotatedReport, reference: AnnotatedReport) -> ReportPart:
    return ReportPart(
        reports=(rollout, reference),
        of_rollout=range(len(rollout.sentences)),
        of_reference=range(len(reference.sentences)),
        end=len(rollout.sentences),
        is_entity_Y=np.ones(len(reference.entities), dtype=np.bool_),
    )


def _part(
    rollout: AnnotatedReport, reference: AnnotatedReport, name: str, earlier: Sequence[str]
) -> ReportPart:
    of_rollout = _positions(rollout, (name,))
    of_reference = _positions(reference, (name,))
    # A section that the rollout lacks goes behind those that come before it in the reference.
    last = of_rollout or _positions(rollout, earlier)
    return ReportPart(
        reports=(_chosen(rollout, of_rollout), _chosen(reference, of_reference)),
        of_rollout=of_rollout,
        of_reference=of_reference,
        end=last[-1] + 1 if last else 0,
        is_entity_Y=np.array(
            [one.section == name for one in reference.sentences for _ in one.entities],
            dtype=np.bool_,
        ),
    )


def _positions(report: AnnotatedReport, sections: Sequence[str]) -> list[int]:
    return [number for number, one in enumerate(report.sentences) if one.section in sections]


def _chosen(report: AnnotatedReport, positions: Sequence[int]) -> AnnotatedReport:
    return AnnotatedReport(tuple(report.sentences[position] for position in positions))
