"""Each finding changes the film where it should, and the heart is as wide as it is said to be."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from editgrpo.data.study import View
from editgrpo.phantom.anatomy import draw_anatomy
from editgrpo.phantom.canvas import Canvas, Pose
from editgrpo.phantom.findings import Finding, Kind, Progress, Side, Size, Zone
from editgrpo.phantom.frontal import frontal_density
from editgrpo.phantom.lateral import lateral_density
from editgrpo.phantom.render import render_film
from editgrpo.phantom.sites import PROFILES, Site

CANVAS = Canvas.posed(112, Pose())
BODY = draw_anatomy(np.random.default_rng(0))
SIDED = (
    Kind.OPACITY,
    Kind.CONSOLIDATION,
    Kind.ATELECTASIS,
    Kind.NODULE,
    Kind.PNEUMOTHORAX,
    Kind.EFFUSION,
    Kind.PLEURAL_THICKENING,
    Kind.FRACTURE,
)


def frontal(*findings: Finding) -> NDArray[np.float32]:
    return frontal_density(CANVAS, BODY, findings, np.random.default_rng(1))


def lateral(*findings: Finding) -> NDArray[np.float32]:
    return lateral_density(CANVAS, BODY, findings, np.random.default_rng(1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("size", list(Size))
def test_every_finding_stands_out_of_the_noise_of_a_frontal_film(kind: Kind, size: Size) -> None:
    finding = Finding(kind=kind, side=Side.LEFT, zone=Zone.LOWER, size=size)
    change = np.abs(frontal(finding) - frontal())
    # At least 20 pixels change by 4 deviations of the median pixel noise of site A (0.0185).
    assert (change > 4 * 0.0185).sum() >= 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIDED)
@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT])
def test_a_finding_lies_on_its_own_side(kind: Kind, side: Side) -> None:
    change = np.abs(
        frontal(Finding(kind=kind, side=side, zone=Zone.UPPER, size=Size.MODERATE)) - frontal()
    )
    image_left, image_right = change[:, :56].sum(), change[:, 56:].sum()
    own, other = (image_left, image_right) if side is Side.RIGHT else (image_right, image_left)
    assert own > 20 * other


@pytest.mark.parametrize("kind", [Kind.CONSOLIDATION, Kind.OPACITY, Kind.NODULE])
def test_zones_are_in_order_from_above(kind: Kind) -> None:
    rows = np.arange(112)[:, None]
    heights = []
    for zone in (Zone.UPPER, Zone.MIDDLE, Zone.LOWER):
        change = np.abs(frontal(Finding(kind=kind, side=Side.RIGHT, zone=zone)) - frontal())
        heights.append((change * rows).sum() / change.sum())
    assert heights[0] + 10 < heights[1] < heights[2] - 5


def measured_heart_ratio(*findings: Finding) -> float:
    """Measure the heart as a reader does: its farthest right plus its farthest left border, over
    the inner width of the chest."""
    density = frontal(*findings)
    is_lung = density < BODY.soft_tissue - 0.2
    top, bottom = (int((BODY.base + offset + 1) / 2 * 112) for offset in (-0.40, -0.10))
    right = max(int(np.argmax(row[55::-1])) for row in is_lung[top:bottom])
    left = max(int(np.argmax(row[56:])) for row in is_lung[top:bottom])
    return (right + left) / (BODY.half_width * 112)


@pytest.mark.parametrize(
    ("size", "expected"),
    # Middle of each grade's range in docs/phantom.md: .54-.57, .60-.64, .67-.71.
    [(Size.SMALL, 0.555), (Size.MODERATE, 0.62), (Size.LARGE, 0.69)],
)
def test_the_heart_is_as_wide_as_its_grade_says(size: Size, expected: float) -> None:
    # A pixel is 0.012 of the chest; both borders are soft, 3 to 4 pixels wide.
    enlarged = measured_heart_ratio(Finding(kind=Kind.CARDIOMEGALY, size=size))
    assert enlarged == pytest.approx(expected, abs=0.03)


def test_a_normal_heart_is_below_half_of_the_chest() -> None:
    assert measured_heart_ratio() == pytest.approx(BODY.heart, abs=0.03)
    assert measured_heart_ratio() < 0.5


def test_an_effusion_is_dense_and_a_pneumothorax_is_not() -> None:
    fluid = frontal(Finding(kind=Kind.EFFUSION, side=Side.LEFT)) - frontal()
    air = frontal(Finding(kind=Kind.PNEUMOTHORAX, side=Side.LEFT, size=Size.LARGE)) - frontal()
    assert fluid.min() > -0.01
    assert fluid.max() > 0.25
    assert air.min() < -0.08


@pytest.mark.parametrize("size", list(Size))
def test_an_effusion_grows_with_its_size_in_both_views(size: Size) -> None:
    smaller = Finding(kind=Kind.EFFUSION, side=Side.LEFT, size=size)
    if size is Size.LARGE:
        larger = replace(smaller, side=Side.BILATERAL)
    else:
        larger = replace(smaller, size=Size(size + 1))
    for draw in (frontal, lateral):
        assert (draw(larger) - draw()).sum() > (draw(smaller) - draw()).sum() > 0


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.FRACTURE}))
def test_all_but_a_fracture_show_from_the_side(kind: Kind) -> None:
    change = lateral(Finding(kind=kind, side=Side.LEFT, zone=Zone.LOWER)) - lateral()
    assert np.abs(change).max() > 0.04


def test_a_resolved_finding_is_not_drawn() -> None:
    gone = Finding(kind=Kind.EFFUSION, side=Side.LEFT, progress=Progress.RESOLVED)
    films = [
        render_film(
            BODY,
            findings,
            view=View.PA,
            rendering=PROFILES[Site.A].rendering,
            size_px=64,
            rng=np.random.default_rng(2),
        )
        for findings in ((gone,), ())
    ]
    np.testing.assert_array_equal(films[0], films[1])


def test_sites_expose_differently() -> None:
    def contrast(site: Site) -> float:
        films = [
            render_film(
                BODY,
                (),
                view=View.PA,
                rendering=PROFILES[site].rendering,
                size_px=64,
                rng=np.random.default_rng(number),
            )
            for number in range(20)
        ]
        return float(
            np.mean([film[20:36, 29:35].mean() - film[20:36, 14:22].mean() for film in films])
        )

    assert contrast(Site.A) > 1.1 * contrast(Site.B) > 0
