import gzip
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmarks.mimic_tree import METADATA, SPLIT, TreeForm, TreeImage, TreeStudy, write_tree

from editgrpo.data.mimic_cxr import MimicCXRSource, read_mimic_cxr
from editgrpo.data.prepare import Inclusion, PrepareOptions, PrepareSummary
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.sources import prepare
from editgrpo.data.study import Split, Study, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import SMALL_BUDGET, shared_data
from tests.data.pixels.dicom_files import dicom
from tests.data.trees.mimic import (
    AP,
    COURSES,
    FINDINGS,
    IMPRESSION,
    LATERAL,
    PA,
    Filled,
    filled_with_phantoms,
    filled_with_real_ones,
    report_of,
    study,
)

TRAIN, VALIDATION, TEST = Split.TRAIN, Split.VALIDATION, Split.TEST
DRY = PrepareOptions(dry_run=True)
HERE = PrepareOptions(workers=1, budget=SMALL_BUDGET)


def tree(root: Path, *studies: TreeStudy, **form: object) -> MimicCXRSource:
    return MimicCXRSource(root=write_tree(root, studies, TreeForm(**form)))  # type: ignore[arg-type]


def read(source: MimicCXRSource) -> dict[str, Study]:
    return {item.study_id: item for item in read_mimic_cxr(source).studies}


def prepared(source: MimicCXRSource, output: Path) -> dict[str, Study]:
    prepare(source, output, HERE)
    return {item.study_id: item for item in StudySet.load(output)}


def counts(summary: PrepareSummary, name: str) -> tuple[int, int, int]:
    row = summary.flow.row(name).counts
    return row.get(TRAIN, 0), row.get(VALIDATION, 0), row.get(TEST, 0)


def fingerprints(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_flow_counts_by_split_what_went_in_and_why_it_was_left_out(tmp_path: Path) -> None:
    summary = prepare(tree(tmp_path / "mimic", *COURSES), tmp_path / "out", HERE)
    # Counted by hand in `COURSES`: train, validation, test.
    assert counts(summary, "studies in the source") == (6, 1, 2)
    assert counts(summary, "patients in all") == (2, 1, 1)
    assert counts(summary, "images in all") == (7, 2, 2)
    assert counts(summary, "without date and time") == (1, 0, 0)
    assert counts(summary, "with findings") == (5, 1, 1)
    assert counts(summary, "with impression") == (6, 0, 1)
    assert counts(summary, "with findings and impression") == (5, 0, 1)
    assert counts(summary, "no findings, impression only") == (1, 0, 0)
    assert counts(summary, "no report") == (0, 0, 1)
    assert counts(summary, "studies kept") == (5, 1, 1)
    assert counts(summary, "studies with prior images") == (1, 0, 1)
    # PA LATERAL, AP+AP, PA, LATERAL, AP; AP LATERAL; AP+PA
    assert counts(summary, "images shown, prior ones included") == (7, 2, 2)
    assert summary.split_rule == f"official: {SPLIT}"


def test_sections_and_images_arrive_in_the_set(tmp_path: Path) -> None:
    studies = prepared(tree(tmp_path / "mimic", *COURSES), tmp_path / "out")
    first = studies["50000030"]
    assert (first.patient_id, first.split, first.time) == (
        "10000011",
        TRAIN,
        "2150-01-02T09:30:15.5",
    )
    assert (first.indication, first.technique) == (
        "___ year old with cough",
        "Chest PA and lateral",
    )
    assert (first.comparison, first.findings, first.impression) == ("None.", FINDINGS, IMPRESSION)
    images = StudySet.load(tmp_path / "out").images
    assert {image.image_id for item in studies.values() for image in item.images} == set(images)
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").open()]
    assert {(row["study_id"], row["split"], row["reason"]) for row in rejected} == {
        ("50000010", "train", "no findings, impression only"),
        ("50000080", "test", "no report"),
    }


def test_a_prior_is_the_last_study_before_by_time_and_not_by_id(tmp_path: Path) -> None:
    studies = read(tree(tmp_path, *COURSES))
    priors = {key: (item.prior_study_id, item.prior_time) for key, item in studies.items()}
    assert priors == {
        "50000030": ("", ""),
        "50000010": ("50000030", "2150-01-02T09:30:15.5"),
        # Without findings, and left out, but its film was there to compare with.
        "50000020": ("50000010", "2150-01-02T10:15:30.125"),
        "50000060": ("", ""),  # without a time
        "50000040": ("", ""),  # two studies at one time
        "50000050": ("", ""),
        "50000070": ("", ""),
        "50000090": ("50000080", "2160-01-01T00:00:01.5"),  # whose report is missing
    }
    assert [image.view for image in studies["50000020"].prior_images] == [View.AP]
    assert sorted(image.view for image in studies["50000010"].prior_images) == [
        View.PA,
        View.LATERAL,
    ]


def test_no_study_sees_an_image_of_its_own_time_or_of_its_future(tmp_path: Path) -> None:
    # Forty films of one patient, ids shuffled against time, every fourth at the time of another.
    numbers = [(k * 17) % 40 for k in range(40)]
    films = [
        study("10000011", f"500000{number:02}", PA, when=("21500101", f"{k - (k % 4 == 3)}.0"))
        for k, number in enumerate(numbers)
    ]
    studies = read(tree(tmp_path, *films))
    time_of_image = {
        image.image_id: item.time for item in studies.values() for image in item.current_images
    }
    seen = [
        (time_of_image[image.image_id], item.time)
        for item in studies.values()
        for image in item.prior_images
    ]
    assert len(seen) == 39  # all but the first
    assert all(prior < now for prior, now in seen)


def test_a_study_shows_each_of_its_images_once_in_a_stable_order(tmp_path: Path) -> None:
    item = study("10000011", "50000010", PA, LATERAL, AP)
    one = read(tree(tmp_path / "one", item))["50000010"]
    turned = TreeStudy(
        subject_id=item.subject_id,
        study_id=item.study_id,
        images=item.images[::-1],
        report=item.report,
    )
    other = read(tree(tmp_path / "other", turned))["50000010"]
    assert one == other
    assert len({image.image_id for image in one.images}) == len(one.images) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        {"gzipped": True},
        {"zipped_reports": True},
        {"gzipped": True, "zipped_reports": True, "image_suffix": ".png"},
    ],
)
def test_every_form_of_the_tree_gives_the_same_studies(
    tmp_path: Path, form: dict[str, object]
) -> None:
    plain = prepared(tree(tmp_path / "plain", *COURSES), tmp_path / "one")
    assert prepared(tree(tmp_path / "other", *COURSES, **form), tmp_path / "two") == plain


def test_reports_and_tables_may_lie_elsewhere(tmp_path: Path) -> None:
    plain = read(tree(tmp_path / "mimic", *COURSES, zipped_reports=True))
    for name, folder in (
        (METADATA, "jpg"),
        (SPLIT, "jpg"),
        ("mimic-cxr-reports.zip", "downloads"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.move(tmp_path / "mimic" / name, tmp_path / folder / name)
    source = MimicCXRSource(
        root=tmp_path / "mimic",
        tables=tmp_path / "jpg",
        reports=tmp_path / "downloads" / "mimic-cxr-reports.zip",
    )
    assert read(source) == plain


def test_copies_of_other_kinds_beside_the_images_are_not_taken(tmp_path: Path) -> None:
    source = tree(tmp_path, *COURSES)
    candidates = read_mimic_cxr(source)
    assert candidates.suffixes == (".jpg", ".dcm", ".dcm.gz", ".png")
    for path in tmp_path.rglob("*.jpg"):
        path.rename(path.with_suffix(".dcm.gz"))
    assert read_mimic_cxr(source).suffixes == (".dcm.gz", ".jpg", ".dcm", ".png")


def test_an_image_that_is_missing_or_empty_is_listed_and_the_run_goes_on(tmp_path: Path) -> None:
    source = tree(tmp_path / "mimic", *COURSES)
    image_of = {item.study_id: item.images for item in COURSES}
    missing, empty = image_of["50000040"][0].dicom_id, image_of["50000070"][0].dicom_id
    next(tmp_path.rglob(f"{missing}.jpg")).unlink()
    next(tmp_path.rglob(f"{empty}.jpg")).write_bytes(b"")
    studies = prepared(source, tmp_path / "out")
    assert "50000040" not in studies
    assert len(studies["50000070"].images) == 1
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").open()]
    images = {row["image"]: row["study_id"] for row in rejected if row["image"]}
    assert images == {missing: "50000040", empty: "50000070"}


def test_nothing_is_written_into_the_root(tmp_path: Path) -> None:
    source = tree(tmp_path / "mimic", *COURSES, zipped_reports=True, gzipped=True)
    before = fingerprints(tmp_path / "mimic")
    prepare(source, tmp_path / "out", HERE)
    assert fingerprints(tmp_path / "mimic") == before
    with pytest.raises(ConfigError, match="where nothing is written"):
        prepare(source, tmp_path / "mimic" / "studies", HERE)
    assert fingerprints(tmp_path / "mimic") == before


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    source = tree(tmp_path / "mimic", *COURSES, images_of=0)
    shutil.rmtree(tmp_path / "mimic" / "files" / "p12")
    summary = prepare(source, tmp_path / "out", DRY)
    assert counts(summary, "no report") == (0, 0, 2)
    assert counts(summary, "studies kept") == (5, 1, 0)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_needs_no_images(tmp_path: Path) -> None:
    source = tree(tmp_path / "mimic", *COURSES, zipped_reports=True)
    shutil.rmtree(tmp_path / "mimic" / "files")
    assert counts(prepare(source, tmp_path / "out", DRY), "studies kept") == (5, 1, 1)


def test_progress_is_told_to_the_last_report(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    source = tree(tmp_path, *COURSES)
    read_mimic_cxr(source, ReadOptions(progress=lambda *where: told.append(where)))
    assert told == [("Reading reports", 9, 9)]


def test_a_report_that_cannot_be_read_leaves_out_its_study_alone(tmp_path: Path) -> None:
    source = tree(tmp_path, *COURSES)
    report = tmp_path / "files" / "p10" / "p10000012"
    (report / "s50000040.txt").write_bytes(b"")
    (report / "s50000050.txt").write_bytes(b" FINDINGS: \x81\xff")
    candidates = read_mimic_cxr(source)
    assert {(item.study_id, item.reason, item.split) for item in candidates.rejections} == {
        ("50000040", "report is empty", TRAIN),
        ("50000050", "report is neither UTF-8 nor Windows-1252", TRAIN),
        ("50000080", "no report", TEST),
    }
    assert "50000060" in {item.study_id for item in candidates.studies}


def test_reports_that_are_nowhere_or_of_others_are_named(tmp_path: Path) -> None:
    source = tree(tmp_path / "mimic", *COURSES, zipped_reports=True)
    (tmp_path / "mimic" / "mimic-cxr-reports.zip").unlink()
    with pytest.raises(DataError, match=r"mimic: holds no report .*give the folder above files"):
        read_mimic_cxr(source)
    others = tree(tmp_path / "others", study("19000000", "59000000", PA))
    source = MimicCXRSource(root=source.root, reports=others.root)
    with pytest.raises(DataError, match=r"holds none of the 9 reports; give those of all patients"):
        read_mimic_cxr(source)


def test_a_root_without_images_is_named(tmp_path: Path) -> None:
    source = tree(tmp_path / "mimic", *COURSES, zipped_reports=True)
    shutil.rmtree(tmp_path / "mimic" / "files")
    with pytest.raises(DataError, match=r"files: no such folder; give the root of MIMIC-CXR-JPG"):
        prepare(source, tmp_path / "out", HERE)


def prepared_from(content: Filled, folder: Path) -> dict[str, Study]:
    def film(image: TreeImage) -> bytes:
        return content.films[image.dicom_id]

    form = {"image_suffix": content.suffix, "image_bytes": film}
    return prepared(tree(folder / "mimic", *content.studies, **form), folder / "out")


@pytest.mark.slow
@pytest.mark.parametrize("is_real", [True, False])
def test_reports_and_films_come_through_as_they_are(tmp_path: Path, is_real: bool) -> None:
    if is_real:
        content = filled_with_real_ones(shared_data())
    else:
        content = filled_with_phantoms(tmp_path / "phantom")
    studies = prepared_from(content, tmp_path)
    assert {key: item.findings for key, item in studies.items()} == content.findings
    # Eight studies of four patients: the second of each shows the first.
    assert sum(bool(item.prior_images) for item in studies.values()) == 4


@pytest.mark.parametrize("suffix", [".dcm", ".dcm.gz"])
def test_a_tree_of_dicom_files_is_read(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 4095, 56 * 56).reshape(56, 56).astype(np.uint16)

    def film(image: TreeImage) -> bytes:
        content = dicom(ramp, BitsStored=12)
        return gzip.compress(content) if suffix.endswith(".gz") else content

    prepared(
        tree(tmp_path / "mimic", *COURSES[:1], COURSES[2], image_suffix=suffix, image_bytes=film),
        tmp_path / "out",
    )
    studies = StudySet.load(tmp_path / "out")
    assert len(studies.images) == 2  # PA and lateral; the other study has no findings
    pixels = studies.images.pixels(studies[0].images[0].image_id)
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)


def test_the_template_of_the_layout_is_read(tmp_path: Path) -> None:
    source = MimicCXRSource(root=shared_data() / "layouts" / "mimic_cxr_jpg")
    options = PrepareOptions(
        workers=1, budget=SMALL_BUDGET, inclusion=Inclusion(require_images=False)
    )
    prepare(source, tmp_path / "out", options)
    (item,) = StudySet.load(tmp_path / "out")
    assert (item.study_id, item.split, item.time) == (
        "59999901",
        TRAIN,
        "2150-01-02T10:15:30.125",
    )
    assert item.findings.startswith("Cardiac size")
    assert item.impression == "Large left pleural effusion"
    assert item.indication.startswith("___ year old")
    assert item.images == ()


def test_reports_of_the_same_words_are_read_with_any_line_ends(tmp_path: Path) -> None:
    unix = study("10000011", "50000010", PA)
    windows = study("10000012", "50000020", PA, report=report_of().replace("\n", "\r\n"))
    studies = read(tree(tmp_path, unix, windows))
    assert studies["50000010"].findings == studies["50000020"].findings == FINDINGS
