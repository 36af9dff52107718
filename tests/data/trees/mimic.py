"""Small trees in the layout of MIMIC-CXR, through the writer that the benchmark uses at full size.

`COURSES` is a tree whose counts can be told by looking at it.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mimic_report_text import lay_out
from benchmarks.mimic_tree import TreeImage, TreeStudy, dicom_id

from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.data.prepared.store import StudySet
from editgrpo.phantom import Site, write_phantom

PA = ("PA", "postero-anterior")
AP = ("AP", "antero-posterior")
LATERAL = ("LATERAL", "lateral")
FINDINGS = "The lungs are clear. Heart size is normal."
IMPRESSION = "Nothing acute."


def study(
    subject_id: str,
    study_id: str,
    *views: tuple[str, str],
    report: str | None = "",
    split: str = "train",
    when: tuple[str, str] = ("21500102", "101530.125"),
) -> TreeStudy:
    """One study with an image for each (ViewPosition, view code); an empty report has all
    sections."""
    rng = random.Random(int(study_id))
    images = tuple(TreeImage(dicom_id=dicom_id(rng), position=p, code=c) for p, c in views)
    return TreeStudy(
        subject_id=subject_id,
        study_id=study_id,
        split=split,
        # In the order of their ids, as the studies of the published table.
        images=tuple(sorted(images, key=lambda image: image.dicom_id)),
        date=when[0],
        time=when[1],
        report=report_of() if report == "" else report,
    )


def report_of(findings: str = FINDINGS, impression: str = IMPRESSION) -> str:
    """A report with indication, technique and comparison; without a section whose text is empty."""
    results = [("FINDINGS", findings), ("IMPRESSION", impression)]
    return lay_out(
        [
            ("EXAMINATION", "CHEST (PA AND LAT)"),
            ("INDICATION", "___ year old with cough"),
            ("TECHNIQUE", "Chest PA and lateral"),
            ("COMPARISON", "None."),
            *((header, text) for header, text in results if text),
        ]
    )


# Time runs against the ids in patient 11: 50000030 is first, 50000010 second, 50000020 third.
COURSES = (
    study("10000011", "50000010", AP, report=report_of(findings="")),
    study("10000011", "50000020", AP, when=("21500301", "0.0")),
    study("10000011", "50000030", PA, LATERAL, when=("21500102", "93015.5")),
    study("10000012", "50000040", PA, when=("21700505", "120000.0")),
    study("10000012", "50000050", LATERAL, when=("21700505", "120000")),
    study("10000012", "50000060", AP, when=("", "")),
    study("11000013", "50000070", AP, LATERAL, split="validate", report=report_of(impression="")),
    study("12000014", "50000080", PA, split="test", report=None, when=("21600101", "1.5")),
    study("12000014", "50000090", AP, split="test", when=("21600101", "235959.999")),
)


@dataclass(frozen=True, slots=True)
class Filled:
    """Studies with content.

    Attributes:
        studies: Of four patients; every study has findings and an impression.
        films: Content of each image file, by dicom_id.
        findings: What each study's findings must become, by study_id.
        suffix: Of the image files.
    """

    studies: tuple[TreeStudy, ...]
    films: dict[str, bytes]
    findings: dict[str, str]
    suffix: str


def filled_with_phantoms(folder: Path, count: int = 8) -> Filled:
    """Return studies with the reports and films of phantom studies, which are written to
    `folder`."""
    write_phantom(folder, studies=count, site=Site.A, seed=0, size_px=64)
    phantom = StudySet.load(folder)
    films = [phantom.images.png(item.images[0].image_id) for item in phantom]
    return _filled([(item.findings, IMPRESSION) for item in phantom], films, ".png")


def filled_with_real_ones(data: Path, count: int = 8) -> Filled:
    """Return studies with the text of IU X-Ray and films of the longitudinal set.

    Args:
        data: The folder of real samples.
        count: How many studies, each with one image.
    """
    texts = _real_texts(data / "iu_xray" / "NLMCXR_reports.tgz", count)
    films = sorted((data / "longitudinal_cxr" / "images").glob("*.jpg"))[:count]
    return _filled(texts, [film.read_bytes() for film in films], ".jpg")


def _real_texts(archive: Path, count: int) -> list[tuple[str, str]]:
    reports = (report for report in read_reports(archive, None))
    return [(r.findings, r.impression) for r in reports if r.findings and r.impression][:count]


def _filled(texts: list[tuple[str, str]], films: list[bytes], suffix: str) -> Filled:
    studies = tuple(
        study(
            f"1000010{number % 4}",
            f"5100000{number}",
            PA,
            report=report_of(findings, impression),
            when=(f"2150010{number + 1}", "101530.125"),
        )
        for number, (findings, impression) in enumerate(texts)
    )
    return Filled(
        studies=studies,
        films={s.images[0].dicom_id: film for s, film in zip(studies, films, strict=True)},
        findings={s.study_id: text for s, (text, _) in zip(studies, texts, strict=True)},
        suffix=suffix,
    )
