"""Smooth shapes on a pixel grid: what the anatomy is drawn with.

Coordinates run from -1 to 1, x to the right and y downwards; the patient's pose is applied to the
coordinates, so shapes are drawn once and never resampled. All arrays are (H, W) float32.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """How the patient stands before the detector: degrees, half image widths, factor."""

    rotation_deg: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Canvas:
    """A pixel grid in the patient's coordinates.

    Attributes:
        x: (H, W) float32, positive towards the image's right.
        y: (H, W) float32, positive downwards.
    """

    x: Array
    y: Array

    @classmethod
    def posed(cls, size_px: int, pose: Pose) -> "Canvas":
        """Return the grid of a square image as the posed patient sees it."""
        u, v = _grid(size_px)
        angle = np.deg2rad(pose.rotation_deg)
        cos, sin = np.float32(np.cos(angle) / pose.scale), np.float32(np.sin(angle) / pose.scale)
        u, v = u - np.float32(pose.shift_x), v - np.float32(pose.shift_y)
        return cls(cos * u + sin * v, cos * v - sin * u)

    @property
    def pixel(self) -> float:
        """Width of a pixel in the patient's coordinates."""
        return 2.0 / float(self.x.shape[0])

    def blob(self, centre: tuple[float, float], radii: tuple[float, float]) -> Array:
        """Return a bell of height 1 that falls to 0.37 at the radii."""
        dx = (self.x - np.float32(centre[0])) * np.float32(1 / radii[0])
        dy = (self.y - np.float32(centre[1])) * np.float32(1 / radii[1])
        bell: Array = np.exp(-(dx * dx + dy * dy))
        return bell

    def disc(
        self, centre: tuple[float, float], radii: tuple[float, float], softness: float
    ) -> Array:
        """Return 1 inside an ellipse, 0 outside, with a smooth edge of the given width."""
        dx = (self.x - np.float32(centre[0])) * np.float32(1 / radii[0])
        dy = (self.y - np.float32(centre[1])) * np.float32(1 / radii[1])
        radius = np.sqrt(dx * dx + dy * dy)
        return edge((1 - radius) * np.float32(min(radii)), softness)

    def line(self, points: tuple[tuple[float, float], ...], width: float) -> Array:
        """Return 1 on a polyline, falling off as a bell of the given width."""
        nearest: Array | None = None
        for start, end in pairwise(points):
            distance = self._squared_distance(start, end)
            nearest = distance if nearest is None else np.minimum(nearest, distance)
        if nearest is None:
            return np.zeros_like(self.x)
        bell: Array = np.exp(nearest * np.float32(-1 / width**2))
        return bell

    def _squared_distance(self, start: tuple[float, float], end: tuple[float, float]) -> Array:
        ax, ay = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
        px, py = self.x - np.float32(start[0]), self.y - np.float32(start[1])
        along = np.clip((px * ax + py * ay) * np.float32(1 / (ax * ax + ay * ay)), 0, 1)
        dx, dy = px - along * ax, py - along * ay
        return np.asarray(dx * dx + dy * dy, dtype=np.float32)


@lru_cache(maxsize=4)
def _grid(size_px: int) -> tuple[Array, Array]:
    centres = ((np.arange(size_px, dtype=np.float32) + 0.5) * (2 / size_px) - 1).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    return x, y


def edge(distance: NDArray[np.floating[Any]], softness: float) -> Array:
    """Return a smooth step from 0 to 1 that is centred on distance 0 and `softness` wide."""
    t = np.clip(distance * np.float32(1 / softness) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def pulse(phase: NDArray[np.floating[Any]], share: float, softness: float) -> Array:
    """Return a wave of period 1 that is 1 over about `share` of the period, else 0."""
    away = np.abs(phase - np.round(phase))
    return edge(np.float32(share / 2) - away, softness)


def clouds(size_px: int, cells: int, rng: Generator) -> Array:
    """Return smooth random unevenness of mean about 0 and deviation about 1, `cells` bumps wide."""
    coarse = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32)
    resized = Image.fromarray(coarse).resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)
