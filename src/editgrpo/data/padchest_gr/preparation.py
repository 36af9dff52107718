"""PadChest-GR: reports by sentence in English and Spanish, current and prior images.

The reports have neither INDICATION nor COMPARISON, and a section of findings only.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from editgrpo.config import Target
from editgrpo.data.padchest_gr.images import PadChestImages
from editgrpo.data.padchest_gr.reports import GroundedReport, find_reports, read_reports
from editgrpo.data.padchest_gr.tables import (
    MasterTable,
    PadChestImage,
    TableStudy,
    find_master_table,
    read_master_table,
    read_padchest_table,
)
from editgrpo.data.prepare import Candidates
from editgrpo.data.prepared.flow import WITH_BOXES, with_sections
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.priors import with_prior
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.study import Language, Split, Study, StudyImage, View
from editgrpo.data.views import normalise_view


@dataclass(frozen=True, kw_only=True, slots=True)
class PadChestGRSource:
    """Where the files of PadChest-GR are, and in which language it is read."""

    root: Path
    """The folder that holds `grounded_reports_20240819.json`, `master_table.csv` or its archive,
    and, at any depth, the images."""

    language: Language = Language.ENGLISH
    """Of the reports."""

    views: Path | None = None
    """PadChest's own table of images, for exact views and the days of prior studies.

    Without it current images are `frontal`, as the set was selected from frontal projections
    (arXiv:2411.05085), and prior images that are no current ones are `unknown`.
    """


def read_padchest_gr(source: PadChestGRSource, how: ReadOptions | None = None) -> Candidates:
    """Read reports and tables into studies; no image is opened.

    Args:
        source: The files.
        how: Whether a root without images is an error; None takes the defaults.

    Returns:
        Every study that could be put together, and why others could not.

    Raises:
        DataError: A file is missing or not of the documented form.
    """
    how = how or ReadOptions()
    reports, unusable = read_reports(find_reports(source.root), source.language)
    table = read_master_table(find_master_table(source.root))
    images = PadChestImages.scan(source.root, must_exist=how.images_must_exist)
    rejections = _rejections(reports, unusable, table)
    put_together = {
        study_id: (report, table.studies[study_id])
        for study_id, report in reports.items()
        if study_id in table.studies
    }
    reader = _Reader(put_together, table, source.views)
    studies = [reader.study(study_id, rejections) for study_id in put_together]
    return Candidates(
        dataset="padchest-gr",
        studies=studies,
        image_files={
            image.image_id: images.path_of(image.image_id)
            for study in studies
            for image in study.images
        },
        split_rule="official: column split of the master table",
        rejections=rejections,
        facts=_facts(studies, put_together),
        unrecognised_views=reader.unrecognised,
        boxes=[box for report, _ in put_together.values() for box in report.boxes],
    )


def _facts(
    studies: list[Study], put_together: dict[str, tuple[GroundedReport, TableStudy]]
) -> dict[str, Counter[Split]]:
    facts = {
        **with_sections(studies, Target.FINDINGS),
        "with a prior study named": Counter(
            listed.split for report, listed in put_together.values() if report.prior_study_id
        ),
        WITH_BOXES: Counter(
            listed.split for report, listed in put_together.values() if report.boxes
        ),
    }
    wrong: Counter[Split] = Counter()
    for report, listed in put_together.values():
        wrong[listed.split] += report.wrong_boxes
    return facts | ({"boxes that lie in no image, left out": wrong} if wrong.total() else {})


def _rejections(
    reports: dict[str, GroundedReport], unusable: dict[str, str], table: MasterTable
) -> list[Rejection]:
    """Return every study that is in one of the two files and cannot be put together."""
    reasons = dict(unusable)
    for study_id in reports:
        if study_id not in table.studies and study_id not in table.unusable:
            reasons[study_id] = "not in the master table"
    for study_id in table.studies:
        if study_id not in reports and study_id not in unusable:
            reasons[study_id] = "no report"
    for study_id, reason in table.unusable.items():
        reasons.setdefault(study_id, reason)
    return [
        Rejection(study_id=study_id, image=None, reason=reason, split=_split_of(study_id, table))
        for study_id, reason in reasons.items()
    ]


def _split_of(study_id: str, table: MasterTable) -> Split | None:
    if study_id in table.studies:
        return table.studies[study_id].split
    return table.split_of_unusable.get(study_id)


class _Reader:
    """Puts studies together, with what is known of their images."""

    def __init__(
        self,
        studies: dict[str, tuple[GroundedReport, TableStudy]],
        table: MasterTable,
        views: Path | None,
    ) -> None:
        self.unrecognised: Counter[str] = Counter()
        self._studies = studies
        self._table = table
        self._images_of = {
            study_id: tuple(dict.fromkeys((*report.image_ids, *listed.image_ids)))
            for study_id, (report, listed) in studies.items()
        }
        self._study_of_image = {
            image: study_id for study_id, images in self._images_of.items() for image in images
        }
        # Those without a report too: they may be prior studies all the same.
        self._owner_of_image = {
            image: study_id
            for study_id, listed in table.studies.items()
            for image in listed.image_ids
        } | self._study_of_image
        prior = {report.prior_image_id for report, _ in studies.values()} - {""}
        self._padchest: dict[str, PadChestImage] | None = None
        if views is not None:
            self._padchest = read_padchest_table(views, self._study_of_image.keys() | prior)

    def study(self, study_id: str, rejections: list[Rejection]) -> Study:
        """Return a study with its prior image; a prior that cannot be one is added to
        `rejections`."""
        report, listed = self._studies[study_id]
        study = Study(
            study_id=study_id,
            patient_id=listed.patient_id,
            split=listed.split,
            images=self._images(*self._images_of[study_id]),
            time=listed.time,
            findings=report.findings,
        )
        if not report.prior_study_id and not report.prior_image_id:
            return study
        known = self._known_of_prior(report)
        reason = _reason_against_prior(report, study, known)
        if reason:
            name = report.prior_image_id or report.prior_study_id
            rejections.append(
                Rejection(study_id=study_id, image=name, reason=reason, split=study.split)
            )
            return study
        prior = Study(
            study_id=report.prior_study_id,
            patient_id=study.patient_id,
            split=study.split,
            images=self._images(report.prior_image_id),
            time=known.time,
        )
        return with_prior(study, prior)

    def _known_of_prior(self, report: GroundedReport) -> "_KnownPrior":
        owner = self._owner_of_image.get(report.prior_image_id, report.prior_study_id)
        if owner in self._table.studies:
            listed = self._table.studies[owner]
            return _KnownPrior(owner, listed.patient_id, listed.time)
        if owner in self._table.unusable:
            return _KnownPrior(owner, is_unusable=True)
        image = (self._padchest or {}).get(report.prior_image_id)
        if image is None:
            return _KnownPrior()
        return _KnownPrior(image.study_id, image.patient_id, image.time)

    def _images(self, *image_ids: str) -> tuple[StudyImage, ...]:
        return tuple(StudyImage(image_id=name, view=self._view(name)) for name in image_ids)

    def _view(self, image_id: str) -> View:
        if self._padchest is not None and image_id in self._padchest:
            projection = self._padchest[image_id].projection
            return normalise_view(projection, unrecognised=self.unrecognised)
        return View.FRONTAL if image_id in self._study_of_image else View.UNKNOWN


@dataclass(frozen=True, slots=True)
class _KnownPrior:
    """What the tables say of a prior image; empty where they do not know it."""

    study_id: str = ""
    patient_id: str = ""
    time: str = ""
    is_unusable: bool = False


def _reason_against_prior(report: GroundedReport, study: Study, known: _KnownPrior) -> str:
    """Return why the prior study that the set names is not shown; empty if it is.

    Days are known of studies of the master table and, with PadChest's table, of all. Of two studies
    of one day no day says which was first, so that neither may be shown with the other.
    """
    if not report.prior_study_id or not report.prior_image_id:
        return "prior study without image" if report.prior_study_id else "prior image without study"
    current = {image.image_id for image in study.images}
    if report.prior_study_id == study.study_id or report.prior_image_id in current:
        return "prior study is the study itself"
    if known.study_id and known.study_id != report.prior_study_id:
        return "prior image is of another study"
    if known.is_unusable:
        return "prior study has no usable rows"
    if known.patient_id and known.patient_id != study.patient_id:
        return "prior study is of another patient"
    if known.time and study.time and known.time >= study.time:
        return "prior study is not earlier"
    return ""
