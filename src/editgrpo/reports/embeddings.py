"""Embeddings of the annotator `rules`: built from what a mention means, not from how it is worded.

Every organ system, finding and direction owns axes of its own, so all cosines are known exactly:

====================================================  ======
same finding, same side and height                     1.00
same finding, one of them without a side               0.86
same finding, one side against both                    0.81
same finding, upper against lower                      0.76
same finding, left against right                       0.50
an organ system as a whole against one of its findings 0.62
one side of an organ system against its findings       0.48
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

_AXES = 4  # of each owner: itself, left-right, both sides, upper-lower


@cache
def _layout() -> tuple[dict[str, int], dict[Concept, int], int]:
    """Return the first axis of each system and of each concept, and the number of axes."""
    ontology = load_ontology()
    systems = dict.fromkeys((*ontology.systems, *(c.system for c in ontology.concepts)))
    own = [concept for concept in ontology.concepts if concept.kind is not Kind.SYSTEM]
    axis_of_system = {name: _AXES * number for number, name in enumerate(systems)}
    axis_of_concept = {c: _AXES * (len(systems) + number) for number, c in enumerate(own)}
    return axis_of_system, axis_of_concept, _AXES * (len(systems) + len(own))


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
    system = axis_of_system[concept.system]
    direction = _direction(location if concept.sided else Location())
    if concept.kind is Kind.SYSTEM:
        vector[system : system + _AXES] = direction
    else:
        share = 0.0 if concept.kind is Kind.ANATOMY else _SYSTEM_SHARE
        vector[system] = sqrt(share)
        own = axis_of_concept[concept]
        vector[own : own + _AXES] = sqrt(1.0 - share) * direction
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
