"""Identifiers are hidden with a key, consistently, and nothing of the original ones is left."""

import dataclasses
import hashlib
import hmac
import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.prepared.store import StudySet
from editgrpo.data.priors import attach_priors
from editgrpo.data.redact import Redactor
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.data.times import time_order
from editgrpo.data.verify import verify
from editgrpo.errors import ConfigError, DataError
from tests.data.small_sets import draw_images, small_studies, write_small_set

KEY = bytes(range(32))
REDACTOR = Redactor(KEY)
# Decimals of 10^-6 below 10^6: numbers whose differences a float holds.
numbers = st.integers(-(10**11), 10**11).map(lambda count: f"{count / 10**6:.6f}")
dates = st.datetimes().map(lambda moment: moment.isoformat())


def visits(times: list[str], patient: str = "p") -> list[Study]:
    return [
        Study(study_id=str(row), patient_id=patient, split=Split.TEST, images=(), time=time)
        for row, time in enumerate(times)
    ]


def test_an_identifier_is_the_head_of_its_hmac() -> None:
    # An independent way to the same number: the definition of HMAC (RFC 2104) by two hashes.
    inner = hashlib.sha256(bytes(k ^ 0x36 for k in KEY.ljust(64, b"\0")) + b"identifier:50414267")
    outer = hashlib.sha256(bytes(k ^ 0x5C for k in KEY.ljust(64, b"\0")) + inner.digest())
    assert REDACTOR.identifier("50414267") == outer.hexdigest()[:24]


@pytest.mark.slow
def test_a_hundred_thousand_identifiers_stay_apart() -> None:
    assert len({REDACTOR.identifier(str(number)) for number in range(100_000)}) == 100_000


@given(st.text(), st.text())
def test_identifiers_are_equal_only_of_equal_texts(one: str, other: str) -> None:
    assert (REDACTOR.identifier(one) == REDACTOR.identifier(other)) == (one == other)


@given(st.binary(min_size=32, max_size=32), st.text())
def test_another_key_gives_other_identifiers_and_another_fingerprint(key: bytes, text: str) -> None:
    other = Redactor(key)
    assert Redactor(key).identifier(text) == other.identifier(text)
    if key != KEY:
        assert other.identifier(text) != REDACTOR.identifier(text)
        assert other.fingerprint != REDACTOR.fingerprint


def test_the_fingerprint_is_no_identifier_and_nothing_shows_the_key() -> None:
    @dataclasses.dataclass
    class Options:
        redactor: Redactor

    assert not REDACTOR.identifier("fingerprint").startswith(REDACTOR.fingerprint)
    assert REDACTOR.fingerprint == hmac.digest(KEY, b"fingerprint", "sha256").hex()[:16]
    for text in (repr(REDACTOR), str(dataclasses.asdict(Options(REDACTOR)))):
        assert KEY.hex() not in text and repr(KEY) not in text
        assert REDACTOR.fingerprint in text


def test_links_splits_views_and_texts_hold() -> None:
    before = small_studies()
    after = REDACTOR.studies(before)
    name = REDACTOR.identifier
    for old, new in zip(before, after, strict=True):
        assert (new.study_id, new.patient_id) == (name(old.study_id), name(old.patient_id))
        assert new.prior_study_id == (name(old.prior_study_id) if old.prior_study_id else "")
        assert [image.image_id for image in new.images] == [name(i.image_id) for i in old.images]
        assert [(image.view, image.timepoint) for image in new.images] == [
            (image.view, image.timepoint) for image in old.images
        ]
        for same in ("split", "indication", "technique", "comparison", "findings", "impression"):
            assert getattr(new, same) == getattr(old, same)


def test_times_become_days_since_the_first_one_of_the_patient() -> None:
    # s1 at 8:00 on 1 January, s2 at 20:00 on the 3rd: 2.5 days. s3 at midnight of 1 February:
    # 30 days and 16 hours less a quarter of a second, 30 + (57,599.75 / 86,400) days.
    days = {study.findings: study.time for study in REDACTOR.studies(small_studies())}
    assert [days[f"Clear lungs in {number}."] for number in range(1, 8)] == [
        "0",
        "2.5",
        "30.66666377315",
        "0",
        "0",
        "1",
        "",
    ]


def test_the_first_time_may_be_that_of_a_prior_outside_the_set() -> None:
    study = Study(
        study_id="s",
        patient_id="p",
        split=Split.TEST,
        images=(StudyImage(image_id="i", view=View.PA, timepoint=Timepoint.PRIOR),),
        time="2150-01-11",
        prior_study_id="r",
        prior_time="2150-01-01",
    )
    (hidden,) = REDACTOR.studies([study])
    assert (hidden.time, hidden.prior_time) == ("10", "0")


@pytest.mark.slow
@given(st.one_of(st.lists(numbers, min_size=1), st.lists(dates, min_size=1)))
def test_the_order_of_times_is_kept_and_ties_stay_ties(times: list[str]) -> None:
    hidden = [float(study.time) for study in REDACTOR.studies(visits(times))]
    assert min(hidden) == 0
    for one, hidden_one in zip(times, hidden, strict=True):
        for other, hidden_other in zip(times, hidden, strict=True):
            if one == other:
                assert hidden_one == hidden_other
            if time_order(one) < time_order(other):
                assert hidden_one < hidden_other


@pytest.mark.slow
@given(times=st.lists(dates, min_size=2, max_size=6))
def test_priors_are_the_same_studies_before_and_after(times: list[str]) -> None:
    studies = [
        dataclasses.replace(s, images=(StudyImage(image_id=s.study_id, view=View.PA),))
        for s in visits(times)
    ]
    first_then_hidden = REDACTOR.studies(attach_priors(studies))
    assert attach_priors(REDACTOR.studies(studies)) == first_then_hidden


@pytest.mark.slow
@given(times=st.lists(dates, min_size=1), shift=st.timedeltas())
def test_days_do_not_tell_when_it_was(times: list[str], shift: timedelta) -> None:
    try:
        moved = [(datetime.fromisoformat(time) + shift).isoformat() for time in times]
    except OverflowError:
        return
    assert [study.time for study in REDACTOR.studies(visits(times))] == [
        study.time for study in REDACTOR.studies(visits(moved))
    ]


def test_times_that_are_none_or_of_two_forms_are_refused() -> None:
    with pytest.raises(DataError, match="give a number"):
        REDACTOR.studies(visits(["soon"]))
    with pytest.raises(ConfigError, match="some times are numbers and some are dates"):
        REDACTOR.studies(visits(["3", "2150-01-01"]))


def test_a_missing_key_is_made_for_its_owner_alone_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "redact.key"
    first = Redactor.from_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert Redactor.from_key_file(path).fingerprint == first.fingerprint
    assert Redactor.from_key_file(tmp_path / "other.key").fingerprint != first.fingerprint


def test_a_umask_does_not_open_the_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Redactor.from_key_file(tmp_path / "redact.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "redact.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "redact.key"
    Redactor.from_key_file(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others may read this key; run chmod 600 on it"):
        Redactor.from_key_file(path)


def test_a_key_among_the_data_is_refused_before_it_is_made(tmp_path: Path) -> None:
    for folder in (tmp_path / "set", tmp_path / "root"):
        path = folder / "deeper" / ".." / "redact.key"
        folder.mkdir()
        with pytest.raises(ConfigError, match="would travel with the data; name a file elsewhere"):
            Redactor.from_key_file(path, outside=[tmp_path / "set", tmp_path / "root"])
        assert not list(folder.iterdir())
    Redactor.from_key_file(tmp_path / "set.key", outside=[tmp_path / "set"])


@pytest.mark.parametrize("content", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"\xff" * 64])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "redact.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a key of 64 hexadecimal digits") as refused:
        Redactor.from_key_file(path)
    assert "abab" not in str(refused.value) and "zz" not in str(refused.value)
    with pytest.raises(ConfigError, match="give 32 random bytes"):
        Redactor(b"short")


def test_a_key_in_no_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; name a key file in a folder"):
        Redactor.from_key_file(tmp_path / "nowhere" / "redact.key")


def test_no_original_identifier_time_or_path_is_left_in_the_folder(tmp_path: Path) -> None:
    """Neither of what was kept nor of what was left out, in no byte of any file."""
    rare = {study.study_id: f"{study.study_id}zebra" for study in small_studies()}

    def renamed(study: Study) -> Study:
        return dataclasses.replace(
            study,
            study_id=rare[study.study_id],
            patient_id=f"{study.patient_id}quagga",
            prior_study_id=rare.get(study.prior_study_id, ""),
            images=tuple(
                dataclasses.replace(image, image_id=f"{image.image_id}okapi")
                for image in study.images
            ),
            findings="" if study.study_id == "s4" else study.findings,
        )

    studies = [renamed(study) for study in small_studies()]
    ids = sorted({image.image_id for study in studies for image in study.images})
    originals = draw_images(tmp_path / "originals" / "tapir", ids)
    Path(originals["s6-sideokapi"]).write_bytes(b"broken")
    Path(originals["s7-frontokapi"]).unlink()
    Path(originals["s7-sideokapi"]).unlink()
    folder = write_small_set(tmp_path, studies=studies, originals=originals, redactor=REDACTOR)
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for word in (b"zebra", b"quagga", b"okapi", b"tapir", b"2149", b"2150", b"2151"):
        assert word not in content
    assert REDACTOR.identifier("s1zebra").encode() in content
    assert REDACTOR.identifier("s4zebra").encode() in (folder / "rejected.jsonl").read_bytes()
    assert REDACTOR.fingerprint.encode() in (folder / "prepared.json").read_bytes()
    assert KEY.hex().encode() not in content
    assert verify(folder, workers=1).ok


def test_the_order_of_a_set_tells_nothing_of_the_original_order(tmp_path: Path) -> None:
    folder = write_small_set(tmp_path, redactor=REDACTOR)
    train = [study.study_id for study in StudySet.load(folder, split=Split.TRAIN)]
    assert train == sorted(train)
    images = list(StudySet.load(folder).images)
    assert images == sorted(images)
