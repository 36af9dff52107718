"""What every data set's preparation shares: which studies are kept, and the account of it.

Sources (`folder.py`, `iu_xray.py`) read their files into studies; `finish` leaves out, checks,
writes and counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from editgrpo.data.check import check_images
from editgrpo.data.splits import check_patients_apart
from editgrpo.data.store import REJECTED_FILE, Rejection, write_rejected, write_studies
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError

_LONGEST_VIEW = 24  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Inclusion:
    """Which studies are kept."""

    require_findings: bool = True
    """Leave out studies without a findings section: there is nothing to learn from them."""

    require_impression: bool = False
    """Leave out studies without an impression."""

    require_images: bool = True
    """Leave out studies without a readable current image."""


@dataclass(slots=True)
class Candidates:
    """What a source read, before anything is left out.

    Attributes:
        studies: Every study that could be put together.
        seen: Studies in the source, those included that could not be put together.
        rejections: Those, and why.
        facts: Further counts worth stating.
        unrecognised_views: How often each view name was not understood.
        split_rule: How studies were assigned to splits, in words.
    """

    studies: list[Study]
    seen: int
    split_rule: str
    rejections: list[Rejection] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)
    unrecognised_views: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareSummary:
    """The account of a preparation: `seen` is `kept` plus all of `dropped`.

    Attributes:
        folder: Where the studies stand now.
        seen: Studies in the source.
        facts: Further counts of the source, such as studies with both sections.
        dropped: Studies left out, by reason.
        kept: Studies written.
        studies_of_split: Studies written, by split.
        images: Image entries written, prior ones included.
        images_left_out: Image entries left out, by reason, those of dropped studies included.
        with_prior: Studies written that have prior images.
        views: Image entries written, by view.
        unrecognised_views: View names that were not understood, with how often they stood.
        split_rule: How studies were assigned to splits, in words.
    """

    folder: Path
    seen: int
    facts: Mapping[str, int]
    dropped: Mapping[str, int]
    kept: int
    studies_of_split: Mapping[Split, int]
    images: int
    images_left_out: Mapping[str, int]
    with_prior: int
    views: Mapping[View, int]
    unrecognised_views: Mapping[str, int]
    split_rule: str

    def rows(self) -> list[tuple[str, int]]:
        """Return the account as (what, how many) in the order in which it should be shown."""
        rows = [("studies seen", self.seen), *self.facts.items()]
        rows += [(f"left out: {reason}", count) for reason, count in self.dropped.items()]
        rows += [("studies kept", self.kept)]
        rows += [(f"in {split}", count) for split, count in self.studies_of_split.items()]
        rows += [("with prior images", self.with_prior), ("images", self.images)]
        rows += [(f"{view} images", count) for view, count in self.views.items()]
        rows += [(f"images left out: {why}", n) for why, n in self.images_left_out.items()]
        unknown_views: Counter[str] = Counter()
        for name, count in self.unrecognised_views.items():
            # A long one is no view: a column of report text was mapped by mistake.
            unknown_views[name if len(name) <= _LONGEST_VIEW else "(long text)"] += count
        rows += [(f"view not understood: {name}", n) for name, n in unknown_views.items()]
        return rows


def finish(
    candidates: Candidates,
    output: Path,
    *,
    inclusion: Inclusion,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareSummary:
    """Apply the inclusion rules, check the images, and write the folder of studies.

    `studies.jsonl` is written last: where it stands, the preparation is complete.

    Args:
        candidates: What a source read.
        output: Folder of the studies; made if missing.
        inclusion: Which studies are kept.
        progress: Called with (images checked, images in all).

    Returns:
        The account.

    Raises:
        DataError: No study is kept (`rejected.jsonl` says why), a patient stands in two splits, or
            the folder cannot be written to.
    """
    check_patients_apart(candidates.studies)
    rejections = list(candidates.rejections)
    included: list[Study] = []
    for study in candidates.studies:
        reason = _reason_to_leave_out(study, inclusion)
        if reason is None:
            included.append(_with_short_paths(study, output))
        else:
            rejections.append(Rejection(study_id=study.study_id, image=None, reason=reason))
    kept, image_rejections = check_images(
        included, output, require_images=inclusion.require_images, progress=progress
    )
    rejections += image_rejections
    write_rejected(output, rejections)
    if not kept:
        raise DataError(
            f"{output / REJECTED_FILE}: none of {candidates.seen} studies is kept "
            f"({_most_common_reasons(rejections)}); correct the source or the options"
        )
    write_studies(output, kept)
    return _account(candidates, kept, rejections, output)


def _reason_to_leave_out(study: Study, inclusion: Inclusion) -> str | None:
    if inclusion.require_findings and not study.findings:
        return "no findings"
    if inclusion.require_impression and not study.impression:
        return "no impression"
    if inclusion.require_images and not any(
        image.timepoint is Timepoint.CURRENT for image in study.images
    ):
        return "no current image listed"
    return None


def _with_short_paths(study: Study, output: Path) -> Study:
    """Make paths inside the output folder relative to it, so that the folder can be moved, and all
    others absolute."""

    def short(image: StudyImage) -> StudyImage:
        path = Path(image.path).absolute()
        if path.is_relative_to(output.absolute()):
            path = path.relative_to(output.absolute())
        return replace(image, path=str(path))

    return replace(study, images=tuple(short(image) for image in study.images))


def _most_common_reasons(rejections: Sequence[Rejection]) -> str:
    counts = Counter(rejection.reason for rejection in rejections).most_common(3)
    return ", ".join(f"{reason}: {count}" for reason, count in counts)


def _account(
    candidates: Candidates, kept: Sequence[Study], rejections: Sequence[Rejection], output: Path
) -> PrepareSummary:
    images = [image for study in kept for image in study.images]
    splits = Counter(study.split for study in kept)
    views = Counter(image.view for image in images)
    return PrepareSummary(
        folder=output,
        seen=candidates.seen,
        facts=candidates.facts,
        dropped=Counter(r.reason for r in rejections if r.image is None),
        kept=len(kept),
        studies_of_split={split: splits[split] for split in Split},
        images=len(images),
        images_left_out=Counter(r.reason for r in rejections if r.image is not None),
        with_prior=sum(
            any(image.timepoint is Timepoint.PRIOR for image in study.images) for study in kept
        ),
        views={view: views[view] for view in View if views[view]},
        unrecognised_views=candidates.unrecognised_views,
        split_rule=candidates.split_rule,
    )
