"""Patients: how many studies each has, and how findings come, stay, change and go.

The chance of each finding is the same in every study of a patient's course, so prevalences do not
depend on how many prior studies there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from numpy.random import Generator

from editgrpo.phantom.findings import DEVICES, Finding, Kind, Progress, Side, Size, Zone
from editgrpo.phantom.sites import SiteProfile

Findings = tuple[Finding, ...]

# Chances of (right, left, bilateral) and of (upper, middle, lower), by finding.
_SIDES: Mapping[Kind, tuple[float, float, float]] = {
    Kind.OPACITY: (0.5, 0.5, 0.0),
    Kind.CONSOLIDATION: (0.5, 0.5, 0.0),
    Kind.ATELECTASIS: (0.35, 0.35, 0.3),
    Kind.NODULE: (0.5, 0.5, 0.0),
    Kind.PNEUMOTHORAX: (0.5, 0.5, 0.0),
    Kind.EFFUSION: (0.35, 0.35, 0.3),
    Kind.PLEURAL_THICKENING: (0.5, 0.5, 0.0),
    Kind.FRACTURE: (0.5, 0.5, 0.0),
    Kind.CENTRAL_LINE: (0.7, 0.3, 0.0),
    Kind.PACEMAKER: (0.15, 0.85, 0.0),
}
_ZONES: Mapping[Kind, tuple[float, float, float]] = {
    Kind.OPACITY: (0.25, 0.25, 0.5),
    Kind.CONSOLIDATION: (0.3, 0.2, 0.5),
    Kind.NODULE: (0.4, 0.3, 0.3),
}
_SIZE_CHANCES = (0.45, 0.35, 0.2)
# Findings whose size does not change from one study to the next.
_FIXED_SIZE = DEVICES | {Kind.NODULE, Kind.FRACTURE, Kind.PLEURAL_THICKENING, Kind.WIDE_MEDIASTINUM}
# Findings that do not go away within the time between two studies.
_LASTING = frozenset(
    {Kind.PACEMAKER, Kind.FRACTURE, Kind.PLEURAL_THICKENING, Kind.NODULE, Kind.WIDE_MEDIASTINUM}
)
_BASAL = frozenset({Kind.OPACITY, Kind.CONSOLIDATION, Kind.ATELECTASIS})


@dataclass(frozen=True, slots=True)
class Course:
    """One patient over time.

    Attributes:
        findings: For each study, oldest first, its findings; resolved ones included.
    """

    findings: tuple[Findings, ...]


def draw_course(profile: SiteProfile, rng: Generator) -> Course:
    """Draw how many studies a patient has and what each of them shows."""
    n_studies = 1 + int(rng.choice(3, p=profile.studies_per_patient))
    burdened = bool(rng.random() < profile.burdened_share)
    studies: list[Findings] = []
    for _ in range(n_studies):
        previous = studies[-1] if studies else None
        studies.append(_next_study(profile, rng, previous) if burdened else ())
    return Course(tuple(studies))


def _next_study(profile: SiteProfile, rng: Generator, previous: Findings | None) -> Findings:
    before = {f.kind: f for f in previous or () if f.progress is not Progress.RESOLVED}
    found: list[Finding] = []
    for kind in Kind:
        chance = profile.prevalence[kind] / profile.burdened_share
        if kind in before:
            stays = kind in _LASTING or rng.random() < profile.persistence
            found.append(_follow(before[kind], rng) if stays else _resolve(before[kind]))
            continue
        if previous is not None:
            # Gains balance losses: chance = chance * persistence + (1 - chance) * gain.
            persistence = 1.0 if kind in _LASTING else profile.persistence
            chance *= (1 - persistence) / (1 - chance)
        if rng.random() < chance:
            progress = Progress.NONE if previous is None else Progress.NEW
            found.append(_draw(kind, progress, rng))
    return _keep_visible(tuple(found))


def _draw(kind: Kind, progress: Progress, rng: Generator) -> Finding:
    side, zone = Side.NONE, Zone.NONE
    if kind in _SIDES:
        side = (Side.RIGHT, Side.LEFT, Side.BILATERAL)[int(rng.choice(3, p=_SIDES[kind]))]
    if kind in _ZONES:
        zone = (Zone.UPPER, Zone.MIDDLE, Zone.LOWER)[int(rng.choice(3, p=_ZONES[kind]))]
    size = Size(1 + int(rng.choice(3, p=_SIZE_CHANCES)))
    offset = (float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)))
    return Finding(kind=kind, side=side, zone=zone, size=size, progress=progress, offset=offset)


def _follow(finding: Finding, rng: Generator) -> Finding:
    if finding.kind in _FIXED_SIZE or rng.random() < 0.5:
        return replace(finding, progress=Progress.UNCHANGED)
    step = 1 if finding.size is Size.SMALL or rng.random() < 0.5 else -1
    if finding.size + step > Size.LARGE:
        step = -1
    progress = Progress.LARGER if step > 0 else Progress.SMALLER
    return replace(finding, size=Size(finding.size + step), progress=progress)


def _resolve(finding: Finding) -> Finding:
    return replace(finding, progress=Progress.RESOLVED)


def _keep_visible(findings: Findings) -> Findings:
    """Cap an effusion that would hide another finding of the same lung base."""
    hidden = {
        side
        for f in findings
        if f.kind in _BASAL and f.zone is not Zone.UPPER and f.progress is not Progress.RESOLVED
        for side in f.sides
    }
    return tuple(
        _cap(f) if f.kind is Kind.EFFUSION and hidden.intersection(f.sides) else f for f in findings
    )


def _cap(effusion: Finding) -> Finding:
    if effusion.progress is Progress.RESOLVED or effusion.size is not Size.LARGE:
        return effusion
    # What grew to large was moderate before; what stayed large becomes smaller by the cap.
    progress = {
        Progress.LARGER: Progress.UNCHANGED,
        Progress.UNCHANGED: Progress.SMALLER,
    }.get(effusion.progress, effusion.progress)
    return replace(effusion, size=Size.MODERATE, progress=progress)
