"""Reports say all that is there and deny nothing of it; the rules labeler reads them so."""

from functools import cache

import numpy as np
import pytest

from editgrpo.phantom.findings import (
    CHEXPERT_CLASS,
    Finding,
    Kind,
    Progress,
    Side,
    Size,
    Zone,
)
from editgrpo.phantom.grammar import Report, write_report
from editgrpo.phantom.patients import draw_course
from editgrpo.phantom.sites import PROFILES, Phrasing, Site
from editgrpo.reports import load_labeler
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX

Drawn = list[tuple[tuple[Finding, ...], Report]]


@cache
def drawn_reports(site: Site) -> Drawn:
    drawn: Drawn = []
    for number in range(400):
        rng = np.random.default_rng([11, number])
        for index, findings in enumerate(draw_course(PROFILES[site], rng).findings):
            report = write_report(
                findings,
                phrasing=PROFILES[site].phrasing,
                has_prior=index > 0,
                bedside=False,
                rng=rng,
            )
            drawn.append((findings, report))
    return drawn


@pytest.mark.parametrize("site", list(Site))
def test_the_rules_labeler_recovers_what_the_report_states(site: Site) -> None:
    labels_S14 = load_labeler("rules").label([report.findings for _, report in drawn_reports(site)])
    stated_S14 = np.array(
        [[name in report.labels for name in FINDINGS] for _, report in drawn_reports(site)]
    )
    found, stated = labels_S14[:, :NO_FINDING_INDEX] == 1, stated_S14[:, :NO_FINDING_INDEX]
    assert 2 * (found & stated).sum() / (found.sum() + stated.sum()) >= 0.97


@pytest.mark.parametrize("site", list(Site))
def test_a_report_states_every_finding_that_is_present(site: Site) -> None:
    for findings, report in drawn_reports(site):
        shown = {f.kind for f in findings if f.progress is not Progress.RESOLVED}
        expected = {CHEXPERT_CLASS[kind] for kind in shown}
        # A consolidation may be called pneumonia, with or without its own name.
        lung = {"Consolidation", "Pneumonia"}
        assert set(report.labels) - lung == expected - lung
        assert bool(set(report.labels) & lung) == (Kind.CONSOLIDATION in shown)


@pytest.mark.parametrize("site", list(Site))
def test_no_normal_statement_stands_beside_what_it_denies(site: Site) -> None:
    denials = {
        Kind.EFFUSION: ("no pleural effusion", "no effusion", "pneumothorax or effusion"),
        Kind.PNEUMOTHORAX: ("no pneumothorax", "effusion or pneumothorax"),
        Kind.CARDIOMEGALY: ("normal heart size", "heart size is within", "normal in size"),
        Kind.OPACITY: ("lungs are clear", "no focal airspace opacity"),
        Kind.NODULE: ("lungs are clear", "no nodule"),
        Kind.FRACTURE: ("bones are intact", "no acute fracture"),
    }
    for findings, report in drawn_reports(site):
        text = report.findings.lower()
        for finding in findings:
            if finding.progress is not Progress.RESOLVED:
                assert not any(denial in text for denial in denials.get(finding.kind, ()))


@pytest.mark.parametrize("site", list(Site))
def test_reports_are_short_and_varied(site: Site) -> None:
    texts = [report.findings for _, report in drawn_reports(site)]
    normal = [
        len(report.findings.split()) for findings, report in drawn_reports(site) if not findings
    ]
    words = {word.strip(".,").lower() for text in texts for word in text.split()}
    assert len(set(texts)) > 0.9 * len(texts)
    assert 20 <= np.mean(normal) <= 35
    assert len(words) < 250
    assert not any("{" in text or "  " in text or ".." in text for text in texts)


def test_sites_prefer_different_words() -> None:
    share = {
        site: np.mean(
            ["The lungs are clear." in report.findings for _, report in drawn_reports(site)]
        )
        for site in Site
    }
    assert share[Site.A] > 1.5 * share[Site.B]


def test_the_indication_hints_only_weakly() -> None:
    def share(kind: Kind, indication: str) -> tuple[float, float]:
        drawn = drawn_reports(Site.A) + drawn_reports(Site.B)
        named = [r.indication == indication for f, r in drawn if kind in {x.kind for x in f}]
        others = [r.indication == indication for f, r in drawn if kind not in {x.kind for x in f}]
        return float(np.mean(named)), float(np.mean(others))

    with_it, without_it = share(Kind.CARDIOMEGALY, "Heart failure.")
    assert without_it < with_it < 4 * without_it


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress.NEW, {"new"}),
        (Progress.UNCHANGED, {"unchanged", "stable", "again"}),
        (Progress.LARGER, {"increased", "larger"}),
        (Progress.SMALLER, {"decreased", "smaller"}),
        (Progress.RESOLVED, {"residual", "longer"}),
    ],
)
def test_change_since_the_prior_study_is_worded(progress: Progress, words: set[str]) -> None:
    finding = Finding(kind=Kind.EFFUSION, side=Side.LEFT, size=Size.MODERATE, progress=progress)
    phrasing = PROFILES[Site.A].phrasing
    hedges = {"possible", "probable", "may", "suspected"}
    for number in range(40):
        report = write_report(
            (finding,),
            phrasing=phrasing,
            has_prior=True,
            bedside=False,
            rng=np.random.default_rng(number),
        )
        said = {word.strip(".,").lower() for word in report.findings.split()}
        assert said & (words | (hedges if progress is Progress.NEW else set()))
        assert ("Pleural Effusion" in report.labels) == (progress is not Progress.RESOLVED)


def captions_of(*findings: Finding) -> Report:
    return write_report(
        findings,
        phrasing=Phrasing(caption_share=1.0),
        has_prior=False,
        bedside=False,
        rng=np.random.default_rng(0),
    )


def test_captions_name_side_height_and_size_in_the_order_of_the_findings() -> None:
    report = captions_of(
        Finding(kind=Kind.EFFUSION, side=Side.LEFT, size=Size.SMALL),
        Finding(kind=Kind.OPACITY, side=Side.RIGHT, zone=Zone.UPPER, size=Size.LARGE),
        Finding(kind=Kind.CENTRAL_LINE, side=Side.RIGHT),
        Finding(kind=Kind.WIDE_MEDIASTINUM),
    )
    assert report.findings == (
        "Wide mediastinum. Opacity, right, upper, large. Effusion, left, small. "
        "Central line, right."
    )
    assert set(report.labels) == {
        "Enlarged Cardiomediastinum", "Lung Opacity", "Pleural Effusion", "Support Devices",
    }  # fmt: skip


def test_a_film_without_findings_has_a_caption_that_denies_nothing() -> None:
    gone = Finding(kind=Kind.EDEMA, progress=Progress.RESOLVED)
    assert captions_of(gone).findings == "Nothing to name."
    assert captions_of(gone).labels == ()


@pytest.mark.parametrize("kind", list(Kind))
def test_the_rules_labeler_reads_every_caption(kind: Kind) -> None:
    side = Side.LEFT if kind is not Kind.CARDIOMEGALY else Side.NONE
    text = captions_of(Finding(kind=kind, side=side)).findings
    [labels] = load_labeler("rules").label([text])
    # Devices alone leave a study without a finding, so the last class says nothing here.
    named = zip(FINDINGS[:NO_FINDING_INDEX], labels[:NO_FINDING_INDEX], strict=True)
    assert [name for name, value in named if value == 1] == [CHEXPERT_CLASS[kind]]


def test_no_site_words_a_finding_as_its_caption_does() -> None:
    sentences = {
        sentence
        for drawn in map(drawn_reports, Site)
        for _, report in drawn
        for sentence in report.findings.split(". ")
    }
    captions = {captions_of(Finding(kind=kind)).findings.rstrip(".") for kind in Kind}
    assert not captions & {sentence.rstrip(".") for sentence in sentences}
