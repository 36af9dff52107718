"""From density to an 8-bit film: exposure, gamma, noise, marker, collimation."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from editgrpo.phantom.canvas import Array, Canvas, Pose, clouds, edge
from editgrpo.phantom.sites import Range, Rendering


def draw_pose(rendering: Rendering, rng: Generator) -> Pose:
    """Draw how the patient stands."""
    return Pose(
        rotation_deg=_within(rendering.rotation_deg, rng),
        shift_x=_within(rendering.shift, rng),
        shift_y=_within(rendering.shift, rng),
        scale=_within(rendering.scale, rng),
    )


def expose(density: Array, rendering: Rendering, rng: Generator) -> NDArray[np.uint8]:
    """Turn density into grey values.

    Args:
        density: (H, W) float32, about 0 to 1.
        rendering: The site's ranges.
        rng: Source of exposure and noise.

    Returns:
        (H, W) uint8; dense is bright.
    """
    size_px = density.shape[0]
    grey = density + rendering.clutter * clouds(size_px, 5, rng)
    grey = 0.45 + (grey - 0.45) * _within(rendering.contrast, rng)
    grey = grey + _within(rendering.exposure, rng)
    grey = np.clip(grey, 0, 1) ** np.float32(_within(rendering.gamma, rng))
    noise = _within(rendering.noise, rng)
    grey = grey + noise * rng.standard_normal(density.shape, dtype=np.float32)
    detector = Canvas.posed(size_px, Pose())
    x, y = rendering.marker_at
    grey = np.maximum(grey, 0.95 * detector.disc((x, y), (0.035, 0.05), 0.02))
    border = _within(rendering.border, rng)
    if border > 0:
        inside = 1 - np.maximum(np.abs(detector.x), np.abs(detector.y)) - np.float32(border)
        grey = grey * edge(inside, 0.02)
    return np.asarray(np.clip(grey * 255 + 0.5, 0, 255), dtype=np.uint8)


def _within(bounds: Range, rng: Generator) -> float:
    return float(rng.uniform(*bounds))
