"""One film: body, pose, density, detector."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from editgrpo.data.study import View
from editgrpo.phantom.anatomy import Anatomy
from editgrpo.phantom.canvas import Canvas
from editgrpo.phantom.detector import draw_pose, expose
from editgrpo.phantom.findings import Finding, Progress
from editgrpo.phantom.frontal import frontal_density
from editgrpo.phantom.lateral import lateral_density
from editgrpo.phantom.sites import Rendering


def render_film(
    anatomy: Anatomy,
    findings: tuple[Finding, ...],
    *,
    view: View,
    rendering: Rendering,
    size_px: int,
    rng: Generator,
) -> NDArray[np.uint8]:
    """Render one radiograph.

    Args:
        anatomy: The patient's body.
        findings: The study's findings; resolved ones are not drawn.
        view: LATERAL, or any frontal projection.
        rendering: How the site's films look.
        size_px: Height and width.
        rng: Source of pose, texture, exposure and noise.

    Returns:
        (size_px, size_px) uint8; dense is bright.
    """
    canvas = Canvas.posed(size_px, draw_pose(rendering, rng))
    seen = tuple(f for f in findings if f.progress is not Progress.RESOLVED)
    draw = lateral_density if view is View.LATERAL else frontal_density
    return expose(draw(canvas, anatomy, seen, rng), rendering, rng)
