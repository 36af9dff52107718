"""A prepared set of invented training studies of any size, through the library's own writers."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from PIL import Image

from benchmarks.mimic_tree import TreeStudy, generate
from editgrpo.data.mimic_cxr import parse_report
from editgrpo.data.mimic_cxr.tables import study_time
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import folder_state
from editgrpo.data.prepared.flow import make_flow
from editgrpo.data.prepared.image_jobs import encode_image
from editgrpo.data.prepared.image_writer import ImageStoreWriter
from editgrpo.data.prepared.store import write_tables
from editgrpo.data.priors import attach_priors
from editgrpo.data.prompt import choose_images
from editgrpo.data.study import Split, Study, StudyImage
from editgrpo.data.views import normalise_view

_MAX_IMAGES = 6
_BUDGET = PixelBudget(min_pixels=28 * 28, max_pixels=28 * 28)


def write_studies(folder: Path, count: int) -> None:
    """Write a set.

    Args:
        folder: Made if missing.
        count: How many studies, all with findings and in the training split.
    """
    write_prepared(folder, invented_studies(count))


def write_prepared(folder: Path, studies: list[Study]) -> None:
    """Write training studies as a prepared set; all of their images are the same small square."""
    write_squares(folder, [image.image_id for study in studies for image in study.images])
    write_tables(folder, studies)
    flow = make_flow(kept=studies, rejections=[], facts={}, cut=dict.fromkeys(Split, 0))
    account = folder_state.account_of(
        dataset="mimic-cxr",
        split_rule="all are training studies",
        budget=_BUDGET,
        flow=flow,
        mark="",
        redaction="",
    )
    folder_state.complete(folder, account, [])


def invented_studies(count: int) -> list[Study]:
    """Return studies with findings and at most six images, prior ones included."""
    # Three of four reports have findings.
    found = attach_priors([_study(item) for item in generate(round(count * 1.5))])
    with_findings = (study for study in found if study.findings)
    return [
        replace(study, images=tuple(choose_images(study, max_images=_MAX_IMAGES)))
        for study in islice(with_findings, count)
    ]


def _study(item: TreeStudy) -> Study:
    sections = parse_report(item.report or "")
    return Study(
        study_id=item.study_id,
        patient_id=item.subject_id,
        split=Split.TRAIN,
        time=study_time(item.date, item.time),
        images=tuple(
            StudyImage(image_id=i.dicom_id, view=normalise_view(i.position or i.code))
            for i in item.images
        ),
        indication=sections.indication,
        technique=sections.technique,
        comparison=sections.comparison,
        findings=sections.findings,
        impression=sections.impression,
    )


def write_squares(folder: Path, image_ids: Sequence[str]) -> None:
    """Write a store in which every image is the same grey square."""
    unique = list(dict.fromkeys(image_ids))
    writer = ImageStoreWriter(folder, unique)
    square = encode_image("", Image.new("L", (28, 28), 128), _BUDGET)
    for image_id in unique:
        writer.add(replace(square, image_id=image_id))
    writer.finish()
