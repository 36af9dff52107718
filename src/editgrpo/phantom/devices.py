"""Tubes and lines, from the front and from the side."""

import numpy as np

from editgrpo.phantom.anatomy import Anatomy
from editgrpo.phantom.canvas import Array, Canvas, edge
from editgrpo.phantom.findings import Finding, Kind, Side

# Plastic with a radio-opaque stripe, and metal, add this much density.
TUBE, METAL = 0.34, 0.5


def frontal_device(canvas: Canvas, anatomy: Anatomy, finding: Finding) -> Array:
    """Draw one device from the front; anything that is not a device is left out.

    Args:
        canvas: The pixel grid.
        anatomy: The patient's body.
        finding: Any finding.

    Returns:
        (H, W) float32 density to add.
    """
    d, e = 0.02 * finding.offset[0], 0.03 * finding.offset[1]
    base = anatomy.left_base
    if finding.kind is Kind.ENDOTRACHEAL_TUBE:
        tube = ((0.02 + d, -1.1), (0.01 + d, -0.75), (0.005, -0.46 + e))
        return _line(canvas, tube, TUBE, 0.015)
    if finding.kind is Kind.GASTRIC_TUBE:
        path = (
            (-0.03, -1.1), (0.035 + d, -0.4), (0.05 + d, base - 0.12),
            (0.14 + d, base + 0.09), (0.34, base + 0.2 + e),
        )  # fmt: skip
        return _line(canvas, path, TUBE * 0.8, 0.013)
    if finding.kind is Kind.CENTRAL_LINE:
        tip = ((-0.115 + d * 0.5, -0.45), (-0.11 + d * 0.5, -0.12 + e))
        if finding.side is Side.RIGHT:
            return _line(canvas, ((-0.27 + d, -1.1), (-0.17, -0.72), *tip), TUBE, 0.012)
        return _line(canvas, ((0.27 + d, -1.1), (0.16, -0.70), (0.0, -0.56), *tip), TUBE, 0.012)
    if finding.kind is Kind.PACEMAKER:
        s = -1 if finding.side is Side.RIGHT else 1
        box = _box(canvas, ((0.56 + d) * s, -0.56 + e), (0.12, 0.085))
        leads = (
            (0.5 * s, -0.6),
            (0.16 * s, -0.58),
            (-0.1, -0.35),
            (-0.08, 0.05),
            (0.2, base - 0.1),
        )
        return METAL * box + _line(canvas, leads, TUBE, 0.012)
    return np.zeros_like(canvas.x)


def lateral_device(canvas: Canvas, anatomy: Anatomy, finding: Finding) -> Array:
    """Draw one device from the side, front of the patient on the image's left.

    Args:
        canvas: The pixel grid.
        anatomy: The patient's body.
        finding: Any finding.

    Returns:
        (H, W) float32 density to add.
    """
    d = 0.02 * finding.offset[0]
    if finding.kind is Kind.ENDOTRACHEAL_TUBE:
        return _line(canvas, ((-0.06, -1.1), (0.02, -0.7), (0.07, -0.46)), TUBE, 0.015)
    if finding.kind is Kind.GASTRIC_TUBE:
        path = ((0.0, -1.1), (0.14, -0.5), (0.16 + d, 0.1), (-0.05, anatomy.left_base + 0.2))
        return _line(canvas, path, TUBE * 0.8, 0.013)
    if finding.kind is Kind.CENTRAL_LINE:
        return _line(canvas, ((-0.1, -1.1), (-0.12, -0.6), (-0.06 + d, -0.15)), TUBE, 0.012)
    if finding.kind is Kind.PACEMAKER:
        box = _box(canvas, (-0.50, -0.42 + d), (0.05, 0.10))
        leads = ((-0.49, -0.48), (-0.2, -0.55), (-0.05, -0.2), (-0.1, 0.05), (-0.3, 0.2))
        return METAL * box + _line(canvas, leads, TUBE, 0.012)
    return np.zeros_like(canvas.x)


def _line(
    canvas: Canvas, path: tuple[tuple[float, float], ...], density: float, width: float
) -> Array:
    # On a coarse grid a true-to-scale tube would fall between the pixels.
    return np.float32(density) * canvas.line(path, max(width, 1.1 * canvas.pixel))


def _box(canvas: Canvas, centre: tuple[float, float], half: tuple[float, float]) -> Array:
    across = np.float32(half[0]) - np.abs(canvas.x - np.float32(centre[0]))
    down = np.float32(half[1]) - np.abs(canvas.y - np.float32(centre[1]))
    return edge(np.minimum(across, down), 0.03)
