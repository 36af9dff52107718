"""A phantom data set is reproducible to the byte, loads like any other, never splits a patient."""

import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study, Timepoint, View
from editgrpo.errors import ConfigError, DataError
from editgrpo.phantom import (
    PROFILES,
    TRUTH_FILE,
    Kind,
    PhantomSummary,
    Phrasing,
    Site,
    write_phantom,
)

N_STUDIES = 60


@pytest.fixture(scope="module", params=list(Site))
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PhantomSummary]:
    folder = tmp_path_factory.mktemp("phantom") / "studies"
    summary = write_phantom(folder, studies=N_STUDIES, site=request.param, seed=3, size_px=40)
    return folder, summary


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def truth(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / TRUTH_FILE).read_text().splitlines()]


@pytest.mark.slow
def test_summary_counts_what_is_on_disk(written: tuple[Path, PhantomSummary]) -> None:
    folder, summary = written
    studies = StudySet.load(folder)
    assert summary.studies == len(studies) == len(truth(folder)) == N_STUDIES
    shown = {image.image_id for study in studies for image in study.images}
    assert summary.images == len(studies.images) == len(shown)
    assert set(studies.images) == shown
    assert summary.patients == len({study.patient_id for study in studies})
    assert sum(summary.splits.values()) == N_STUDIES


def test_every_image_is_there_and_is_grey_of_the_asked_size(
    written: tuple[Path, PhantomSummary],
) -> None:
    folder, _ = written
    studies = StudySet.load(folder)
    films = [studies.images.load(name) for name in studies.images]
    assert {(film.mode, film.size, film.format) for film in films} == {("L", (40, 40), "PNG")}


def test_every_study_has_a_current_frontal_film(written: tuple[Path, PhantomSummary]) -> None:
    folder, _ = written
    for study in StudySet.load(folder):
        views = [image.view for image in study.images if image.timepoint is Timepoint.CURRENT]
        assert views in ([View.PA, View.LATERAL], [View.AP])


def test_no_patient_is_in_two_splits(written: tuple[Path, PhantomSummary]) -> None:
    folder, summary = written
    splits: dict[str, set[Split]] = defaultdict(set)
    for study in StudySet.load(folder):
        splits[study.patient_id].add(study.split)
    assert {len(of_patient) for of_patient in splits.values()} == {1}
    # Whole patients have at most 3 studies, so a boundary moves by at most 1.5 studies.
    assert abs(summary.splits[Split.TRAIN] - 0.7 * N_STUDIES) <= 1.5


def test_prior_images_are_those_of_the_study_before(written: tuple[Path, PhantomSummary]) -> None:
    folder, summary = written
    last: dict[str, Study] = {}
    with_prior = 0
    for study in StudySet.load(folder):
        prior = [image.image_id for image in study.images if image.timepoint is Timepoint.PRIOR]
        before = last.get(study.patient_id)
        expected = [
            image.image_id
            for image in (before.images if before else ())
            if image.timepoint is Timepoint.CURRENT
        ]
        assert prior == expected
        with_prior += bool(prior)
        last[study.patient_id] = study
    assert with_prior == summary.with_prior > 0


def test_only_studies_with_a_prior_speak_of_change(written: tuple[Path, PhantomSummary]) -> None:
    folder, _ = written
    for study, record in zip(StudySet.load(folder), truth(folder), strict=True):
        has_prior = any(image.timepoint is Timepoint.PRIOR for image in study.images)
        assert record["study_id"] == study.study_id
        assert all((f["progress"] != "none") == has_prior for f in record["findings"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        write_phantom(tmp_path / name, studies=40, site=Site.B, seed=5, size_px=32, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_other_reports_and_images(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_phantom(tmp_path / str(seed), studies=5, site=Site.A, seed=seed, size_px=32)
    first, second = (StudySet.load(tmp_path / seed) for seed in ("0", "1"))
    assert [study.findings for study in first] != [study.findings for study in second]
    name = "A-000000-1-frontal"
    assert first.images.png(name) != second.images.png(name)


def test_rewording_the_reports_leaves_the_images_as_they_are(tmp_path: Path) -> None:
    terse = replace(PROFILES[Site.A], phrasing=Phrasing(terse_share=1.0, second_normal=0.0))
    write_phantom(tmp_path / "usual", studies=12, site=Site.A, seed=0, size_px=32)
    write_phantom(tmp_path / "terse", studies=12, site=terse, seed=0, size_px=32)
    usual, reworded = contents(tmp_path / "usual"), contents(tmp_path / "terse")
    changed = {name for name in usual if usual[name] != reworded[name]}
    tables = {name for name in usual if name.startswith("studies/")}
    assert changed <= {*tables, TRUTH_FILE, "prepared.json"}
    assert "studies/train.arrow" in changed


@pytest.mark.slow
def test_progress_ends_at_the_number_of_studies(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_phantom(
        tmp_path / "studies",
        studies=50,
        site=Site.A,
        seed=0,
        size_px=32,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (50, 50)


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        write_phantom(tmp_path, studies=1, site=Site.A, seed=0)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(
            tmp_path / "studies", studies=2, site=Site.A, seed=0, size_px=32, progress=stop
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"studies": 0}, "studies is 0"),
        ({"size_px": 8}, "size_px is 8"),
        ({"seed": -1}, "seed is -1"),
        ({"workers": 0}, "workers is 0"),
        ({"split_shares": (0.5, 0.1, 0.1)}, "split_shares"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    settings = {"studies": 1, "site": Site.A, "seed": 0} | wrong
    with pytest.raises(ConfigError, match=message):
        write_phantom(tmp_path / "studies", **settings)


def test_a_profile_needs_a_prevalence_for_every_finding() -> None:
    with pytest.raises(ConfigError, match="prevalence of fracture"):
        replace(
            PROFILES[Site.A],
            prevalence={
                kind: share
                for kind, share in PROFILES[Site.A].prevalence.items()
                if kind is not Kind.FRACTURE
            },
        )


@pytest.mark.slow
def test_ten_thousand_studies_take_at_most_two_core_minutes(tmp_path: Path) -> None:
    # One core, so that the test measures work and not what else the machine does; 10,000 studies
    # take at most a minute on two cores if 1,000 take at most 12 s of one.
    start = time.process_time()
    write_phantom(tmp_path / "studies", studies=1000, site=Site.A, seed=0, workers=1)
    assert time.process_time() - start < 12


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".set.phantom.partial"
    left.mkdir()
    (left / "half").write_text("")
    mine = tmp_path / ".set-old"
    mine.mkdir()
    write_phantom(tmp_path / "set", studies=2, site=Site.A, seed=0, size_px=32, workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set-old"}
