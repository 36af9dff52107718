"""Findings occur as often as the profile says, and change over time as the report says."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from editgrpo.phantom.findings import Finding, Kind, Progress, Size
from editgrpo.phantom.patients import draw_course
from editgrpo.phantom.sites import PROFILES, Site

N_PATIENTS = 6000


@cache
def courses(site: Site) -> list[tuple[tuple[Finding, ...], ...]]:
    return [
        draw_course(PROFILES[site], np.random.default_rng([7, n])).findings
        for n in range(N_PATIENTS)
    ]


def present(findings: tuple[Finding, ...]) -> dict[Kind, Finding]:
    return {f.kind: f for f in findings if f.progress is not Progress.RESOLVED}


@pytest.mark.slow
@pytest.mark.parametrize("site", list(Site))
@pytest.mark.parametrize("kind", list(Kind))
def test_first_and_later_studies_have_the_prevalence_of_the_profile(site: Site, kind: Kind) -> None:
    expected = PROFILES[site].prevalence[kind]
    first = [kind in present(course[0]) for course in courses(site)]
    later = [kind in present(course[1]) for course in courses(site) if len(course) > 1]
    for shown in (first, later):
        # Patients are independent, so the count is binomial; 4.5 deviations.
        bound = 4.5 * np.sqrt(expected * (1 - expected) / len(shown))
        assert abs(np.mean(shown) - expected) < bound


@pytest.mark.parametrize("site", list(Site))
def test_over_half_of_the_studies_are_normal_and_a_third_has_a_prior(site: Site) -> None:
    studies = [findings for course in courses(site) for findings in course]
    assert np.mean([not present(findings) for findings in studies]) > 0.5
    # 0.6, 0.3 and 0.1 of the patients have 1, 2 and 3 studies: 0.5 of 1.5 studies have a prior.
    assert 1 - N_PATIENTS / len(studies) == pytest.approx(1 / 3, abs=0.02)


def test_rare_findings_are_rare_at_both_sites() -> None:
    rare = (
        Kind.PNEUMOTHORAX,
        Kind.FRACTURE,
        Kind.NODULE,
        Kind.PLEURAL_THICKENING,
        Kind.WIDE_MEDIASTINUM,
    )
    shares = [PROFILES[site].prevalence[kind] for site in Site for kind in rare]
    assert 0.01 <= min(shares) <= max(shares) <= 0.02


# What the size does when the report says so.
_SIGN = {Progress.UNCHANGED: 0, Progress.LARGER: 1, Progress.SMALLER: -1}


@pytest.mark.parametrize("site", list(Site))
def test_progress_agrees_with_the_study_before(site: Site) -> None:
    seen: set[Progress] = set()
    for course in courses(site):
        assert all(f.progress is Progress.NONE for f in course[0])
        for before, after in pairwise(course):
            old = present(before)
            assert set(old) <= {f.kind for f in after}
            for finding in after:
                seen.add(finding.progress)
                if finding.progress is Progress.NEW:
                    assert finding.kind not in old
                    continue
                earlier = old[finding.kind]
                assert (earlier.side, earlier.zone) == (finding.side, finding.zone)
                assert earlier.offset == finding.offset
                if finding.progress is not Progress.RESOLVED:
                    assert np.sign(finding.size - earlier.size) == _SIGN[finding.progress]
    assert seen == set(Progress) - {Progress.NONE}


def test_an_effusion_never_drowns_another_finding_of_its_lung_base() -> None:
    for course in courses(Site.B):
        for findings in course:
            shown = present(findings)
            effusion = shown.get(Kind.EFFUSION)
            atelectasis = shown.get(Kind.ATELECTASIS)
            if effusion and atelectasis and set(effusion.sides) & set(atelectasis.sides):
                assert effusion.size < Size.LARGE
