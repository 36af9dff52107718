"""IU X-Ray (OpenI, Indiana University): 3,955 reports, of them 3,418 with findings and impression.

The archive has no patient ids and no dates: each report is a patient of its own, without a prior
study. The exam's name stands in for TECHNIQUE, which the reports lack.
"""

from collections import Counter
from collections.abc import Iterable

from editgrpo.data.iu_xray.annotation import read_annotation
from editgrpo.data.iu_xray.images import ImageFile, ImageIndex
from editgrpo.data.iu_xray.reports import IUReport, read_reports
from editgrpo.data.iu_xray.source import IUXraySource, resolve
from editgrpo.data.prepare import Candidates
from editgrpo.data.prepared.flow import with_sections
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.study import Split, Study, StudyImage
from editgrpo.data.views import normalise_view

NOT_IN_ANNOTATION = "not in R2Gen's annotation"


def read_iu_xray(source: IUXraySource, how: ReadOptions | None = None) -> Candidates:
    """Read all studies of IU X-Ray.

    Args:
        source: The files.
        how: A split rule is used where there is no R2Gen annotation. Where images are needed and
            there is no folder of them, studies have the images that their reports list, though
            these have no file; else they have none. None takes the defaults.

    Returns:
        The studies, before anything is left out.

    Raises:
        ConfigError: Reports or images are not given.
        DataError: A file is missing or not of the documented form.
    """
    how = how or ReadOptions()
    source = resolve(source, require_images=how.images_must_exist)
    assert source.reports is not None  # `resolve` found them
    reports = read_reports(source.reports, source.projections)
    index = ImageIndex.scan(source.images) if source.images is not None else None
    split_of_uid = {report.uid: how.split_rule.split_of(report.uid) for report in reports}
    if source.annotation is not None:
        split_of_uid = read_annotation(source.annotation)
    studies: list[Study] = []
    rejections: list[Rejection] = []
    image_files: dict[str, str] = {}
    unrecognised: Counter[str] = Counter()
    listed: Counter[Split] = Counter()
    for report in reports:
        split = split_of_uid.get(report.uid)
        if split is None:
            study_id = f"CXR{report.uid}"
            rejections.append(Rejection(study_id=study_id, image=None, reason=NOT_IN_ANNOTATION))
            continue
        listed[split] += bool(report.images)
        files: list[ImageFile] = []
        if index is not None:
            files = index.images_of(report.uid, report.images)
        elif how.require_images:
            files = [ImageFile(image_id, "", view) for image_id, view in report.images]
        image_files.update((file.image_id, file.path) for file in files)
        studies.append(_study(report, split, files, unrecognised))
    return Candidates(
        dataset="iu-xray",
        images_option="--images",
        studies=studies,
        image_files=image_files,
        split_rule="R2Gen's annotation" if source.annotation else how.split_rule.describe(),
        rejections=rejections,
        # Studies are the reports that have a split.
        facts={**with_sections(studies), "with images listed": listed},
        unrecognised_views=unrecognised,
    )


def _study(
    report: IUReport, split: Split, files: Iterable[ImageFile], unrecognised: Counter[str]
) -> Study:
    return Study(
        study_id=f"CXR{report.uid}",
        patient_id=report.uid,
        split=split,
        images=tuple(
            StudyImage(
                image_id=file.image_id, view=normalise_view(file.view, unrecognised=unrecognised)
            )
            for file in files
        ),
        indication=report.indication,
        technique=report.exam,
        comparison=report.comparison,
        findings=report.findings,
        impression=report.impression,
    )
