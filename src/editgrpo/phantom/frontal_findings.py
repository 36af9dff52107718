"""What lung and pleural findings do to a frontal film."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from editgrpo.phantom.anatomy import Anatomy
from editgrpo.phantom.canvas import Array, Canvas, clouds, edge, pulse
from editgrpo.phantom.findings import Finding, Kind, Side, Size, Zone

_ZONE_HEIGHT = {Zone.UPPER: -0.45, Zone.MIDDLE: -0.08, Zone.LOWER: 0.20}


@dataclass(frozen=True, slots=True)
class Lung:
    """One lung field.

    Attributes:
        sign: -1 on the image's left (the patient's right), else 1.
        u: (H, W) distance from the midline towards this side.
        lateral: (H, W) distance from the midline to the chest wall at each height.
        dome: (H, W) height of the diaphragm at each distance.
        mask: (H, W) 1 in the lung field, 0 outside; heart and mediastinum are outside.
        cage: (H, W) 1 in this side's half of the rib cage.
    """

    sign: int
    u: Array
    lateral: Array
    dome: Array
    mask: Array
    cage: Array


def lung_finding(
    lung: Lung, canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: Generator
) -> Array:
    """Return the density that one finding adds to one lung field.

    Args:
        lung: The lung field.
        canvas: The pixel grid.
        anatomy: The patient's body.
        finding: A finding of this side; one that is not of lung or pleura adds nothing.
        rng: Source of texture.

    Returns:
        (H, W) float32, zero outside the lung field.
    """
    if finding.kind in (Kind.OPACITY, Kind.CONSOLIDATION):
        return _airspace(lung, canvas, finding, rng)
    if finding.kind is Kind.EDEMA:
        return _edema(lung, canvas, finding)
    if finding.kind is Kind.ATELECTASIS:
        return _atelectasis(lung, canvas, anatomy, finding)
    if finding.kind is Kind.NODULE:
        radius = {Size.SMALL: 0.10, Size.MODERATE: 0.125, Size.LARGE: 0.17}[finding.size]
        return 0.36 * canvas.disc(_place(lung, finding), (radius, radius), 0.04) * lung.mask
    if finding.kind is Kind.PNEUMOTHORAX:
        return _pneumothorax(lung, canvas, anatomy, finding)
    if finding.kind is Kind.EFFUSION:
        return _effusion(lung, canvas, anatomy, finding)
    if finding.kind is Kind.PLEURAL_THICKENING:
        return _thickening(lung, canvas, finding)
    return np.zeros_like(canvas.x)


def _place(lung: Lung, finding: Finding) -> tuple[float, float]:
    u = 0.43 + 0.09 * finding.offset[0] - (0.06 if finding.zone is Zone.UPPER else 0.0)
    return u * lung.sign, _ZONE_HEIGHT[finding.zone] + 0.07 * finding.offset[1]


def _airspace(lung: Lung, canvas: Canvas, finding: Finding, rng: Generator) -> Array:
    grow = 0.85 + 0.2 * finding.size
    blob = canvas.blob(_place(lung, finding), (0.20 * grow, 0.16 * grow))
    ragged = clouds(canvas.x.shape[0], 10, rng)
    if finding.kind is Kind.CONSOLIDATION:
        solid = edge(blob - 0.42 + 0.07 * ragged, 0.3)
        return np.asarray(0.33 * solid * lung.mask, dtype=np.float32)
    patchy = blob * np.clip(0.75 + 0.55 * ragged, 0, 1.5)
    return np.asarray(0.23 * patchy * lung.mask, dtype=np.float32)


def _edema(lung: Lung, canvas: Canvas, finding: Finding) -> Array:
    haze = canvas.blob((0.24 * lung.sign, 0.0), (0.30, 0.42))
    septa = pulse(canvas.y / 0.075, 0.4, 0.3) * canvas.blob((0.58 * lung.sign, 0.2), (0.14, 0.25))
    amount = 0.11 + 0.05 * finding.size
    return np.asarray((amount * haze + 0.05 * septa + 0.03) * lung.mask, dtype=np.float32)


def _atelectasis(lung: Lung, canvas: Canvas, anatomy: Anatomy, finding: Finding) -> Array:
    side = Side.RIGHT if lung.sign < 0 else Side.LEFT
    y = anatomy.dome(side) - 0.17 + 0.03 * finding.offset[1]
    s = lung.sign
    bands = canvas.line(((0.26 * s, y + 0.01), (0.64 * s, y - 0.05)), 0.026)
    if finding.size > Size.SMALL:
        bands = bands + canvas.line(((0.33 * s, y - 0.11), (0.62 * s, y - 0.13)), 0.024)
    return np.asarray(0.25 * bands * lung.mask, dtype=np.float32)


def _pneumothorax(lung: Lung, canvas: Canvas, anatomy: Anatomy, finding: Finding) -> Array:
    depth = {Size.SMALL: 0.15, Size.MODERATE: 0.22, Size.LARGE: 0.32}[finding.size]
    low = -0.15 + 0.25 * finding.size
    pleura = lung.lateral - depth * edge(np.float32(low) - canvas.y, 0.5)
    top = anatomy.apex + depth * 1.1
    outside = np.maximum(edge(lung.u - pleura, 0.03), edge(top - canvas.y, 0.03))
    rim = np.exp(-(((lung.u - pleura) / 0.018) ** 2)) * edge(canvas.y - top, 0.04)
    rim = np.maximum(rim, np.exp(-(((canvas.y - top) / 0.018) ** 2)) * edge(pleura - lung.u, 0.04))
    free = edge(np.float32(low + 0.1) - canvas.y, 0.3)
    change = -0.13 * outside * free + 0.16 * rim * free + 0.035 * (1 - outside)
    return np.asarray(change * lung.mask, dtype=np.float32)


def _effusion(lung: Lung, canvas: Canvas, anatomy: Anatomy, finding: Finding) -> Array:
    side = Side.RIGHT if lung.sign < 0 else Side.LEFT
    depth = {Size.SMALL: 0.13, Size.MODERATE: 0.34, Size.LARGE: 0.72}[finding.size]
    depth += 0.03 * finding.offset[1]
    across = np.clip(lung.u / np.float32(anatomy.half_width), 0, 1)
    surface = np.float32(anatomy.dome(side) + 0.13 - depth) + 0.10 - 0.16 * across**3
    return np.asarray(0.37 * edge(canvas.y - surface, 0.06) * lung.mask, dtype=np.float32)


def _thickening(lung: Lung, canvas: Canvas, finding: Finding) -> Array:
    width = 0.06 + 0.02 * finding.size
    middle = -0.25 + 0.15 * finding.offset[1]
    extent = edge(0.42 - np.abs(canvas.y - np.float32(middle)), 0.15)
    lumpy = width * (1 + 0.25 * np.cos(canvas.y * 14))
    return (0.30 * edge(lung.u - lung.lateral + lumpy, 0.03) * extent * lung.mask).astype(
        np.float32
    )
