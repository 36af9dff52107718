"""What every data set's preparation shares: which studies are kept, their images, the account.

Sources (`mimic_cxr/`, `iu_xray/`, ...) read their files into `Candidates`; `finish` leaves out,
makes the images, writes and counts.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import folder_state
from editgrpo.data.prepared.boxes import Box, boxes_of, write_boxes
from editgrpo.data.prepared.flow import Flow, make_flow
from editgrpo.data.prepared.image_jobs import ImageJob, fill_store, jobs_of
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.store import Rejection, check_studies, write_tables
from editgrpo.data.prepared.workers import Progress, default_workers
from editgrpo.data.prompt import choose_images
from editgrpo.data.redact import Redactor
from editgrpo.data.shortfall import (
    check_that_one_exists,
    warn_of_empty_splits,
    warn_of_missing,
)
from editgrpo.data.splits import check_patients_apart
from editgrpo.data.study import Split, Study, StudyImage
from editgrpo.errors import ConfigError, DataError

NO_CURRENT_IMAGE = "no readable current image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inclusion:
    """Which studies are kept, and how many of their images."""

    require_findings: bool = True
    """Leave out studies without a findings section: there is nothing to learn from them."""

    require_impression: bool = False
    """Leave out studies without an impression."""

    require_images: bool = True
    """Leave out studies without a readable current image."""

    max_images: int = 6
    """Most images of a study, prior ones included; `prompt.choose_images` says which are taken."""

    most_current: int | None = None
    """Leave out studies with more current images than this; None keeps them, and chooses."""

    def __post_init__(self) -> None:
        for name in ("max_images", "most_current"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ConfigError(f"{name} is {limit}; it must be at least 1")

    def reason_to_leave_out(self, study: Study) -> str | None:
        """Return why a study is left out before its images are looked at; None if it is not."""
        if self.require_findings and not study.findings:
            return "no findings, impression only" if study.impression else "no findings"
        if self.require_impression and not study.impression:
            return "no impression"
        current = len(study.current_images)
        if self.require_images and not current:
            return "no image listed"
        if self.most_current is not None and current > self.most_current:
            return f"more than {self.most_current} images"
        return None


@dataclass(slots=True)
class Candidates:
    """What a source read, before anything is left out.

    Attributes:
        dataset: Key of `card.DATASETS`.
        studies: Every study that could be put together, in a stable order, with its prior images.
        image_files: Path of the original of each image of these studies, by image id.
        split_rule: How studies were assigned to splits, in words.
        suffixes: Tried in turn behind each path.
        rejections: Studies that could not be put together, and images that no study can show.
        facts: Further counts worth stating, by split.
        unrecognised_views: How often each view name was not understood.
        images_option: The option of `editgrpo prepare` that says where the images lie.
        boxes: On images of these studies; those of what is left out are left out too.
    """

    dataset: str
    studies: list[Study]
    image_files: Mapping[str, str]
    split_rule: str
    suffixes: tuple[str, ...] = ("",)
    rejections: list[Rejection] = field(default_factory=list)
    facts: Mapping[str, Mapping[Split, int]] = field(default_factory=dict)
    unrecognised_views: Counter[str] = field(default_factory=Counter)
    images_option: str = "--root"
    boxes: Sequence[Box] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareOptions:
    """How studies are prepared."""

    inclusion: Inclusion = field(default_factory=Inclusion)
    """Which studies are kept."""

    budget: PixelBudget = field(default_factory=PixelBudget)
    """The size of their images."""

    workers: int | None = None
    """Processes; None takes one a core."""

    resume: bool = False
    """Continue what an interrupted preparation left in the output."""

    overwrite: bool = False
    """Remove an earlier preparation from the output before the first image is made."""

    dry_run: bool = False
    """Count only: no image is looked at, and nothing is written."""

    redactor: Redactor | None = None
    """Hides identifiers; None keeps them."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareSummary:
    """The account of a preparation.

    Attributes:
        folder: Where the studies stand now.
        flow: From what the source holds to what is kept, by split.
        unrecognised_views: View names that were not understood, with how often they stood.
        split_rule: How studies were assigned to splits, in words.
    """

    folder: Path
    flow: Flow
    unrecognised_views: Mapping[str, int]
    split_rule: str


def finish(
    candidates: Candidates,
    output: Path | str,
    options: PrepareOptions | None = None,
    *,
    root: Path | None = None,
    progress: Progress | None = None,
) -> PrepareSummary:
    """Apply the inclusion rules, make the images, and write the folder of studies.

    `prepared.json` is written last: where it stands, the preparation is complete.

    Args:
        candidates: What a source read.
        output: Folder of the studies; made if missing.
        options: How; None takes the defaults.
        root: Folder of the originals; nothing is written in it.
        progress: Called as images are made and files are hashed.

    Returns:
        The account.

    Raises:
        ConfigError: The output lies in `root`, or holds another preparation.
        DataError: No study is kept, a patient is in two splits, an image has no file, or the
            folder cannot be written to.
        StorageError: There is no room, or the disk is out of order.
    """
    options = options or PrepareOptions()
    output = Path(output)
    if root is not None:
        folder_state.check_place(output, root)
    check_patients_apart(candidates.studies)
    plan = _plan(candidates, options.inclusion)
    if options.dry_run:
        flow = plan.flow(candidates)
        warn_of_empty_splits(flow)
        return _summary(candidates, output, flow)
    plan, jobs = _checked(candidates, plan, output, options)
    mark = folder_state.fingerprint(jobs, options.budget, root or output, plan.studies)
    folder_state.begin(output, mark, resume=options.resume, overwrite=options.overwrite)
    problems = fill_store(
        output,
        jobs,
        options.budget,
        workers=default_workers() if options.workers is None else options.workers,
        progress=progress,
    )
    warn_of_missing(problems, len(jobs), option=candidates.images_option)
    plan = _without_unusable(plan, problems, require_images=options.inclusion.require_images)
    if not plan.studies:
        # Problems of images are remembered with them: --resume would not look at the files again.
        raise DataError(_nothing_kept(output, plan.rejections, "images, and add --overwrite"))
    flow = plan.flow(candidates, blank=ImageStore.open(output).blank)
    warn_of_empty_splits(flow)
    write_tables(output, plan.studies)
    write_boxes(output, _boxes(candidates, plan, options.redactor))
    account = _account(candidates, options, flow, mark)
    folder_state.complete(output, account, plan.rejections, progress=progress)
    return _summary(candidates, output, flow)


def _boxes(candidates: Candidates, plan: "_Plan", redactor: Redactor | None) -> list[Box]:
    boxes = candidates.boxes if redactor is None else redactor.boxes(candidates.boxes)
    return boxes_of(boxes, plan.studies)


def _account(
    candidates: Candidates, options: PrepareOptions, flow: Flow, mark: str
) -> dict[str, Any]:
    return folder_state.account_of(
        dataset=candidates.dataset,
        split_rule=candidates.split_rule,
        budget=options.budget,
        flow=flow,
        mark=mark,
        redaction=options.redactor.fingerprint if options.redactor is not None else "",
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Studies that are kept so far, what was left out, and ids of studies whose images were chosen
    among."""

    studies: list[Study]
    rejections: list[Rejection]
    cut: set[str]

    def flow(self, candidates: Candidates, *, blank: Container[str] = ()) -> Flow:
        cut = Counter(study.split for study in self.studies if study.study_id in self.cut)
        return make_flow(
            kept=self.studies,
            rejections=self.rejections,
            facts=candidates.facts,
            cut=cut,
            blank=blank,
        )


def _plan(candidates: Candidates, inclusion: Inclusion) -> _Plan:
    plan = _Plan([], list(candidates.rejections), set())
    for study in candidates.studies:
        reason = inclusion.reason_to_leave_out(study)
        if reason is not None:
            plan.rejections.append(_left_out(study, reason))
            continue
        chosen = choose_images(study, max_images=inclusion.max_images)
        if len(chosen) < len(study.images):
            plan.cut.add(study.study_id)
        plan.studies.append(_with_images(study, chosen))
    return plan


def _with_images(study: Study, images: Sequence[StudyImage]) -> Study:
    """Return a study with some of its images; without prior images it has no prior study."""
    if tuple(images) == study.images:
        return study
    shown = replace(study, images=tuple(images))
    return shown if shown.prior_images else replace(shown, prior_study_id="", prior_time="")


def _left_out(study: Study, reason: str) -> Rejection:
    return Rejection(study_id=study.study_id, image=None, reason=reason, split=study.split)


def _redacted(
    redactor: Redactor, plan: _Plan, jobs: Sequence[ImageJob]
) -> tuple[_Plan, list[ImageJob]]:
    rejections = [
        replace(
            rejection,
            study_id=redactor.identifier(rejection.study_id),
            image=None if rejection.image is None else redactor.identifier(rejection.image),
        )
        for rejection in plan.rejections
    ]
    hidden = [replace(job, image_id=redactor.identifier(job.image_id)) for job in jobs]
    cut = {redactor.identifier(study_id) for study_id in plan.cut}
    # By the new names: in the source's order, its official list would give the old ones away.
    rejections.sort(key=lambda rejection: (rejection.study_id, rejection.image or ""))
    hidden.sort(key=lambda job: job.image_id)
    studies = sorted(redactor.studies(plan.studies), key=lambda study: study.study_id)
    return _Plan(studies, rejections, cut), hidden


def _checked(
    candidates: Candidates, plan: _Plan, output: Path, options: PrepareOptions
) -> tuple[_Plan, list[ImageJob]]:
    """Return what is to be done, hidden if asked for; what is wrong is found now, not after hours
    of images."""
    if not plan.studies:
        raise DataError(_nothing_kept(output, plan.rejections, "source or the options"))
    check_studies(output, plan.studies)
    jobs = jobs_of(plan.studies, candidates.image_files, candidates.suffixes)
    if options.inclusion.require_images:
        check_that_one_exists(jobs)
    if options.redactor is not None:
        return _redacted(options.redactor, plan, jobs)
    return plan, jobs


def _without_unusable(plan: _Plan, problems: Mapping[str, str], *, require_images: bool) -> _Plan:
    """Leave out images that cannot be used, and studies that have no current one left."""
    kept: list[Study] = []
    rejections = list(plan.rejections)
    for study in plan.studies:
        usable = [image for image in study.images if image.image_id not in problems]
        rejections += (
            Rejection(
                study_id=study.study_id,
                image=image.image_id,
                reason=problems[image.image_id],
                split=study.split,
            )
            for image in study.images
            if image.image_id in problems
        )
        study = _with_images(study, usable)
        if require_images and not study.current_images:
            rejections.append(_left_out(study, NO_CURRENT_IMAGE))
        else:
            kept.append(study)
    return _Plan(kept, rejections, plan.cut)


def _nothing_kept(output: Path, rejections: Sequence[Rejection], remedy: str) -> str:
    counts = Counter(rejection.reason for rejection in rejections).most_common(3)
    reasons = ", ".join(f"{reason}: {count}" for reason, count in counts)
    return f"{output}: no study is kept ({reasons}); correct the {remedy}"


def _summary(candidates: Candidates, output: Path, flow: Flow) -> PrepareSummary:
    return PrepareSummary(
        folder=output,
        flow=flow,
        unrecognised_views=candidates.unrecognised_views,
        split_rule=candidates.split_rule,
    )
