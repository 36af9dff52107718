"""The demo's sites: most studies normal, rare findings rare, and two that differ."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from editgrpo.demo.base import RARE_FINDINGS
from editgrpo.demo.sites import (
    DEMO_PROFILES,
    INPATIENTS_A,
    INPATIENTS_B,
    OUTPATIENTS_A,
    UNCOMMON,
)
from editgrpo.files import read_jsonl
from editgrpo.phantom import CHEXPERT_CLASS, TRUTH_FILE, Site, write_phantom

STUDIES = 400
RARE_KINDS = [kind for kind, name in CHEXPERT_CLASS.items() if name in RARE_FINDINGS]


@cache
def findings_of_studies(site: Site, folder: Path) -> list[set[str]]:
    """The findings that are there in each study; resolved ones are not."""
    write_phantom(folder, studies=STUDIES, site=DEMO_PROFILES[site], seed=0, size_px=32, workers=1)
    return [
        {f["kind"] for f in row["findings"] if f["progress"] != "resolved"}
        for _, row in read_jsonl(folder / TRUTH_FILE)
    ]


@pytest.fixture(params=Site)
def site(request: pytest.FixtureRequest) -> Site:
    chosen: Site = request.param
    return chosen


@pytest.fixture
def studies(site: Site, tmp_path_factory: pytest.TempPathFactory) -> list[set[str]]:
    return findings_of_studies(site, tmp_path_factory.getbasetemp() / f"demo-site-{site.value}")


def test_rare_findings_are_planned_to_be_rare(site: Site) -> None:
    assert len(RARE_KINDS) == len(RARE_FINDINGS)
    assert max(DEMO_PROFILES[site].prevalence[kind] for kind in RARE_KINDS) <= 0.03


@pytest.mark.slow
def test_rare_findings_are_rare_in_what_is_written(studies: list[set[str]]) -> None:
    counts = Counter(kind for found in studies for kind in found)
    # All of them together: 5 x 400 chances at 3 % or less. Of a single one, 400 chances at 3 %
    # give 12, and seldom over 12 + 3 x sqrt(12) = 22.
    assert 0 < sum(counts[kind] for kind in RARE_KINDS) <= 0.03 * STUDIES * len(RARE_KINDS)
    assert max(counts[kind] for kind in RARE_KINDS) <= 22


@pytest.mark.slow
def test_more_than_half_of_the_studies_of_the_first_site_are_normal(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"demo-site-{Site.A.value}"
    studies = findings_of_studies(Site.A, folder)
    assert len(studies) == STUDIES
    assert sum(not found for found in studies) > STUDIES / 2


def test_the_sites_differ_in_who_comes_how_films_look_and_how_reports_read() -> None:
    one, two = DEMO_PROFILES[Site.A], DEMO_PROFILES[Site.B]
    assert one.name != two.name
    assert one.prevalence != two.prevalence
    assert one.rendering != two.rendering
    assert one.phrasing != two.phrasing


def test_outpatients_and_inpatients_of_a_site_differ_in_the_uncommon_findings_alone() -> None:
    changed = {
        kind
        for kind, share in INPATIENTS_A.prevalence.items()
        if share != OUTPATIENTS_A.prevalence[kind]
    }
    assert changed == set(UNCOMMON)
    assert (
        replace(OUTPATIENTS_A, name=INPATIENTS_A.name, prevalence=INPATIENTS_A.prevalence)
        == INPATIENTS_A
    )


def test_inpatients_of_the_other_site_have_the_same_findings_as_often() -> None:
    assert INPATIENTS_B.prevalence == INPATIENTS_A.prevalence
    assert INPATIENTS_B.rendering != INPATIENTS_A.rendering
    assert INPATIENTS_B.phrasing != INPATIENTS_A.phrasing
