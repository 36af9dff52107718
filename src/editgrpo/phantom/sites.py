"""The two sites of the phantom, and every knob of its difficulty.

A `SiteProfile` holds how often each finding occurs, how images are exposed and how reports are
worded. To tune the regime of a training experiment, change these numbers or pass your own profile
to `write_phantom`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from editgrpo.errors import ConfigError
from editgrpo.phantom.findings import Kind, Topic

Range = tuple[float, float]


class Site(StrEnum):
    """The built-in sites."""

    A = "A"
    B = "B"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """Ranges from which each image draws uniformly."""

    rotation_deg: Range = (-3.0, 3.0)
    """Rotation of the patient in the image plane."""

    shift: Range = (-0.04, 0.04)
    """Displacement, in half image widths."""

    scale: Range = (0.95, 1.05)
    """Magnification."""

    contrast: Range = (0.9, 1.1)
    """Slope of the grey scale."""

    exposure: Range = (-0.03, 0.03)
    """Offset of the grey scale, of a full range of 1."""

    gamma: Range = (0.9, 1.12)
    """Exponent of the grey scale."""

    noise: Range = (0.012, 0.025)
    """Standard deviation of the pixel noise at 112 px, of a full range of 1."""

    clutter: float = 0.02
    """Standard deviation of the smooth unevenness of tissue, of a full range of 1."""

    border: Range = (0.0, 0.0)
    """Width of the black collimation border, in half image widths."""

    marker_at: tuple[float, float] = (0.88, -0.9)
    """Centre of the side marker, in image coordinates from -1 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrasing:
    """How reports are worded."""

    caption_share: float = 0.0
    """Share of studies whose findings are written as bare captions ("Effusion, left, small.") in a
    wording of their own; the shares below decide nothing there."""

    phrase_decay: float = 0.93
    """Each phrase of a list is this much as likely as the one before it.

    1 makes all equally likely (highest entropy); a value above 1 prefers the end of the lists.
    """

    terse_share: float = 0.3
    """Share of abnormal findings written as a bare noun phrase ("Small left pleural effusion.")."""

    hedge_share: float = 0.08
    """Share of suitable findings that are hedged ("possible", "may represent")."""

    pneumonia_share: float = 0.4
    """Share of consolidations that are called, or said to suggest, pneumonia."""

    normal_shares: Mapping[Topic, float] = field(
        default_factory=lambda: {
            Topic.HEART: 0.95,
            Topic.LUNGS: 0.97,
            Topic.PLEURA: 0.97,
            Topic.BONES: 0.45,
            Topic.OTHER: 0.3,
            Topic.DEVICES: 0.0,
        }
    )
    """Chance that a topic without findings gets a normal statement; it also gets one beside
    findings that the statement does not deny."""

    thorough: bool = False
    """Whether normal statements deny all of their topic that they can.

    What a report leaves out is then a fact; otherwise it is partly the writer's habit.
    """

    second_normal: float = 0.4
    """Chance of another normal statement on a topic that has one, if it denies something more."""

    order_freedom: float = 0.35
    """Chance that the topics of a report come in random order instead of the usual one."""

    usual_order: tuple[Topic, ...] = (
        Topic.DEVICES,
        Topic.LUNGS,
        Topic.PLEURA,
        Topic.HEART,
        Topic.BONES,
        Topic.OTHER,
    )
    """The usual order of topics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteProfile:
    """A site: who comes, how films look, how radiologists write."""

    name: str
    """Prefix of the site's ids; also part of its random seed."""

    prevalence: Mapping[Kind, float]
    """Chance of each finding in a study, over all studies; at most `burdened_share`."""

    burdened_share: float = 0.45
    """Share of patients who can have findings at all; a smaller share gathers the same findings
    in fewer patients."""

    persistence: float = 0.55
    """Chance that a finding is still there in the patient's next study."""

    studies_per_patient: tuple[float, float, float] = (0.6, 0.3, 0.1)
    """Chances of a patient having one, two or three studies."""

    portable_share: float = 0.12
    """Share of bedside studies (AP frontal, no lateral) where no tube or line is present."""

    portable_share_devices: float = 0.5
    """The same where a tube or line is present."""

    rendering: Rendering = field(default_factory=Rendering)
    phrasing: Phrasing = field(default_factory=Phrasing)

    def __post_init__(self) -> None:
        if not 0 < self.burdened_share <= 1:
            raise ConfigError(
                f"burdened_share of site {self.name} is {self.burdened_share}; it must be in (0, 1]"
            )
        for kind in Kind:
            if not 0 <= self.prevalence.get(kind, -1) < self.burdened_share:
                raise ConfigError(
                    f"prevalence of {kind} at site {self.name} is {self.prevalence.get(kind)}; it"
                    f" must be given, and be below burdened_share ({self.burdened_share})"
                )


_SITE_A = SiteProfile(
    name="A",
    prevalence={
        Kind.CARDIOMEGALY: 0.11,
        Kind.WIDE_MEDIASTINUM: 0.015,
        Kind.OPACITY: 0.06,
        Kind.CONSOLIDATION: 0.05,
        Kind.EDEMA: 0.05,
        Kind.ATELECTASIS: 0.08,
        Kind.NODULE: 0.02,
        Kind.PNEUMOTHORAX: 0.015,
        Kind.EFFUSION: 0.09,
        Kind.PLEURAL_THICKENING: 0.015,
        Kind.FRACTURE: 0.015,
        Kind.ENDOTRACHEAL_TUBE: 0.03,
        Kind.GASTRIC_TUBE: 0.03,
        Kind.CENTRAL_LINE: 0.05,
        Kind.PACEMAKER: 0.04,
    },
)

_SITE_B = SiteProfile(
    name="B",
    prevalence={
        Kind.CARDIOMEGALY: 0.15,
        Kind.WIDE_MEDIASTINUM: 0.02,
        Kind.OPACITY: 0.06,
        Kind.CONSOLIDATION: 0.08,
        Kind.EDEMA: 0.08,
        Kind.ATELECTASIS: 0.09,
        Kind.NODULE: 0.015,
        Kind.PNEUMOTHORAX: 0.02,
        Kind.EFFUSION: 0.12,
        Kind.PLEURAL_THICKENING: 0.02,
        Kind.FRACTURE: 0.02,
        Kind.ENDOTRACHEAL_TUBE: 0.05,
        Kind.GASTRIC_TUBE: 0.05,
        Kind.CENTRAL_LINE: 0.07,
        Kind.PACEMAKER: 0.05,
    },
    burdened_share=0.55,
    persistence=0.65,
    portable_share=0.3,
    portable_share_devices=0.7,
    rendering=Rendering(
        rotation_deg=(-6.0, 6.0),
        shift=(-0.07, 0.07),
        scale=(0.9, 1.03),
        contrast=(0.72, 0.92),
        exposure=(0.02, 0.1),
        gamma=(0.8, 1.0),
        noise=(0.02, 0.04),
        clutter=0.03,
        border=(0.02, 0.09),
        marker_at=(-0.8, -0.86),
    ),
    phrasing=Phrasing(
        phrase_decay=1.12,
        terse_share=0.5,
        hedge_share=0.12,
        second_normal=0.5,
        usual_order=(
            Topic.HEART,
            Topic.LUNGS,
            Topic.PLEURA,
            Topic.OTHER,
            Topic.BONES,
            Topic.DEVICES,
        ),
    ),
)

PROFILES: Mapping[Site, SiteProfile] = {Site.A: _SITE_A, Site.B: _SITE_B}
