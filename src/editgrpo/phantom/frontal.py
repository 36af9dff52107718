"""The frontal film: density of each pixel, before the detector."""

import math

import numpy as np
from numpy.random import Generator

from editgrpo.phantom.anatomy import Anatomy, heart_ratio
from editgrpo.phantom.canvas import Array, Canvas, clouds, edge, pulse
from editgrpo.phantom.devices import frontal_device
from editgrpo.phantom.findings import Finding, Kind, Side
from editgrpo.phantom.frontal_findings import Lung, lung_finding

# Lung tissue takes this much density away from the soft tissue around it.
AIR = 0.40


def frontal_density(
    canvas: Canvas, anatomy: Anatomy, findings: tuple[Finding, ...], rng: Generator
) -> Array:
    """Draw the chest from the front.

    Args:
        canvas: The pixel grid.
        anatomy: The patient's body.
        findings: What is to be seen; resolved findings must be left out.
        rng: Source of texture.

    Returns:
        (H, W) float32 density, about 0 (air) to 1 (bone, metal).
    """
    heart = _heart(canvas, anatomy, heart_ratio(anatomy, findings))
    middle = _mediastinum(canvas, anatomy, findings)
    lungs = {
        side: _lung(canvas, anatomy, findings, side, (1 - heart) * (1 - middle))
        for side in (Side.RIGHT, Side.LEFT)
    }
    density = _body(canvas, anatomy) * np.float32(anatomy.soft_tissue)
    chest = edge(anatomy.base + 0.12 - canvas.y, 0.3)
    density += (0.07 * heart + 0.07 * middle) * (0.25 + 0.75 * chest)
    for side, lung in lungs.items():
        density -= AIR * lung.mask
        density += _vessels(lung, canvas, findings, rng)
        density += _ribs(lung, canvas, anatomy, _of(findings, Kind.FRACTURE, side))
    # After both lungs, so that a finding's texture leaves the other lung's vessels as they are.
    for side, lung in lungs.items():
        for finding in findings:
            if side in finding.sides or finding.kind is Kind.EDEMA:
                density += lung_finding(lung, canvas, anatomy, finding, rng)
    density += _skeleton(canvas, anatomy)
    for finding in findings:
        density += frontal_device(canvas, anatomy, finding)
    return density


def _of(findings: tuple[Finding, ...], kind: Kind, side: Side) -> Finding | None:
    return next((f for f in findings if f.kind is kind and side in f.sides), None)


def _body(canvas: Canvas, anatomy: Anatomy) -> Array:
    across = np.abs(canvas.x)
    shoulder = np.float32(-1.05) + 0.34 * np.clip((across - 0.24) / 0.5, 0, 1) ** 0.7
    trunk = np.float32(anatomy.half_width + 0.17) + 0.25 * edge(-canvas.y - 0.35, 0.5)
    return edge(canvas.y - shoulder, 0.06) * edge(trunk - across, 0.05)


def _heart(canvas: Canvas, anatomy: Anatomy, ratio: float) -> Array:
    width = ratio * 2 * anatomy.half_width
    half_height = 0.25 + 0.25 * (ratio - 0.43)
    skew = 0.45
    x = canvas.x - np.float32((0.17 - 0.1 * max(ratio - 0.5, 0)) * width)
    y = canvas.y - np.float32(anatomy.base - 0.17)
    # The skewed ellipse is exactly `width` wide.
    half_width = math.sqrt((width / 2) ** 2 - (skew * half_height) ** 2)
    radius: Array = np.sqrt(((x - skew * y) / half_width) ** 2 + (y / half_height) ** 2)
    ventricles = edge((1 - radius) * np.float32(half_height), 0.07)
    # The pulmonary trunk fills the waist between the aortic knob and the left ventricle.
    trunk = canvas.disc((0.10, anatomy.base - 0.42), (0.11, 0.16), 0.07)
    return np.maximum(ventricles, trunk)


def _mediastinum(canvas: Canvas, anatomy: Anatomy, findings: tuple[Finding, ...]) -> Array:
    half = anatomy.mediastinum
    wide = next((f for f in findings if f.kind is Kind.WIDE_MEDIASTINUM), None)
    extra = 0.0 if wide is None else 0.10 + 0.03 * wide.size
    level = edge(canvas.y + 0.95, 0.5) * edge(0.1 - canvas.y, 0.5)
    band = edge(np.float32(half) + extra * level - np.abs(canvas.x - 0.015), 0.045)
    knob = canvas.disc((half + extra * 0.9 + 0.015, -0.36), (0.075, 0.085), 0.04)
    return np.asarray(np.maximum(band, knob), dtype=np.float32)


def _lung(
    canvas: Canvas,
    anatomy: Anatomy,
    findings: tuple[Finding, ...],
    side: Side,
    uncovered: Array,
) -> Lung:
    sign = -1 if side is Side.RIGHT else 1
    u = canvas.x * sign
    collapse = _of(findings, Kind.ATELECTASIS, side)
    raised = 0.0 if collapse is None else 0.03 + 0.025 * collapse.size
    top = anatomy.dome(side) - raised
    t = np.clip((canvas.y - anatomy.apex) / (anatomy.base + 0.25 - anatomy.apex), 0, 1)
    lateral = _wall(anatomy, t)
    dome = top + 0.75 * (u - 0.36) ** 2
    cage = edge(lateral + 0.05 - u, 0.04) * edge(u, 0.04)
    top_of_lung = anatomy.apex + 1.3 * (u - 0.29) ** 2
    mask = edge(lateral - u, 0.04) * edge(canvas.y - top_of_lung, 0.05) * edge(u - 0.03, 0.04)
    mask = mask * edge(dome - canvas.y, 0.04) * uncovered
    return Lung(sign, u, lateral, dome, mask, cage)


def _wall(anatomy: Anatomy, t: Array | np.float32) -> Array:
    """Return the distance from the midline to the chest wall; t runs from 0 (apex) to 1."""
    return np.asarray(anatomy.half_width * (1 - (1 - t) ** 2.4) ** 0.48, dtype=np.float32)


def _vessels(lung: Lung, canvas: Canvas, findings: tuple[Finding, ...], rng: Generator) -> Array:
    edema = next((f for f in findings if f.kind is Kind.EDEMA), None)
    dx, dy = lung.u - 0.16, canvas.y + 0.06
    radius = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dy, dx + 0.03)
    wobble = clouds(canvas.x.shape[0], 6, rng)
    branches = np.cos(angle * 9 + 1.3 * wobble + 2 * radius) + np.cos(angle * 17 - 1.5 * wobble)
    strength = 0.055 if edema is None else 0.075 + 0.01 * edema.size
    hilum = 0.16 * canvas.blob((0.19 * lung.sign, -0.06), (0.085, 0.13))
    spread = np.exp(-radius * 2.2) * (1 - np.exp(-((radius / 0.13) ** 2)))
    tree = strength * np.clip(branches, 0, 2) * spread + hilum
    return np.asarray(tree * lung.mask, dtype=np.float32)


def _ribs(lung: Lung, canvas: Canvas, anatomy: Anatomy, fracture: Finding | None) -> Array:
    across = lung.u / np.float32(anatomy.half_width)
    sag = 0.34 * across * across - 0.10 * across
    phase = (canvas.y - sag) / np.float32(anatomy.rib_spacing) + np.float32(anatomy.rib_phase)
    height: Array | float = 0.055
    callus: Array | None = None
    if fracture is not None:
        at, beyond, callus = _break(lung, canvas, anatomy, fracture)
        phase = phase + 0.42 * at * beyond
        height = height + 0.13 * at
    back = pulse(phase, 0.42, 0.16) * height
    slope = (canvas.y + 0.45 * across) / np.float32(anatomy.rib_spacing * 1.15)
    front = pulse(slope, 0.35, 0.2) * 0.022 * edge(across - 0.35, 0.3)
    ribs = (back + front) * lung.cage * edge(0.62 - canvas.y, 0.4)
    if callus is not None:
        ribs = ribs + callus
    return np.asarray(ribs, dtype=np.float32)


def _break(
    lung: Lung, canvas: Canvas, anatomy: Anatomy, fracture: Finding
) -> tuple[Array, Array, Array]:
    """Return where a rib is broken, what lies beyond the break, and the density of its swelling."""
    y = -0.05 + 0.28 * fracture.offset[1]
    t = (y - anatomy.apex) / (anatomy.base + 0.25 - anatomy.apex)
    chest_wall = float(_wall(anatomy, np.float32(t)))
    u = chest_wall - 0.16
    at = canvas.blob((u * lung.sign, y), (0.20, 0.20))
    beyond = edge(lung.u - u, 0.03)
    swelling = canvas.disc(((chest_wall - 0.01) * lung.sign, y), (0.12, 0.15), 0.06)
    return at, beyond, (0.27 * swelling).astype(np.float32)


def _skeleton(canvas: Canvas, anatomy: Anatomy) -> Array:
    spine = edge(0.075 - np.abs(canvas.x), 0.03)
    discs = pulse(canvas.y / np.float32(anatomy.rib_spacing * 0.9), 0.7, 0.2)
    trachea = edge(0.045 - np.abs(canvas.x - 0.005), 0.03) * edge(-0.34 - canvas.y, 0.06)
    left = canvas.line(((0.07, -0.66), (0.3, -0.74), (0.74, -0.80)), 0.034)
    right = canvas.line(((-0.07, -0.66), (-0.3, -0.74), (-0.74, -0.80)), 0.034)
    stomach = canvas.disc((0.33, anatomy.left_base + 0.17), (0.14, 0.07), 0.06)
    density = (
        0.05 * spine * (0.5 + 0.5 * discs) - 0.12 * trachea + 0.15 * (left + right) - 0.10 * stomach
    )
    return np.asarray(density, dtype=np.float32)
