"""All studies of one phantom patient: films on disk, reports, truth.

Every patient, study and purpose has a random generator of its own, so neither the number of worker
processes nor their order changes a byte, and rewording a report leaves its images as they were.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from editgrpo.data.phantom.anatomy import Anatomy, draw_anatomy
from editgrpo.data.phantom.findings import DEVICES, Finding, Progress
from editgrpo.data.phantom.grammar import write_report
from editgrpo.data.phantom.patients import Course, draw_course
from editgrpo.data.phantom.render import render_film
from editgrpo.data.phantom.sites import SiteProfile
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View

IMAGES = "images"


class _Purpose(IntEnum):
    COURSE = 0
    BODY = 1
    VIEWS = 2
    REPORT = 3
    FRONTAL = 4
    LATERAL = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What all patients of a data set share."""

    profile: SiteProfile
    seed: int
    size_px: int
    folder: Path

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
    """A written study, its truth, and the CheXpert classes that its report calls present."""

    study: Study
    findings: tuple[Finding, ...]
    labels: tuple[str, ...]


def patient_course(recipe: Recipe, number: int) -> Course:
    """Return the findings of all studies of a patient."""
    return draw_course(recipe.profile, recipe.generator(number, 0, _Purpose.COURSE))


def write_patients(recipe: Recipe, patients: Sequence[PlannedPatient]) -> list[PhantomStudy]:
    """Render and word the studies of some patients; images go to the recipe's folder."""
    return [study for patient in patients for study in _write_patient(recipe, patient)]


def _write_patient(recipe: Recipe, patient: PlannedPatient) -> list[PhantomStudy]:
    course = patient_course(recipe, patient.number)
    body = draw_anatomy(recipe.generator(patient.number, 0, _Purpose.BODY))
    written: list[PhantomStudy] = []
    for index, findings in enumerate(course.findings[: patient.n_studies]):
        study_id = f"{recipe.profile.name}-{patient.number:06d}-{index + 1}"
        views = _views(recipe, patient.number, index, findings)
        images = tuple(
            StudyImage(path=f"{IMAGES}/{study_id}-{_view_name(view)}.png", view=view)
            for view in views
        )
        for image in images:
            _write_film(recipe, (patient.number, index), body, findings, image)
        prior = written[-1].study.images if written else ()
        report = write_report(
            findings,
            phrasing=recipe.profile.phrasing,
            has_prior=bool(written),
            bedside=View.LATERAL not in views,
            rng=recipe.generator(patient.number, index, _Purpose.REPORT),
        )
        study = Study(
            study_id=study_id,
            patient_id=f"{recipe.profile.name}-{patient.number:06d}",
            split=patient.split,
            images=images + _as_prior(prior),
            indication=report.indication,
            technique=report.technique,
            comparison=report.comparison,
            findings=report.findings,
            impression=report.impression,
        )
        written.append(PhantomStudy(study, findings, report.labels))
    return written


def _as_prior(images: tuple[StudyImage, ...]) -> tuple[StudyImage, ...]:
    return tuple(
        StudyImage(path=image.path, view=image.view, timepoint=Timepoint.PRIOR)
        for image in images
        if image.timepoint is Timepoint.CURRENT
    )


def _view_name(view: View) -> str:
    return "lateral" if view is View.LATERAL else "frontal"


def _views(
    recipe: Recipe, patient: int, index: int, findings: tuple[Finding, ...]
) -> tuple[View, ...]:
    profile = recipe.profile
    has_device = any(f.kind in DEVICES and f.progress is not Progress.RESOLVED for f in findings)
    share = profile.portable_share_devices if has_device else profile.portable_share
    portable = recipe.generator(patient, index, _Purpose.VIEWS).random() < share
    return (View.AP,) if portable else (View.PA, View.LATERAL)


def _write_film(
    recipe: Recipe,
    position: tuple[int, int],
    body: Anatomy,
    findings: tuple[Finding, ...],
    image: StudyImage,
) -> None:
    purpose = _Purpose.LATERAL if image.view is View.LATERAL else _Purpose.FRONTAL
    pixels = render_film(
        body,
        findings,
        view=image.view,
        rendering=recipe.profile.rendering,
        size_px=recipe.size_px,
        rng=recipe.generator(*position, purpose),
    )
    # The noise of a film hardly compresses; level 1 is several times faster than the default.
    Image.fromarray(pixels).save(recipe.folder / image.path, compress_level=1)
