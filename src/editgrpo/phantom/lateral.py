"""The lateral film: density of each pixel, before the detector; the patient faces the image's
left."""

import numpy as np
from numpy.random import Generator

from editgrpo.phantom.anatomy import Anatomy, heart_ratio
from editgrpo.phantom.canvas import Array, Canvas, clouds, edge, pulse
from editgrpo.phantom.devices import lateral_device
from editgrpo.phantom.findings import Finding, Kind, Side, Size, Zone

# Two lungs lie behind each other here, and the arms are up: air takes less contrast than in front.
AIR = 0.36
_PLACE = {Zone.UPPER: (0.02, -0.45), Zone.MIDDLE: (-0.28, 0.06), Zone.LOWER: (0.36, 0.16)}


def lateral_density(
    canvas: Canvas, anatomy: Anatomy, findings: tuple[Finding, ...], rng: Generator
) -> Array:
    """Draw the chest from the side.

    Args:
        canvas: The pixel grid.
        anatomy: The patient's body.
        findings: What is to be seen; resolved findings must be left out.
        rng: Source of texture.

    Returns:
        (H, W) float32 density, about 0 (air) to 1 (bone, metal).
    """
    dome = anatomy.base + 0.02 + 0.42 * np.clip(canvas.x + 0.22, -0.4, 1) ** 2
    front = -anatomy.depth - 0.02 + 0.34 * edge(-canvas.y - 0.35, 1.0)
    back = anatomy.depth - 0.02 - 0.22 * edge(-canvas.y - 0.5, 0.8)
    lung = edge(canvas.x - front, 0.06) * edge(back - canvas.x, 0.06)
    top = anatomy.apex + 0.05 + 1.4 * (canvas.x - 0.08) ** 2
    lung = lung * edge(dome - canvas.y, 0.05) * edge(canvas.y - top, 0.08)
    outline = edge(canvas.x - front + 0.15, 0.05) * edge(back + 0.2 - canvas.x, 0.05)
    heart = _heart(canvas, anatomy, findings)
    density = anatomy.soft_tissue * outline * edge(canvas.y + 1.1, 0.2)
    density -= AIR * lung * (1 - 0.75 * heart)
    density += _bones(canvas, anatomy, back, front) * outline
    density += 0.10 * canvas.blob((0.06, -0.12), (0.11, 0.13)) * lung
    density += 0.02 * clouds(canvas.x.shape[0], 14, rng) * lung
    for finding in findings:
        density += _finding(canvas, finding, lung * (1 - 0.6 * heart), rng)
        density += lateral_device(canvas, anatomy, finding)
    return density.astype(np.float32)


def _heart(canvas: Canvas, anatomy: Anatomy, findings: tuple[Finding, ...]) -> Array:
    ratio = heart_ratio(anatomy, findings)
    width = anatomy.depth * (0.42 + 0.95 * (ratio - 0.43))
    x = canvas.x + np.float32(anatomy.depth * 0.62 - width * 0.55)
    y = canvas.y - np.float32(anatomy.base - 0.14)
    skew = 0.5
    radius = np.sqrt(((x - skew * y) / width) ** 2 + (y / 0.27) ** 2)
    aorta = canvas.line(((-0.12, -0.12), (-0.05, -0.38), (0.18, -0.42), (0.34, -0.2)), 0.09)
    return np.asarray(np.maximum(edge((1 - radius) * 0.27, 0.07), 0.35 * aorta), dtype=np.float32)


def _bones(canvas: Canvas, anatomy: Anatomy, back: Array, front: Array) -> Array:
    spine = edge(0.10 - np.abs(canvas.x - back + 0.07), 0.05)
    discs = pulse(canvas.y / np.float32(anatomy.rib_spacing), 0.72, 0.15)
    sternum = edge(0.03 - np.abs(canvas.x - front + 0.03), 0.03) * edge(0.3 - canvas.y, 0.2)
    sag = 0.55 * (canvas.x - 0.4) ** 2 - 0.35 * canvas.x
    ribs = pulse((canvas.y + sag) / np.float32(anatomy.rib_spacing * 1.1), 0.3, 0.2)
    trachea = canvas.line(((-0.04, -1.0), (0.06, -0.4)), 0.045)
    below = edge(0.35 - canvas.y, 0.4)
    density = spine * (0.08 + 0.08 * discs) + 0.14 * sternum + 0.035 * ribs * below - 0.07 * trachea
    return np.asarray(density, dtype=np.float32)


def _finding(canvas: Canvas, finding: Finding, lung: Array, rng: Generator) -> Array:
    kind, size = finding.kind, finding.size
    change: Array | float = 0.0
    if kind in (Kind.OPACITY, Kind.CONSOLIDATION):
        ragged = clouds(canvas.x.shape[0], 10, rng)
        grow = 0.8 + 0.15 * size
        blob = canvas.blob(_PLACE[finding.zone], (0.2 * grow, 0.16 * grow))
        solid = kind is Kind.CONSOLIDATION
        change = 0.24 * edge(blob - 0.42 + 0.10 * ragged, 0.5) if solid else 0.14 * blob
    elif kind is Kind.NODULE:
        radius = {Size.SMALL: 0.08, Size.MODERATE: 0.10, Size.LARGE: 0.16}[size]
        x, y = _PLACE[finding.zone]
        centre = (x + 0.06 * finding.offset[0], y + 0.06 * finding.offset[1])
        change = 0.28 * canvas.disc(centre, (radius, radius), 0.04)
    elif kind is Kind.EDEMA:
        haze = canvas.blob((0.05, -0.05), (0.35, 0.42))
        change = (0.08 + 0.04 * size) * haze + 0.03
    elif kind is Kind.ATELECTASIS:
        bands = canvas.line(((0.0, 0.26), (0.4, 0.33)), 0.026)
        change = 0.18 * bands
    elif kind is Kind.EFFUSION:
        depth = {Size.SMALL: 0.15, Size.MODERATE: 0.38, Size.LARGE: 0.78}[size]
        share = 1.0 if finding.side is Side.BILATERAL else 0.8
        surface = 0.68 - depth - 0.3 * np.clip(canvas.x, 0, 1) ** 2
        change = 0.32 * share * edge(canvas.y - surface, 0.07)
    elif kind is Kind.PNEUMOTHORAX:
        free = edge(-0.42 - 0.08 * size - canvas.y + 0.2, 0.05)
        change = -0.07 * free
    elif kind is Kind.PLEURAL_THICKENING:
        change = 0.14 * edge(canvas.x - 0.38, 0.08) * edge(0.3 - np.abs(canvas.y + 0.2), 0.2)
    elif kind is Kind.WIDE_MEDIASTINUM:
        change = 0.12 * canvas.blob((-0.1, -0.5), (0.28, 0.22))
    return np.asarray(change * lung, dtype=np.float32)
