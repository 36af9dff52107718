"""What a prepared set holds, by split: the rows of the paper's Table 3, and more.

Counted on the memory-mapped columns, some thousand studies at a time: memory grows with the number
of studies, not with their text. The labels of reports are the one costly part; see `prevalence.py`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from editgrpo.data.overview.distribution import Distribution
from editgrpo.data.overview.prevalence import LabelRequest, Prevalence, count_labels, sample_rows
from editgrpo.data.prepared.boxes import Box, read_boxes
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.record import SECTIONS
from editgrpo.data.prepared.store import StudySet, read_prepared
from editgrpo.data.study import Split, Timepoint, View
from editgrpo.data.times import time_order
from editgrpo.errors import DataError

Counts = NDArray[np.int64]

_CHUNK = 16_384  # studies
_ROUNDING_DAYS = 1e-6  # a tenth of a second


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitStatistics:
    """What one split holds.

    Attributes:
        studies: Its studies.
        patients: Its patients.
        with_prior: Studies that have prior images.
        images_a_study: Current and prior images of each study.
        current_images_a_study: Current images of each study.
        studies_a_patient: Studies of each patient.
        views: How many image entries of each time point have each view.
        sections: How many studies give each section.
        with_both: How many studies give findings and impression.
        findings_words: Words, separated by white space, of each findings section that is given.
        impression_words: Likewise of each impression.
        boxes: Boxes that are drawn around findings.
        with_boxes: Studies that have some.
        days_since_prior: Whole days, rounded down, between a study and the prior that it shows,
            where both times are known.
        image_sizes: How many images, each counted once, have each (height, width) in pixels.
        prevalence: Labels of the findings sections; None if they were not asked for.
    """

    studies: int
    patients: int
    with_prior: int
    images_a_study: Distribution | None
    current_images_a_study: Distribution | None
    studies_a_patient: Distribution | None
    views: Mapping[Timepoint, Mapping[View, int]]
    sections: Mapping[str, int]
    with_both: int
    findings_words: Distribution | None
    impression_words: Distribution | None
    boxes: int
    with_boxes: int
    days_since_prior: Distribution | None
    image_sizes: Mapping[tuple[int, int], int]
    prevalence: Prevalence | None = None

    @property
    def images(self) -> int:
        """Images of the split, each counted once, however many studies show it."""
        return sum(self.image_sizes.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class SetStatistics:
    """What a set holds.

    Attributes:
        folder: The set.
        dataset: The data set that it was prepared from.
        splits: One for each split that has studies, in the order of `Split`.
        labels: What counted the labels; None if nothing did.
    """

    folder: Path
    dataset: str
    splits: Mapping[Split, SplitStatistics]
    labels: LabelRequest | None = None


def set_statistics(
    studies: StudySet,
    *,
    labels: LabelRequest | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SetStatistics:
    """Describe a prepared set.

    Args:
        studies: The set, with all its splits or one.
        labels: Which labels are counted; None counts none.
        progress: Called with (reports labelled, reports in all).

    Returns:
        The statistics of each split.

    Raises:
        DataError: A table is damaged.
    """
    tallies: dict[Split, _Tally] = {}
    boxes = read_boxes(studies.folder)
    first = 0
    for batch in studies.table.to_batches(max_chunksize=_CHUNK):
        splits = batch.column("split")
        for name in pc.unique(splits).to_pylist():
            mask = pc.equal(splits, name)
            rows = first + np.flatnonzero(mask.to_numpy(zero_copy_only=False))
            part = batch if len(rows) == batch.num_rows else batch.filter(mask)
            try:
                tally = tallies.setdefault(Split(name), _Tally())
                tally.add(part, rows)
                tally.add_boxes(part, boxes)
            except ValueError as error:  # no split or view
                raise DataError(
                    f"{studies.folder}: a split or view is damaged; run `editgrpo data check` on it"
                ) from error
        first += batch.num_rows
    prevalence = _prevalence(studies.table, tallies, labels, progress) if labels else {}
    return SetStatistics(
        folder=studies.folder,
        dataset=str(read_prepared(studies.folder)["dataset"]),
        labels=labels,
        splits={
            split: tallies[split].finish(studies.images, prevalence.get(split))
            for split in Split
            if split in tallies
        },
    )


def _prevalence(
    table: pa.Table,
    tallies: "Mapping[Split, _Tally]",
    labels: LabelRequest,
    progress: Callable[[int, int], None] | None,
) -> dict[Split, Prevalence | None]:
    chosen = {
        split: sample_rows(np.concatenate(tally.rows_with_findings).tolist(), labels)
        for split, tally in tallies.items()
    }
    total, done = sum(map(len, chosen.values())), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    # The other columns are not touched: taking rows of them would read the whole file.
    findings = table["findings"]
    return {
        split: count_labels(
            findings.take(pa.array(rows, pa.int64())).to_pylist(), labels.labeler, progress=advance
        )
        for split, rows in chosen.items()
    }


@dataclass(slots=True)
class _Tally:
    """Counts of one split, batch after batch; the lists hold one array for each batch."""

    current: list[Counts] = field(default_factory=list)
    prior: list[Counts] = field(default_factory=list)
    words: dict[str, list[Counts]] = field(
        default_factory=lambda: {"findings": [], "impression": []}
    )
    with_both: int = 0
    boxes: int = 0
    with_boxes: int = 0
    days: list[Counts] = field(default_factory=list)
    rows_with_findings: list[Counts] = field(default_factory=list)
    patients: Counter[str] = field(default_factory=Counter)
    sections: Counter[str] = field(default_factory=Counter)
    views: Counter[tuple[Timepoint, View]] = field(default_factory=Counter)
    image_ids: set[str] = field(default_factory=set)

    def add(self, batch: pa.RecordBatch, rows: Counts) -> None:
        """Count some studies, which are at the given rows of the set."""
        self.patients.update(_frequencies(batch.column("patient_id")))
        self._add_images(batch.column("images"))
        for name in SECTIONS:
            self.sections[name] += pc.sum(pc.not_equal(batch.column(name), "")).as_py()
        words = {name: _word_counts(batch.column(name)) for name in self.words}
        for name, counts in words.items():
            self.words[name].append(counts[counts > 0])
        has_findings = words["findings"] > 0
        self.with_both += int((has_findings & (words["impression"] > 0)).sum())
        self.rows_with_findings.append(rows[has_findings])
        self.days.append(_days_since_prior(batch))

    def add_boxes(self, batch: pa.RecordBatch, boxes: Mapping[str, tuple[Box, ...]]) -> None:
        """Count the boxes of some studies."""
        if boxes:
            counts = [len(boxes.get(one, ())) for one in batch.column("study_id").to_pylist()]
            self.boxes += sum(counts)
            self.with_boxes += sum(count > 0 for count in counts)

    def _add_images(self, images: pa.ListArray) -> None:
        entries = images.flatten()
        parents = np.repeat(np.arange(len(images)), pc.list_value_length(images).to_numpy())
        timepoints, views = entries.field("timepoint"), entries.field("view")
        for timepoint, counts in ((Timepoint.CURRENT, self.current), (Timepoint.PRIOR, self.prior)):
            mask = pc.equal(timepoints, timepoint.value)
            is_of_time = mask.to_numpy(zero_copy_only=False)
            counts.append(np.bincount(parents[is_of_time], minlength=len(images)))
            for view, count in _frequencies(views.filter(mask)).items():
                self.views[timepoint, View(view)] += count
        self.image_ids.update(entries.field("image_id").to_pylist())

    def finish(self, images: ImageStore, prevalence: Prevalence | None) -> SplitStatistics:
        """Return what was counted."""
        current, prior = np.concatenate(self.current), np.concatenate(self.prior)
        sizes = Counter(images.size(name) for name in self.image_ids if name in images)
        return SplitStatistics(
            studies=len(current),
            patients=len(self.patients),
            with_prior=int((prior > 0).sum()),
            images_a_study=Distribution.of(current + prior),
            current_images_a_study=Distribution.of(current),
            studies_a_patient=Distribution.of(np.array(list(self.patients.values()))),
            views={
                timepoint: {
                    view: self.views[timepoint, view]
                    for view in View
                    if self.views[timepoint, view]
                }
                for timepoint in Timepoint
            },
            sections={name: self.sections[name] for name in SECTIONS},
            with_both=self.with_both,
            findings_words=Distribution.of(np.concatenate(self.words["findings"])),
            impression_words=Distribution.of(np.concatenate(self.words["impression"])),
            boxes=self.boxes,
            with_boxes=self.with_boxes,
            days_since_prior=Distribution.of(np.concatenate(self.days)),
            image_sizes=dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))),
            prevalence=prevalence,
        )


def _frequencies(texts: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(texts)
    names, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(names, counts, strict=True))


def _word_counts(texts: pa.Array) -> Counts:
    """Return how many words, separated by white space, each text has."""
    trimmed = pc.utf8_trim_whitespace(texts)
    words = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    lengths: Counts = words.to_numpy().astype(np.int64)
    # Splitting nothing gives one empty word.
    lengths[pc.equal(trimmed, "").to_numpy(zero_copy_only=False)] = 0
    return lengths


def _days_since_prior(batch: pa.RecordBatch) -> Counts:
    times, prior_times = batch.column("time"), batch.column("prior_time")
    both = pc.and_(pc.not_equal(times, ""), pc.not_equal(prior_times, ""))
    pairs = zip(times.filter(both).to_pylist(), prior_times.filter(both).to_pylist(), strict=True)
    gaps = [time_order(time) - time_order(prior) for time, prior in pairs]
    # Days since 1970 lose a binary digit on 2149-06-07, so ten days over it may be 9.999999999.
    days: Counts = np.floor(np.array(gaps, dtype=np.float64) + _ROUNDING_DAYS).astype(np.int64)
    return days
