"""What stands behind the page: it loads while the page is open, and a fault of it is told there."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.config import ClinicalConfig, Target
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.errors import DataError
from editgrpo.page.bench import Bench, Phase
from editgrpo.page.cards import Card
from editgrpo.page.models import PageStudy, TriedModel
from editgrpo.page.shelf import PHANTOMS, told_apart
from editgrpo.training.streaming import Draft
from tests.data.candidates import a_study
from tests.training.tiny_run import Tiny


def bench(models: list[TriedModel], folder: Path, budget: PixelBudget | None = None) -> Bench:
    made = Bench(models, folder, budget=budget, clinical=ClinicalConfig())
    made.start()
    end = time.monotonic() + 60
    while made.phase is Phase.LOADING and time.monotonic() < end:
        time.sleep(0.05)
    return made


@pytest.fixture(scope="module")
def ready(tried: TriedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = bench([tried, tried], tmp_path_factory.mktemp("bench"))
    assert made.message == "Ready."
    yield made


@pytest.mark.slow
def test_phantoms_have_the_size_that_the_model_reads(ready: Bench) -> None:
    prepared, phantom = ready.shelves
    assert (prepared.name, phantom.name) == ("studies", "Phantom")
    assert len(phantom.studies) == PHANTOMS
    _, films = phantom.take(phantom.listed()[0], max_images=2)
    # A square of at most 56 x 56 pixels, as tests/training/tiny_run.py writes its set.
    assert {film.image.size for film in films} == {(56, 56)}
    with pytest.raises(DataError, match="has no study 'no-such'"):
        phantom.take("no-such", max_images=2)


@pytest.mark.slow
def test_sets_of_one_name_are_told_apart(ready: Bench) -> None:
    prepared, phantom = ready.shelves
    other = replace(phantom, name=prepared.name)
    names = [shelf.name for shelf in told_apart([prepared, other, phantom])]
    assert names == [
        f"studies ({prepared.studies.folder})",
        f"studies ({phantom.studies.folder})",
        "Phantom",
    ]


@pytest.mark.slow
def test_two_models_write_in_turn_and_reports_are_counted(ready: Bench) -> None:
    assert ready.names[0] != ready.names[1]
    shelf = ready.shelves[0]
    study, films = shelf.take(shelf.listed()[0], max_images=2)
    before = ready.counts.reports
    asked = PageStudy(study=study, films=films)
    *_, cards = ready.write(asked, rows=range(2), temperature=1.0)
    assert [(card.model, card.number) for card in cards] == [
        (name, number) for name in ready.names for number in (0, 1)
    ]
    assert ready.counts.reports == before + 4
    ready.judge(cards, study.findings, "rules")
    assert ready.counts.scored == 4


def test_each_model_is_scored_by_its_own_target(tried: TriedModel, tmp_path: Path) -> None:
    """One writes findings, the other an impression: each against that section, alone."""
    other = replace(tried, data=replace(tried.data, target=Target.IMPRESSION))
    two = Bench([tried, other], tmp_path, budget=None, clinical=ClinicalConfig())
    findings, impression = "Moderate cardiomegaly.", "No pleural effusion."
    cards = [
        Card(model=name, kind="", draft=Draft(text=text, is_finished=True))
        for name in two.names
        for text in (findings, impression)
    ]
    study = a_study("s", findings=findings, impression=impression)
    reference = two.reference_text(study)
    assert reference == f"FINDINGS: {findings}\nIMPRESSION: {impression}"
    found, message = two.judge(cards, reference, "rules")
    assert message == ""
    # `rules` sums three components of at most 1; findings and impression share nothing.
    assert [one and one.reward.report for one in found] == [
        pytest.approx(3.0), pytest.approx(0.0), pytest.approx(0.0), pytest.approx(3.0)
    ]  # fmt: skip
    assert two.counts.scored == 4
    found, message = two.judge(cards, two.reference_text(replace(study, impression="")), "rules")
    assert [one is not None for one in found] == [True, True, False, False]
    assert message == "The reference has no impression; write IMPRESSION: before it."
    alone = replace(study, findings="")
    assert two.reference_text(alone) == f"IMPRESSION: {impression}"
    assert two.judge(cards, two.reference_text(alone), "rules")[0][:2] == [None, None]


@pytest.mark.slow
def test_a_reader_who_leaves_lets_the_next_one_in(ready: Bench) -> None:
    shelf = ready.shelves[0]
    study, films = shelf.take(shelf.listed()[0], max_images=2)
    asked = PageStudy(study=study, films=films)
    first = ready.write(asked)
    next(first)
    first.close()
    *_, cards = ready.write(asked)
    assert len(cards) == 2


def test_a_model_that_cannot_be_loaded_is_told_on_the_page(
    tried: TriedModel, tmp_path: Path
) -> None:
    made = bench([tried], tmp_path, PixelBudget(multiple_of=32))
    assert made.phase is Phase.FAILED
    assert "multiples of 28" in made.message


def test_a_set_without_studies_is_told_on_the_page(
    tiny: Tiny, tried: TriedModel, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "prepared.json").write_text("{")
    data = tiny.data(folder=str(tmp_path / "set"))
    made = bench([replace(tried, data=data)], tmp_path)
    assert made.phase is Phase.FAILED
    assert "prepared.json" in made.message
