"""IU X-Ray (OpenI, Indiana University): 3,955 reports, of them 3,419 with findings and impression.

The archive has no patient ids: each report is a patient of its own. The exam's name stands in for
TECHNIQUE, which the reports lack.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from editgrpo.data.iu_images import ImageIndex
from editgrpo.data.iu_reports import IUReport, read_reports
from editgrpo.data.prepare import Candidates, Inclusion, PrepareSummary, finish
from editgrpo.data.splits import SplitRule, parse_split
from editgrpo.data.store import Rejection
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.data.views import normalise_view
from editgrpo.errors import ConfigError, DataError

_R2GEN_ID = re.compile(r"CXR(\d+)_.*")


@dataclass(frozen=True, kw_only=True, slots=True)
class IUXraySource:
    """Where the files of IU X-Ray are."""

    reports: Path
    """`NLMCXR_reports.tgz`, a folder of its XML files, or `indiana_reports.csv`."""

    projections: Path | None = None
    """`indiana_projections.csv`: needed by the CSV form; gives the XML form its views."""

    images: Path | None = None
    """Folder of images in any of the three layouts; None only where images are not required."""

    annotation: Path | None = None
    """R2Gen's `annotation.json`; its split is used, and studies outside it are left out."""


def prepare_iu_xray(
    source: IUXraySource,
    output: Path | str,
    *,
    split_rule: SplitRule | None = None,
    inclusion: Inclusion | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareSummary:
    """Turn IU X-Ray into a folder of studies.

    Args:
        source: The files.
        output: Folder of the studies; made if missing.
        split_rule: Used where no R2Gen annotation is given; None takes its defaults.
        inclusion: Which studies are kept; None takes its defaults.
        progress: Called with (images checked, images in all).

    Returns:
        The account of what was kept and left out.

    Raises:
        ConfigError: Images are required, and no folder of images is given.
        DataError: A file is not of the documented form, or no study is kept.
    """
    inclusion = inclusion or Inclusion()
    if source.images is None and inclusion.require_images:
        raise ConfigError(
            "no folder of images is given; give one, or ask for studies without images"
        )
    reports = read_reports(source.reports, source.projections)
    index = ImageIndex.scan(source.images) if source.images is not None else None
    rule = split_rule or SplitRule()
    split_of_uid = _read_annotation(source.annotation) if source.annotation is not None else None
    unrecognised: Counter[str] = Counter()
    studies: list[Study] = []
    rejections: list[Rejection] = []
    for report in reports:
        split: Split | None = rule.split_of(report.uid)
        if split_of_uid is not None:
            split = split_of_uid.get(report.uid)
        if split is None:
            outside = "not in R2Gen's annotation"
            rejections.append(Rejection(study_id=f"CXR{report.uid}", image=None, reason=outside))
            continue
        studies.append(_study(report, split, _images(report, index, unrecognised)))
    return finish(
        Candidates(
            studies=studies,
            seen=len(reports),
            split_rule=rule.describe() if split_of_uid is None else "R2Gen's annotation",
            rejections=rejections,
            facts=_facts(reports),
            unrecognised_views=unrecognised,
        ),
        Path(output),
        inclusion=inclusion,
        progress=progress,
    )


def _study(report: IUReport, split: Split, images: tuple[StudyImage, ...]) -> Study:
    return Study(
        study_id=f"CXR{report.uid}",
        patient_id=report.uid,
        split=split,
        images=images,
        indication=report.indication,
        technique=report.exam,
        comparison=report.comparison,
        findings=report.findings,
        impression=report.impression,
    )


def _images(
    report: IUReport, index: ImageIndex | None, unrecognised: Counter[str]
) -> tuple[StudyImage, ...]:
    if index is None:
        return ()
    if report.uid in index.by_uid:
        # R2Gen numbers images without their view, and not always frontal first.
        return tuple(
            StudyImage(path=str(path), view=View.UNKNOWN) for path in index.by_uid[report.uid]
        )
    return tuple(
        StudyImage(
            path=str(index.find(report.uid, image_id)),
            view=normalise_view(view, unrecognised=unrecognised),
        )
        for image_id, view in report.images
    )


def _facts(reports: Sequence[IUReport]) -> dict[str, int]:
    return {
        "with findings": sum(bool(report.findings) for report in reports),
        "with impression": sum(bool(report.impression) for report in reports),
        "with findings and impression": sum(
            bool(report.findings and report.impression) for report in reports
        ),
        "with images listed": sum(bool(report.images) for report in reports),
    }


def _read_annotation(path: Path) -> dict[str, Split]:
    """Return the split of every report in R2Gen's annotation."""
    try:
        annotation = json.loads(path.read_bytes())
        entries = [
            (parse_split(name, where=f"{path}: key"), entry["id"])
            for name, part in annotation.items()
            for entry in part
        ]
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; give R2Gen's annotation.json"
        ) from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: must be one JSON object with lists train, val and test of entries with an id"
        ) from error
    split_of_uid: dict[str, Split] = {}
    for split, identifier in entries:
        match = _R2GEN_ID.fullmatch(str(identifier))
        if match is None:
            raise DataError(f"{path}: an id does not look like CXR7_IM-2263; is it for IU X-Ray?")
        if split_of_uid.setdefault(match[1], split) is not split:
            raise DataError(f"{path}: report CXR{match[1]} stands in two splits; correct one")
    return split_of_uid
