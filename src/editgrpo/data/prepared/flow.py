"""The flow of a preparation, from what the source holds to what is kept, by split."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from editgrpo.config import Target
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.study import Split, Study, View

WITH_BOXES = "with boxes"
"""Row that counts the studies of a source that have boxes around findings."""

BLANK_IMAGES = "warning: images shown that are blank, of one value everywhere"
"""Name of the row that counts them; there is none where there are none."""

_COLUMNS: tuple[Split | None, ...] = (*Split, None)


class FlowKind(StrEnum):
    """What a row of the flow counts; SEEN is KEPT plus all LEFT_OUT."""

    SEEN = "seen"
    FACT = "fact"
    LEFT_OUT = "left out"
    KEPT = "kept"
    OF_KEPT = "of kept"


def with_sections(studies: Iterable[Study], *targets: Target) -> dict[str, Counter[Split]]:
    """Count the studies that have sections, for `Candidates.facts`.

    Args:
        studies: All of a source.
        *targets: A row for each: its sections, all of them; without any, for each target there is.

    Returns:
        Name of the row to its counts by split.
    """
    studies = list(studies)
    return {
        f"with {' and '.join(target.sections)}": Counter(
            study.split
            for study in studies
            if all(getattr(study, section) for section in target.sections)
        )
        for target in targets or tuple(Target)
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowRow:
    """One row.

    Attributes:
        name: What is counted.
        kind: Its place in the account.
        counts: By split; None is for studies of which no split is known.
    """

    name: str
    kind: FlowKind
    counts: Mapping[Split | None, int]

    @property
    def total(self) -> int:
        """Over all splits."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Flow:
    """All rows, in the order in which they should be shown."""

    rows: tuple[FlowRow, ...]

    def row(self, name: str) -> FlowRow:
        """Return the row of a name; a KeyError if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def count(self, name: str) -> int:
        """Return the total of a row; 0 if there is none."""
        return sum(row.total for row in self.rows if row.name == name)

    def record(self) -> list[dict[str, Any]]:
        """Return the flow as JSON: name, kind, a count for each split, and their sum."""
        return [
            {
                "name": row.name,
                "kind": row.kind.value,
                **{str(split or "unassigned"): row.counts.get(split, 0) for split in _COLUMNS},
                "all": row.total,
            }
            for row in self.rows
        ]


def make_flow(
    *,
    kept: Sequence[Study],
    rejections: Iterable[Rejection],
    facts: Mapping[str, Mapping[Split, int]],
    cut: Mapping[Split, int],
    blank: Container[str] = (),
) -> Flow:
    """Count what went in, what was left out for which reason, and what was kept.

    Args:
        kept: The studies that are kept.
        rejections: Everything that was left out.
        facts: Further counts of the source, by name.
        cut: Studies kept that show fewer images than they have.
        blank: Ids of images whose pixels all have one value.

    Returns:
        The account.
    """
    left_out: dict[str, Counter[Split | None]] = {}
    images_left_out: dict[str, Counter[Split | None]] = {}
    for rejection in rejections:
        group = left_out if rejection.image is None else images_left_out
        group.setdefault(rejection.reason, Counter())[rejection.split] += 1
    kept_counts: Counter[Split | None] = Counter(study.split for study in kept)
    seen = sum(left_out.values(), Counter(kept_counts))
    rows = [("studies in the source", FlowKind.SEEN, seen)]
    rows += [(name, FlowKind.FACT, Counter(counts)) for name, counts in facts.items()]
    rows += [(reason, FlowKind.LEFT_OUT, left_out[reason]) for reason in sorted(left_out)]
    rows += [("studies kept", FlowKind.KEPT, kept_counts)]
    rows += [(name, FlowKind.OF_KEPT, counts) for name, counts in _of_kept(kept).items()]
    blank_images = Counter(
        study.split for study in kept for image in study.images if image.image_id in blank
    )
    if blank_images:
        rows += [(BLANK_IMAGES, FlowKind.OF_KEPT, Counter[Split | None](blank_images))]
    if sum(cut.values()):
        rows += [("studies with more images than are shown", FlowKind.OF_KEPT, Counter(cut))]
    rows += [
        (f"images not shown: {reason}", FlowKind.OF_KEPT, images_left_out[reason])
        for reason in sorted(images_left_out)
    ]
    return Flow(tuple(FlowRow(name=name, kind=kind, counts=counts) for name, kind, counts in rows))


def _of_kept(kept: Sequence[Study]) -> dict[str, Counter[Split | None]]:
    with_prior: Counter[Split | None] = Counter()
    images: Counter[Split | None] = Counter()
    views: dict[View, Counter[Split | None]] = {view: Counter() for view in View}
    patients: set[tuple[Split, str]] = set()
    for study in kept:
        patients.add((study.split, study.patient_id))
        with_prior[study.split] += bool(study.prior_images)
        images[study.split] += len(study.images)
        for image in study.images:
            views[image.view][study.split] += 1
    return {
        "patients": Counter(split for split, _ in patients),
        "studies with prior images": with_prior,
        "images shown, prior ones included": images,
        **{f"{view.value} images": counts for view, counts in views.items() if counts.total()},
    }
