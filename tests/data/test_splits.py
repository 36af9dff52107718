from collections import Counter

import pytest

from editgrpo.data.splits import (
    SplitRule,
    check_patients_apart,
    parse_split,
    parse_split_shares,
)
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, DataError

PATIENTS = [f"p{k}" for k in range(10_000)]


def test_shares_hold_over_many_patients() -> None:
    rule = SplitRule(seed=3, train=0.6, validation=0.15, test=0.25)
    counts = Counter(rule.split_of(patient) for patient in PATIENTS)
    # Binomial: the standard deviation of a share of 0.6 over 10,000 is 0.005; five of them.
    assert counts[Split.TRAIN] / 10_000 == pytest.approx(0.60, abs=0.025)
    assert counts[Split.VALIDATION] / 10_000 == pytest.approx(0.15, abs=0.025)
    assert counts[Split.TEST] / 10_000 == pytest.approx(0.25, abs=0.025)


def test_a_patient_keeps_its_split_whoever_else_there_is() -> None:
    # `printf 0:p1 | sha256sum` begins with 0.9862 of the range, so p1 stands above 0.8: test. The
    # others: p0 0.781, p2 0.055, p3 0.794, p4 0.335, p5 0.478; below 0.7 is train, below 0.8
    # validation. A change here would move the patients of data sets that are already prepared.
    rule = SplitRule(train=0.7, validation=0.1, test=0.2)
    splits = "".join(rule.split_of(f"p{k}").value[:2] for k in range(6))
    assert splits == "vatetrvatrtr"


def test_another_seed_gives_another_split() -> None:
    splits = [[SplitRule(seed=seed).split_of(p) for p in PATIENTS[:50]] for seed in (0, 1)]
    assert splits[0] != splits[1]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (SplitRule(train=1, validation=0, test=0), {Split.TRAIN}),
        (SplitRule(train=0, validation=0, test=1), {Split.TEST}),
        (SplitRule(train=0.5, validation=0.5, test=0), {Split.TRAIN, Split.VALIDATION}),
        (SplitRule(train=0.9, validation=0, test=0.1), {Split.TRAIN, Split.TEST}),
    ],
)
def test_a_share_of_zero_gets_nobody(rule: SplitRule, expected: set[Split]) -> None:
    assert {rule.split_of(patient) for patient in PATIENTS} == expected


@pytest.mark.parametrize("shares", [{"train": 0.9}, {"train": 1.2, "test": -0.3}])
def test_shares_that_do_not_add_up_are_an_error(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="their sum 1"):
        SplitRule(**shares)


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", Split.TRAIN), ("validate", Split.VALIDATION), ("val", Split.VALIDATION)],
)
def test_usual_split_names_are_understood(name: str, split: Split) -> None:
    assert parse_split(name, where="x") is split


def test_an_unusual_split_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"line 3: split is 'tset'; did you mean 'test'\?"):
        parse_split("tset", where="a.csv, line 3: split")


def a_study(study_id: str, patient_id: str, split: Split) -> Study:
    return Study(study_id=study_id, patient_id=patient_id, split=split, images=())


def test_a_patient_in_two_splits_is_named() -> None:
    studies = [a_study("s1", "p1", Split.TRAIN), a_study("s2", "p2", Split.TEST)]
    check_patients_apart(studies)
    with pytest.raises(DataError, match=r"patient 'p1' is in both train and test .*'s3'"):
        check_patients_apart([*studies, a_study("s3", "p1", Split.TEST)])


def test_shares_are_read_as_they_are_typed() -> None:
    rule = parse_split_shares("train=0.8, val=0.2", seed=3)
    assert rule == SplitRule(seed=3, train=0.8, validation=0.2, test=0.0)
    assert {rule.split_of(f"p{k}") for k in range(50)} == {Split.TRAIN, Split.VALIDATION}
    assert SplitRule(train=0.875, validation=0.125, test=0).describe() == (
        "by patient, seed 0: 87.5% train, 12.5% validation, 0% test"
    )


@pytest.mark.parametrize(
    "text",
    ["", "0.8,0.1,0.1", "train=0.8", "train=0.8,train=0.2", "train=x,test=1", "tarin=1",
     "train=nan", "train=1.5,test=-0.5", "train=inf"],
)  # fmt: skip
def test_shares_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^split share"):
        parse_split_shares(text)
