"""MIMIC-CXR and MIMIC-CXR-JPG: 227,835 studies of 65,379 patients, in the published split.

Inputs are the images and reports of the true tree and the tables of MIMIC-CXR-JPG. The label tables
are not read: labels are made from the reports, by the same labeler for every data set.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.data.mimic_cxr.reports import ReportFiles
from editgrpo.data.mimic_cxr.sections import Decision, Sections, parse_report
from editgrpo.data.mimic_cxr.tables import find_table, read_listing
from editgrpo.data.prepare import Candidates
from editgrpo.data.prepared.flow import with_sections
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.prepared.workers import Progress
from editgrpo.data.priors import attach_priors
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.readers.folders import require_folder
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError

SUFFIXES = (".jpg", ".dcm", ".dcm.gz", ".png")
"""What images end in: MIMIC-CXR-JPG's first, then MIMIC-CXR's, then that of copies."""

NO_REPORT = "no report"
_FILES = "files"
# Images that are looked for, over the whole tree, to learn what their names end in.
_PROBES = 200
_REPORTS_PER_PROGRESS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class MimicCXRSource:
    """Where the files of MIMIC-CXR are."""

    root: Path
    """Holds `files/p10/p10000032/s50414267/...`, of MIMIC-CXR-JPG or of MIMIC-CXR (DICOM)."""

    reports: Path | None = None
    """`mimic-cxr-reports.zip`, or a folder with the tree of its files; None looks in the root."""

    tables: Path | None = None
    """Holds `mimic-cxr-2.0.0-metadata.csv` and `-split.csv`, gzipped or not; None: the root.

    They come with MIMIC-CXR-JPG alone, so a tree of DICOM files needs them from there.
    """


def read_mimic_cxr(source: MimicCXRSource, how: ReadOptions | None = None) -> Candidates:
    """Read tables and reports into studies; no image is opened.

    Args:
        source: The files.
        how: Whether a root without images is an error; None takes the defaults.

    Returns:
        Every study that has a report, by split, patient, time and study_id, and the others as
        rejections. A study without a report is still a prior of the next one.

    Raises:
        DataError: A table is not of the documented form, or reports or images are not there
            at all.
    """
    how = how or ReadOptions()
    if how.images_must_exist:
        _check_images_are_there(source.root)
    folder = source.tables or source.root
    require_folder(folder, "mimic-cxr-2.0.0-metadata.csv")
    listing = read_listing(folder)
    account = _Account()
    with ReportFiles.open(source.reports or source.root) as reports:
        studies = [
            account.take(listed, sections)
            for listed, sections in _read_reports(listing.studies, reports, how.progress)
        ]
        if set(account.unusable.values()) == {NO_REPORT} and len(account.unusable) == len(studies):
            raise DataError(
                f"{reports.path}: holds none of the {len(studies)} reports; give those of all "
                "patients in the tables"
            )
    facts = account.facts | with_sections(studies)
    studies = attach_priors(studies)
    files = {
        image.image_id: f"{source.root}/{_FILES}/{_study_path(study)}/{image.image_id}"
        for study in listing.studies
        for image in study.images
    }
    return Candidates(
        dataset="mimic-cxr",
        studies=[study for study in studies if study.study_id not in account.unusable],
        image_files=files,
        suffixes=_suffixes(list(files.values())),
        split_rule=f"official: {find_table(folder, 'split').name}",
        rejections=account.rejections(studies),
        facts={name: counts for name, counts in facts.items() if counts.total()},
        unrecognised_views=listing.unrecognised_views,
    )


class _Account:
    """What is counted while studies are put together."""

    def __init__(self) -> None:
        self.unusable: dict[str, str] = {}
        """Why the report of a study cannot be used, by study_id."""
        names = (
            "patients in all",
            "images in all",
            *with_sections(()),  # counted when all studies are there
            "without date and time",
            *(decision.value for decision in Decision),
        )
        self.facts: dict[str, Counter[Split]] = {name: Counter() for name in names}
        self._patients: set[str] = set()

    def take(self, listed: Study, report: Sections | str) -> Study:
        """Put a study together and count it; text in place of sections says why there are none."""
        if isinstance(report, str):
            self.unusable[listed.study_id] = report
        sections = Sections() if isinstance(report, str) else report
        self._count(listed, sections)
        return replace(
            listed,
            indication=sections.indication,
            technique=sections.technique,
            comparison=sections.comparison,
            findings=sections.findings,
            impression=sections.impression,
        )

    def rejections(self, studies: Iterable[Study]) -> list[Rejection]:
        """Return those of some studies whose report cannot be used."""
        return [
            Rejection(study_id=study.study_id, image=None, reason=reason, split=study.split)
            for study in studies
            if (reason := self.unusable.get(study.study_id)) is not None
        ]

    def _count(self, listed: Study, sections: Sections) -> None:
        split, facts = listed.split, self.facts
        if listed.patient_id not in self._patients:
            self._patients.add(listed.patient_id)
            facts["patients in all"][split] += 1
        facts["images in all"][split] += len(listed.images)
        facts["without date and time"][split] += not listed.time
        for decision in sections.decisions:
            facts[decision.value][split] += 1


def _read_reports(
    studies: Sequence[Study], reports: ReportFiles, progress: Progress | None
) -> Iterator[tuple[Study, Sections | str]]:
    """Yield each study with its sections, or with the reason why it has none."""
    for done, listed in enumerate(studies, start=1):
        try:
            text = reports.read(listed.patient_id, listed.study_id)
        except DataError as error:
            yield listed, _reason(error)
        else:
            yield listed, NO_REPORT if text is None else parse_report(text)
        if progress is not None and (done % _REPORTS_PER_PROGRESS == 0 or done == len(studies)):
            progress("Reading reports", done, len(studies))


def _reason(error: DataError) -> str:
    """Shorten "file: is empty; get it again" to "report is empty"."""
    problem = str(error).split("; ")[0].rpartition(": ")[2]
    # Not the place: equal reasons are counted together.
    return f"report {problem.split(' at byte ')[0]}"


def _study_path(study: Study) -> str:
    return f"p{study.patient_id[:2]}/p{study.patient_id}/s{study.study_id}"


def _check_images_are_there(root: Path) -> None:
    require_folder(root, "MIMIC-CXR-JPG or MIMIC-CXR")
    if not (root / _FILES).is_dir():
        raise DataError(
            f"{root / _FILES}: no such folder; give the root of MIMIC-CXR-JPG or MIMIC-CXR, or ask "
            "for studies without images"
        )


def _suffixes(paths: Sequence[str]) -> tuple[str, ...]:
    """Return all suffixes, the one that this tree uses first: it is looked for 377,110 times."""
    for path in paths[:: max(1, len(paths) // _PROBES)]:
        for suffix in SUFFIXES:
            if Path(path + suffix).is_file():
                return (suffix, *(other for other in SUFFIXES if other != suffix))
    return SUFFIXES
