"""Trees in the true layout of MIMIC-CXR, with invented ids, dates and texts.

What a test writes by hand and what a benchmark generates at full size go through one writer.
`generate` gives the published numbers of patients, studies and images of each split, and reports of
about the published length; nothing in it is taken from MIMIC-CXR but its form and its counts.
"""

import csv
import gzip
import io
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from PIL import Image

from benchmarks.mimic_report_text import report_text

METADATA = "mimic-cxr-2.0.0-metadata.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
REPORTS_ZIP = "mimic-cxr-reports.zip"
METADATA_COLUMNS = [
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
]
SPLIT_COLUMNS = ("dicom_id", "study_id", "subject_id", "split")
# Patients, studies and images of MIMIC-CXR-JPG 2.0.0.
PUBLISHED = {
    "train": (64_586, 222_758, 368_960),
    "validate": (500, 1_808, 2_991),
    "test": (293, 3_269, 5_159),
}
# View names with about their share; codes are given where the position is missing, too.
_VIEWS = (
    (("AP", "antero-posterior"), 39),
    (("PA", "postero-anterior"), 25),
    (("LATERAL", "lateral"), 20),
    (("LL", "left lateral"), 9),
    (("", "postero-anterior"), 2),
    (("", ""), 4),
    (("AP LLD", "antero-posterior"), 1),
)
# A patient's weight in sharing out studies: a few have a hundred, the median has two.
_MOST_VISITS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeImage:
    """One image, as the metadata name it."""

    dicom_id: str
    position: str = "PA"
    code: str = "postero-anterior"


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeStudy:
    """One study; `date` and `time` stand in the metadata as they are, `report` None has no file."""

    subject_id: str
    study_id: str
    split: str = "train"
    images: tuple[TreeImage, ...] = ()
    date: str = "21500102"
    time: str = "101530.125"
    report: str | None = None

    @property
    def folder(self) -> str:
        """Where its images lie; its report stands beside it, with `.txt`."""
        return f"files/p{self.subject_id[:2]}/p{self.subject_id}/s{self.study_id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeForm:
    """How a tree is written."""

    gzipped: bool = False
    """Whether the tables are `.csv.gz`."""

    zipped_reports: bool = False
    """Whether the reports stand in `mimic-cxr-reports.zip`, not as files."""

    image_suffix: str = ".jpg"

    image_bytes: Callable[[TreeImage], bytes] | None = field(default=None)
    """Makes the content of an image file; None writes tiny grey JPEGs."""

    images_of: int | None = None
    """Only this many studies get image files; None: all."""


def write_tree(root: Path, studies: Sequence[TreeStudy], form: TreeForm | None = None) -> Path:
    """Write a tree.

    Args:
        root: Made if missing.
        studies: In the order in which the tables shall list them.
        form: How; None takes the defaults of `TreeForm`.

    Returns:
        The root.
    """
    form = form or TreeForm()
    root.mkdir(parents=True, exist_ok=True)
    write_table(root, METADATA, METADATA_COLUMNS, _metadata_rows(studies), gzipped=form.gzipped)
    write_table(root, SPLIT, SPLIT_COLUMNS, _split_rows(studies), gzipped=form.gzipped)
    if form.zipped_reports:
        _write_zip(root / REPORTS_ZIP, studies)
    else:
        _write_reports(root, studies)
    make = form.image_bytes or tiny_jpeg
    for study in islice(studies, form.images_of):
        (root / study.folder).mkdir(parents=True, exist_ok=True)
        for image in study.images:
            path = root / study.folder / f"{image.dicom_id}{form.image_suffix}"
            path.write_bytes(make(image))
    return root


def write_table(
    folder: Path, name: str, columns: Sequence[str], rows: Iterator[Sequence[str]], *, gzipped: bool
) -> Path:
    """Write a CSV table, and return its path."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    content = text.getvalue().encode()
    path = folder / (f"{name}.gz" if gzipped else name)
    path.write_bytes(gzip.compress(content, 1, mtime=0) if gzipped else content)
    return path


def _metadata_rows(studies: Sequence[TreeStudy]) -> Iterator[Sequence[str]]:
    exam = "CHEST (PA AND LAT)"
    for study in studies:
        for image in study.images:
            ids = (image.dicom_id, study.subject_id, study.study_id)
            when = ("3056", "2544", study.date, study.time)
            yield (*ids, exam, image.position, *when, exam, image.code, "Erect")


def _split_rows(studies: Sequence[TreeStudy]) -> Iterator[Sequence[str]]:
    for study in studies:
        for image in study.images:
            yield (image.dicom_id, study.study_id, study.subject_id, study.split)


def _write_zip(path: Path, studies: Sequence[TreeStudy]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for study in studies:
            if study.report is not None:
                archive.writestr(f"{study.folder}.txt", study.report)


def _write_reports(root: Path, studies: Sequence[TreeStudy]) -> None:
    for study in studies:
        path = root / f"{study.folder}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if study.report is not None:
            path.write_bytes(study.report.encode())


def tiny_jpeg(image: TreeImage) -> bytes:
    """Return a grey film of 40 x 48 pixels that is told from others by its brightness."""
    content = io.BytesIO()
    shade = sum(image.dicom_id.encode()) % 256
    Image.linear_gradient("L").resize((40, 48)).point(lambda v: (v + shade) // 2).save(
        content, "JPEG"
    )
    return content.getvalue()


def generate(studies: int | None = None, *, seed: int = 0) -> list[TreeStudy]:
    """Generate studies of all splits.

    Args:
        studies: About how many; None gives the published 227,835 of 65,379 patients with 377,110
            images, fewer keep the proportions.
        seed: The same seed gives the same tree.

    Returns:
        The studies by patient; neither ids nor their order tell the order in time.
    """
    rng = random.Random(seed)
    share = 1.0 if studies is None else studies / sum(count for _, count, _ in PUBLISHED.values())
    subjects = iter(rng.sample(range(10_000_000, 19_999_999), 70_000))
    numbers = iter(rng.sample(range(50_000_000, 59_999_999), 240_000))
    found: list[TreeStudy] = []
    for split, (n_patients, n_studies, n_images) in PUBLISHED.items():
        patients = max(1, round(n_patients * share))
        count = max(patients, round(n_studies * share))
        images = _shared_out(max(count, round(n_images * share)), count, rng)
        weights = [min(rng.paretovariate(1.2), _MOST_VISITS) for _ in range(patients)]
        visits = _shared_out(count, patients, rng, weights=weights)
        sizes = iter(images)
        for visits_of_one in visits:
            subject = str(next(subjects))
            for _ in range(visits_of_one):
                found.append(_study(subject, str(next(numbers)), split, next(sizes), rng))
    return sorted(found, key=lambda study: (study.subject_id, study.study_id))


def _shared_out(
    total: int, among: int, rng: random.Random, *, weights: list[float] | None = None
) -> list[int]:
    """Share a number out: at least one to each, the rest by chance."""
    shares = [1] * among
    for lucky in rng.choices(range(among), weights=weights, k=total - among):
        shares[lucky] += 1
    return shares


def _study(subject: str, number: str, split: str, n_images: int, rng: random.Random) -> TreeStudy:
    names, weights = zip(*_VIEWS, strict=True)
    views = rng.choices(names, weights=weights, k=n_images)
    day = f"{rng.randrange(2110, 2210)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
    clock = rng.randrange(24) * 10_000 + rng.randrange(60) * 100 + rng.randrange(60)
    return TreeStudy(
        subject_id=subject,
        study_id=number,
        split=split,
        images=tuple(
            TreeImage(dicom_id=dicom_id(rng), position=position, code=code)
            for position, code in views
        ),
        date=day,
        # A number, as in the published table: leading zeros are lost.
        time=f"{clock}.{rng.randrange(1000):03}".rstrip("0"),
        report=report_text(rng),
    )


def dicom_id(rng: random.Random) -> str:
    """Return an invented id in the form of MIMIC-CXR: five groups of eight hex digits."""
    digits = f"{rng.getrandbits(160):040x}"
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))
