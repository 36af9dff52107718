"""All studies of one phantom patient: films, reports, truth.

Every patient, study and purpose has a random generator of its own, so neither the number of worker
processes nor their order changes a byte, and rewording a report leaves its images as they were.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator
from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.image_jobs import encode_image
from editgrpo.data.prepared.image_writer import StoredImage
from editgrpo.data.priors import with_prior
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.phantom.anatomy import Anatomy, draw_anatomy
from editgrpo.phantom.findings import DEVICES, Finding, Progress
from editgrpo.phantom.grammar import write_report
from editgrpo.phantom.patients import Course, draw_course
from editgrpo.phantom.render import render_film
from editgrpo.phantom.sites import SiteProfile

_DAYS_BETWEEN_STUDIES = 180


class _Purpose(IntEnum):
    COURSE = 0
    BODY = 1
    VIEWS = 2
    REPORT = 3
    FRONTAL = 4
    LATERAL = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What all patients of a data set share."""

    profile: SiteProfile
    seed: int
    size_px: int

    @property
    def budget(self) -> PixelBudget:
        """The films as they are drawn: nothing is left to resize."""
        area = self.size_px**2
        return PixelBudget(min_pixels=area, max_pixels=area, multiple_of=self.size_px)

    def generator(self, patient: int, study: int, purpose: IntEnum) -> Generator:
        """Return the generator of one purpose of one study."""
        site = zlib.crc32(self.profile.name.encode())
        return np.random.default_rng([self.seed, site, patient, study, purpose])


@dataclass(frozen=True, slots=True)
class PlannedPatient:
    """A patient to be written: running number, number of studies kept, split."""

    number: int
    n_studies: int
    split: Split


@dataclass(frozen=True, slots=True)
class PhantomStudy:
    """A study, its films, its truth, and the CheXpert classes that its report calls present."""

    study: Study
    films: tuple[StoredImage, ...]
    findings: tuple[Finding, ...]
    labels: tuple[str, ...]


def patient_course(drawing: Drawing, number: int) -> Course:
    """Return the findings of all studies of a patient."""
    return draw_course(drawing.profile, drawing.generator(number, 0, _Purpose.COURSE))


def planned_images(drawing: Drawing, patient: PlannedPatient) -> list[str]:
    """Return the ids of all films of a patient, in order, without drawing one."""
    course = patient_course(drawing, patient.number)
    return [
        image.image_id
        for index, findings in enumerate(course.findings[: patient.n_studies])
        for image in _images(drawing, patient.number, index, findings)
    ]


def draw_patient(drawing: Drawing, patient: PlannedPatient) -> list[PhantomStudy]:
    """Render and word the studies of a patient.

    Args:
        drawing: What all patients share.
        patient: Which one.

    Returns:
        The studies in order of time.
    """
    course = patient_course(drawing, patient.number)
    body = draw_anatomy(drawing.generator(patient.number, 0, _Purpose.BODY))
    written: list[PhantomStudy] = []
    for index, findings in enumerate(course.findings[: patient.n_studies]):
        images = _images(drawing, patient.number, index, findings)
        films = tuple(
            _film(drawing, (patient.number, index), body, findings, image) for image in images
        )
        report = write_report(
            findings,
            phrasing=drawing.profile.phrasing,
            has_prior=bool(written),
            bedside=all(image.view is not View.LATERAL for image in images),
            rng=drawing.generator(patient.number, index, _Purpose.REPORT),
        )
        study = Study(
            study_id=_study_id(drawing, patient.number, index),
            patient_id=f"{drawing.profile.name}-{patient.number:06d}",
            split=patient.split,
            images=images,
            time=str(index * _DAYS_BETWEEN_STUDIES),
            indication=report.indication,
            technique=report.technique,
            comparison=report.comparison,
            findings=report.findings,
            impression=report.impression,
        )
        if written:
            study = with_prior(study, written[-1].study)
        written.append(PhantomStudy(study, films, findings, report.labels))
    return written


def _study_id(drawing: Drawing, patient: int, index: int) -> str:
    return f"{drawing.profile.name}-{patient:06d}-{index + 1}"


def _images(
    drawing: Drawing, patient: int, index: int, findings: tuple[Finding, ...]
) -> tuple[StudyImage, ...]:
    study_id = _study_id(drawing, patient, index)
    return tuple(
        StudyImage(image_id=f"{study_id}-{_view_name(view)}", view=view)
        for view in _views(drawing, patient, index, findings)
    )


def _view_name(view: View) -> str:
    return "lateral" if view is View.LATERAL else "frontal"


def _views(
    drawing: Drawing, patient: int, index: int, findings: tuple[Finding, ...]
) -> tuple[View, ...]:
    profile = drawing.profile
    has_device = any(f.kind in DEVICES and f.progress is not Progress.RESOLVED for f in findings)
    share = profile.portable_share_devices if has_device else profile.portable_share
    portable = drawing.generator(patient, index, _Purpose.VIEWS).random() < share
    return (View.AP,) if portable else (View.PA, View.LATERAL)


def _film(
    drawing: Drawing,
    position: tuple[int, int],
    body: Anatomy,
    findings: tuple[Finding, ...],
    image: StudyImage,
) -> StoredImage:
    purpose = _Purpose.LATERAL if image.view is View.LATERAL else _Purpose.FRONTAL
    pixels = render_film(
        body,
        findings,
        view=image.view,
        rendering=drawing.profile.rendering,
        size_px=drawing.size_px,
        rng=drawing.generator(*position, purpose),
    )
    return encode_image(image.image_id, Image.fromarray(pixels), drawing.budget)
