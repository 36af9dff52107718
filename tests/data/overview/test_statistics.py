"""Statistics of prepared sets: worked out by hand, adding up, and the same however they are cut."""

import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from editgrpo.data.overview import statistics as statistics_module
from editgrpo.data.overview.distribution import Distribution
from editgrpo.data.overview.prevalence import LabelRequest, count_labels, sample_rows
from editgrpo.data.overview.statistics import SetStatistics, set_statistics
from editgrpo.data.prepared.record import SECTIONS
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError
from editgrpo.reports.chexpert import FINDINGS, LabelClass
from editgrpo.reports.rules import RulesLabeler
from tests.builders import write_set
from tests.data.described import STUDIES, described_set


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> SetStatistics:
    studies = described_set(tmp_path_factory.mktemp("described") / "set")
    return set_statistics(studies, labels=LabelRequest(labeler=RulesLabeler()))


def test_studies_patients_and_images_are_counted_by_split(described: SetStatistics) -> None:
    train, test = described.splits[Split.TRAIN], described.splits[Split.TEST]
    assert list(described.splits) == [Split.TRAIN, Split.TEST]
    assert (train.studies, train.patients, train.with_prior) == (3, 2, 1)
    assert (test.studies, test.patients, test.with_prior) == (1, 1, 0)
    assert train.images == 4, "a and b are shown by two studies and count once"
    # 2, 3 and 1 images: mean 2, squared distances 0 + 1 + 1, sd sqrt(2 / 3).
    images = train.images_a_study
    assert images is not None
    assert images.mean == 2.0
    assert images.sd == pytest.approx((2 / 3) ** 0.5)
    # Current ones alone: 2, 1 and 1.
    assert train.current_images_a_study is not None
    assert train.current_images_a_study.frequencies == {1: 2, 2: 1}
    assert train.studies_a_patient is not None
    assert train.studies_a_patient.frequencies == {1: 1, 2: 1}


def test_views_are_counted_for_each_time_point(described: SetStatistics) -> None:
    train = described.splits[Split.TRAIN].views
    assert train[Timepoint.CURRENT] == {View.PA: 2, View.AP: 1, View.LATERAL: 1}
    assert train[Timepoint.PRIOR] == {View.PA: 1, View.LATERAL: 1}
    test = described.splits[Split.TEST].views
    assert test == {Timepoint.CURRENT: {View.UNKNOWN: 1}, Timepoint.PRIOR: {}}


def test_lengths_sections_and_gaps(described: SetStatistics) -> None:
    train, test = described.splits[Split.TRAIN], described.splits[Split.TEST]
    assert train.findings_words is not None
    assert train.findings_words.frequencies == {1: 1, 4: 1, 6: 1}
    assert train.findings_words.median == 4.0
    assert train.sections == {
        "indication": 2, "technique": 0, "comparison": 1, "findings": 3, "impression": 0,
    }  # fmt: skip
    assert train.days_since_prior is not None
    assert train.days_since_prior.frequencies == {9: 1}
    assert test.findings_words is None, "a section that is not given has no length"
    assert test.days_since_prior is None


def test_whole_days_stay_whole_at_every_time_of_day(tmp_path: Path) -> None:
    start = datetime(2149, 1, 1, 13, 7, 41)  # over 2149-06-07, where days since 1970 reach 2**16
    studies = [
        Study(
            study_id=str(days),
            patient_id=str(days),
            split=Split.TRAIN,
            images=(),
            time=(start + timedelta(days=2 * days, minutes=days)).isoformat(),
            prior_study_id="earlier",
            prior_time=(start + timedelta(days=days, minutes=days)).isoformat(),
        )
        for days in range(200)
    ]
    found = set_statistics(StudySet.load(write_set(tmp_path / "set", studies)))
    days = found.splits[Split.TRAIN].days_since_prior
    assert days is not None
    assert days.frequencies == dict.fromkeys(range(200), 1)


def test_image_sizes_are_those_of_the_store(described: SetStatistics) -> None:
    assert described.splits[Split.TRAIN].image_sizes == {(56, 56): 4}


@pytest.mark.parametrize("column", ["split", "view"])
def test_a_damaged_table_is_one_line_that_names_the_check(tmp_path: Path, column: str) -> None:
    studies = described_set(tmp_path / "set")
    rows = studies.table.to_pylist()
    if column == "split":
        rows[0]["split"] = "trane"
    else:
        rows[0]["images"][0]["view"] = "PB"
    studies.table = pa.Table.from_pylist(rows, schema=studies.table.schema)
    with pytest.raises(DataError, match="a split or view is damaged; run `editgrpo data check`"):
        set_statistics(studies)


def test_labels_are_counted_by_class(described: SetStatistics) -> None:
    train = described.splits[Split.TRAIN].prevalence
    assert train is not None
    assert train.reports == 3
    assert train.share("Edema") == pytest.approx(1 / 3)
    assert train.share("Pleural Effusion") == pytest.approx(1 / 3)
    assert train.share("No Finding") == pytest.approx(1 / 3)
    assert train.counts["Pneumothorax"][LabelClass.NEGATIVE] == 1
    assert train.share("Pneumothorax") == 0.0
    assert described.splits[Split.TEST].prevalence is None, "there is no report to label"


def _random_studies(count: int) -> list[Study]:
    rng = random.Random(5)
    words = ["clear", "lungs", "edema", "no\u00a0effusion", "line\nbreak", " "]
    studies = []
    for number in range(count):
        patient = rng.randrange(40)
        images = tuple(
            StudyImage(
                image_id=f"{number}-{k}",
                view=rng.choice(list(View)),
                timepoint=Timepoint.PRIOR if k > 1 else Timepoint.CURRENT,
            )
            for k in range(rng.randrange(5))
        )
        studies.append(
            Study(
                study_id=str(number),
                patient_id=str(patient),
                split=list(Split)[patient % 3],
                images=images,
                time="7.5" if images else "",
                prior_study_id="x" if len(images) > 2 else "",
                prior_time=str(rng.uniform(0, 7)) if len(images) > 2 else "",
                findings=" ".join(rng.choices(words, k=rng.randrange(12))).strip(),
            )
        )
    return studies


@pytest.fixture(scope="module")
def random_set(tmp_path_factory: pytest.TempPathFactory) -> StudySet:
    return StudySet.load(write_set(tmp_path_factory.mktemp("random") / "set", _random_studies(120)))


def test_counts_add_up_to_the_studies_themselves(random_set: StudySet) -> None:
    found = set_statistics(random_set).splits.values()
    studies = list(random_set)
    assert sum(split.studies for split in found) == len(studies) == 120
    assert sum(split.patients for split in found) == len({one.patient_id for one in studies})
    views = Counter((image.timepoint, image.view) for one in studies for image in one.images)
    counted: Counter[tuple[Timepoint, View]] = Counter()
    for split in found:
        for timepoint, of_view in split.views.items():
            counted.update({(timepoint, view): count for view, count in of_view.items()})
    assert counted == views
    lengths = Counter(len(one.findings.split()) for one in studies if one.findings)
    words: Counter[int] = Counter()
    for split in found:
        words.update(split.findings_words.frequencies if split.findings_words else {})
        assert split.findings_words is None or split.findings_words.count <= split.studies
    assert words == lengths
    for name in SECTIONS:
        given = sum(bool(getattr(one, name)) for one in studies)
        assert sum(split.sections[name] for split in found) == given
    assert sum(split.images for split in found) == len(random_set.images)
    assert sum(split.with_prior for split in found) == sum(
        bool(one.prior_images) for one in studies
    )


def test_the_size_of_the_chunks_changes_nothing(
    random_set: StudySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = LabelRequest(labeler=RulesLabeler(), most=10, seed=3)
    whole = set_statistics(random_set, labels=labels)
    monkeypatch.setattr(statistics_module, "_CHUNK", 7)
    assert set_statistics(random_set, labels=labels) == whole


def test_rows_of_mixed_splits_are_told_apart(random_set: StudySet) -> None:
    order = random.Random(1).sample(range(len(random_set)), len(random_set))
    mixed = random_set[:]
    mixed.table = random_set.table.take(pa.array(order))
    labels = LabelRequest(labeler=RulesLabeler())
    assert set_statistics(mixed, labels=labels) == set_statistics(random_set, labels=labels)


def test_one_split_alone_is_described_alone(random_set: StudySet) -> None:
    test = StudySet.load(random_set.folder, split=Split.TEST)
    alone = set_statistics(test).splits
    assert alone == {Split.TEST: set_statistics(random_set).splits[Split.TEST]}


def test_progress_ends_at_the_number_of_labelled_reports(random_set: StudySet) -> None:
    calls: list[tuple[int, int]] = []
    labels = LabelRequest(labeler=RulesLabeler(), most=10)
    set_statistics(
        random_set, labels=labels, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (30, 30)


def test_of_many_reports_a_sample_is_drawn_that_the_seed_decides() -> None:
    request = LabelRequest(labeler=RulesLabeler(), most=5, seed=1)
    chosen = sample_rows(range(100, 200), request)
    assert len(set(chosen)) == 5
    assert chosen == sorted(chosen)
    assert set(chosen) <= set(range(100, 200))
    assert chosen == sample_rows(range(100, 200), request)
    other = LabelRequest(labeler=RulesLabeler(), most=5, seed=2)
    assert chosen != sample_rows(range(100, 200), other)
    assert sample_rows([7, 8, 9], request) == [7, 8, 9]


def test_every_report_has_one_class_of_every_finding() -> None:
    reports = [study.findings for study in STUDIES] * 300  # more than one batch
    found = count_labels(reports, RulesLabeler())
    assert found is not None
    assert list(found.counts) == list(FINDINGS)
    assert all(sum(counts.values()) == 1200 for counts in found.counts.values())


def test_an_uncertain_finding_counts_as_there() -> None:
    found = count_labels(["Possible pneumonia.", "No pneumonia."], RulesLabeler())
    assert found is not None
    assert found.counts["Pneumonia"][LabelClass.UNCERTAIN] == 1
    assert found.share("Pneumonia") == 0.5


def test_a_distribution_is_worked_out_by_hand() -> None:
    # 1 to 20 and 100: sum 310; the middle is the 11th number; 0.95 * 21 = 19.95, so the 20th.
    numbers = Distribution.of(np.array([100, *range(20, 0, -1)]))
    assert numbers is not None
    assert (numbers.count, numbers.minimum, numbers.maximum) == (21, 1, 100)
    assert numbers.mean == pytest.approx(310 / 21)
    assert (numbers.median, numbers.p95) == (11.0, 20)
    assert (numbers.quantile(1.0), numbers.quantile(1 / 21), numbers.quantile(0.05)) == (100, 1, 2)
    assert list(numbers.frequencies) == [*range(1, 21), 100]
    assert Distribution.of(np.array([], dtype=np.int64)) is None


def test_statistics_hold_no_text_of_a_report(described: SetStatistics, tmp_path: Path) -> None:
    shown = str(described).lower()
    for word in ("effusion.", "clear", "cough"):
        assert word not in shown
