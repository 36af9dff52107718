"""The body of a phantom patient: measures that stay the same in all of the patient's films."""

from dataclasses import dataclass

from numpy.random import Generator

from editgrpo.phantom.findings import Finding, Kind, Side, Size

# Share of the inner width of the thorax that the heart takes; above 0.5 is enlarged.
NORMAL_HEART = (0.40, 0.46)
ENLARGED_HEART = {Size.SMALL: (0.54, 0.57), Size.MODERATE: (0.60, 0.64), Size.LARGE: (0.67, 0.71)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Measures in half image widths (the detector is 2 wide), from the front unless said.

    Attributes:
        half_width: Half of the widest inner thorax.
        apex: Height of the lung apices (negative is up).
        base: Height of the right diaphragm dome.
        left_base: Height of the left diaphragm dome.
        heart: Cardiothoracic ratio when healthy.
        mediastinum: Half width of the upper mediastinum.
        rib_spacing: Distance of neighbouring posterior ribs.
        rib_phase: Where the first rib starts, in periods.
        depth: Half of the front-to-back width of the thorax, seen from the side.
        soft_tissue: Density of muscle and fat, of a full range of 1.
    """

    half_width: float
    apex: float
    base: float
    left_base: float
    heart: float
    mediastinum: float
    rib_spacing: float
    rib_phase: float
    depth: float
    soft_tissue: float

    def dome(self, side: Side) -> float:
        """Return the height of a side's diaphragm dome."""
        return self.base if side is Side.RIGHT else self.left_base


def draw_anatomy(rng: Generator) -> Anatomy:
    """Draw a body."""
    base = float(rng.uniform(0.36, 0.47))
    return Anatomy(
        half_width=float(rng.uniform(0.72, 0.82)),
        apex=float(rng.uniform(-0.85, -0.78)),
        base=base,
        left_base=base + float(rng.uniform(0.02, 0.07)),
        heart=float(rng.uniform(*NORMAL_HEART)),
        mediastinum=float(rng.uniform(0.11, 0.135)),
        rib_spacing=float(rng.uniform(0.155, 0.185)),
        rib_phase=float(rng.uniform(0, 1)),
        depth=float(rng.uniform(0.56, 0.66)),
        soft_tissue=float(rng.uniform(0.56, 0.62)),
    )


def heart_ratio(anatomy: Anatomy, findings: tuple[Finding, ...]) -> float:
    """Return the cardiothoracic ratio of a study."""
    for finding in findings:
        if finding.kind is Kind.CARDIOMEGALY:
            low, high = ENLARGED_HEART[finding.size]
            return low + (high - low) * (finding.offset[0] + 1) / 2
    return anatomy.heart
