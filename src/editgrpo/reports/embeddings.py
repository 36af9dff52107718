"""Embeddings of the annotator `rules`: built from what a mention means, not from how it is worded.

Every organ system, finding and direction owns axes of its own, so all cosines are known exactly:

====================================================  ======
same finding, same side and height                     1.00
same finding, one of them without a side               0.86
same finding, one side against both                    0.81
same finding, upper against lower                      0.76
same finding, left against right                       0.50
an organ system as a whole against one of its findings 0.62
other finding of the same organ system                 0.38
other finding of another organ system                  0.00
====================================================  ======

With the paper's threshold of 0.6 a wrong side is therefore another finding, while leaving the side
out is not, and "the lungs are clear" contradicts every finding of the lungs. Whether a mention is
present or absent is told by its type and never changes its embedding.
"""

from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports.location import Location, Side, Zone
from editgrpo.reports.ontology import Concept, Kind, load_ontology

# Share of a finding's squared norm that is its organ system's. Its root, 0.616, must exceed the
# edit threshold 0.6; it is itself the cosine of two findings of one system and must stay below 0.4.
_SYSTEM_SHARE = 0.38
# Cosine of a sided to an unsided mention on the finding's own axes. Left against right is then
# 0.38 + 0.62 * (2 * 0.775**2 - 1) = 0.50, below the threshold.
_SIDED = 0.775
# The same for a mention of both sides, and for one that names the upper or lower zone.
_BOTH_SIDES = 0.9
_ZONED = 0.9

_AXES_OF_CONCEPT = 4  # the finding, left-right, both sides, upper-lower


@cache
def _layout() -> tuple[dict[str, int], dict[Concept, int], int]:
    """Return the axis of each system, the first axis of each concept, and the number of axes."""
    ontology = load_ontology()
    systems = dict.fromkeys((*ontology.systems, *(c.system for c in ontology.concepts)))
    axis_of_system = {name: number for number, name in enumerate(systems)}
    first = len(axis_of_system)
    owners = [concept for concept in ontology.concepts if concept.kind is not Kind.SYSTEM]
    axis_of_concept = {c: first + _AXES_OF_CONCEPT * number for number, c in enumerate(owners)}
    return axis_of_system, axis_of_concept, first + _AXES_OF_CONCEPT * len(owners)


@cache
def embed(concept: Concept, location: Location) -> NDArray[np.float32]:
    """Embed a concept at a location.

    Args:
        concept: A concept of the ontology.
        location: Side and height; the side of a concept that has none is left out.

    Returns:
        (D,) float32 of norm 1, read-only and shared between equal calls. D depends on the ontology
        only.
    """
    axis_of_system, axis_of_concept, n_axes = _layout()
    vector = np.zeros(n_axes, dtype=np.float64)
    if concept.kind is Kind.SYSTEM:
        vector[axis_of_system[concept.system]] = 1.0
    else:
        share = 0.0 if concept.kind is Kind.ANATOMY else _SYSTEM_SHARE
        vector[axis_of_system[concept.system]] = sqrt(share)
        own = axis_of_concept[concept]
        direction = _direction(location if concept.sided else Location())
        vector[own : own + _AXES_OF_CONCEPT] = sqrt(1.0 - share) * direction
    embedding = vector.astype(np.float32)
    embedding.setflags(write=False)
    return embedding


def _direction(location: Location) -> NDArray[np.float64]:
    """Return the (4,) unit vector of a location on a concept's own axes."""
    direction = np.array([1.0, 0.0, 0.0, 0.0])
    if location.side in (Side.LEFT, Side.RIGHT):
        sign = 1.0 if location.side is Side.LEFT else -1.0
        direction[:2] = _SIDED, sign * sqrt(1.0 - _SIDED**2)
    elif location.side is Side.BOTH:
        direction[0], direction[2] = _BOTH_SIDES, sqrt(1.0 - _BOTH_SIDES**2)
    if location.zone is not Zone.UNSAID:
        direction *= _ZONED
        direction[3] = sqrt(1.0 - _ZONED**2) * (1.0 if location.zone is Zone.UPPER else -1.0)
    return direction
