"""Other names for patients, studies and images, made with a key that stays where it was made.

An identifier becomes the first digits of its HMAC-SHA256: without the key nobody can compute it or
test a guess, with the key everybody can, and that is how an original is found again:

    redactor = Redactor.from_key_file("redact.key")
    redactor.identifier("50414267")  # the name of that study in the prepared set

A time becomes the days since the patient's first study. Left out on purpose: report texts and
pixels, which stay as they are. This keeps identifiers out of logs, trackers and papers; it does not
make a set anonymous to somebody who holds the originals, and no licence asks less because of it.
"""

import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from editgrpo.data.prepared.boxes import Box
from editgrpo.data.prepared.record import shown
from editgrpo.data.study import Study
from editgrpo.data.times import read_time
from editgrpo.errors import ConfigError
from editgrpo.files import real_path

_KEY_BYTES = 32  # as long as the hash: no shorter path than guessing the key
_KEY_TEXT = re.compile(rb"\s*[0-9a-fA-F]{64}\s*")
# 96 bits: the odds that any two of 10^6 identifiers meet are 10^12 / 2^97, below 10^-17.
_IDENTIFIER_DIGITS = 24
_FINGERPRINT_DIGITS = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS_PER_DAY = Decimal(86_400_000_000)
# 0.864 microseconds: times that differ by a microsecond stay apart.
_SMALLEST_DAY = Decimal("1e-11")

_Position = tuple[str, Decimal]
"""The form of a time, and its days or, of a date, its microseconds since 1970."""


class Redactor:
    """Renames with one key.

    No dataclass on purpose: neither `repr` nor `asdict` of something that holds it shows the key.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Take a key.

        Args:
            key: 32 random bytes.

        Raises:
            ConfigError: It is not 32 bytes.
        """
        if len(key) != _KEY_BYTES:
            raise ConfigError(f"a key of {len(key)} bytes; give {_KEY_BYTES} random bytes")
        self._key = key

    @classmethod
    def from_key_file(cls, path: Path | str, *, outside: Iterable[Path | str] = ()) -> "Redactor":
        """Read the key, or make one if the file is missing.

        Args:
            path: 64 hexadecimal digits; made with 32 random bytes, for its owner alone.
            outside: Folders that it must not lie in: what is handed on with the data protects
                nothing.

        Returns:
            The redactor.

        Raises:
            ConfigError: The file lies in one of the folders, may be read by others, cannot be read
                or made, or holds something else.
        """
        path = Path(path)
        _refuse_inside(path, outside)
        try:
            _make_if_missing(path)
            mode, content = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror or error}; name a key file in a folder of yours"
            ) from error
        # Windows keeps no such bits.
        if os.name != "nt" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{path}: others may read this key; run chmod 600 on it")
        if not _KEY_TEXT.fullmatch(content):
            raise ConfigError(
                f"{path}: not a key of {2 * _KEY_BYTES} hexadecimal digits; name one made before, "
                "or a file that does not exist, to have one made"
            )
        return cls(bytes.fromhex(content.decode("ascii")))

    @property
    def fingerprint(self) -> str:
        """A name of the key that tells nothing about it, to see whether two sets share one."""
        return self._digits("fingerprint", _FINGERPRINT_DIGITS)

    def identifier(self, text: str) -> str:
        """Return the other name of an identifier, the same for patients, studies and images."""
        return self._digits(f"identifier:{text}", _IDENTIFIER_DIGITS)

    def studies(self, studies: Sequence[Study]) -> list[Study]:
        """Rename patients, studies, priors and images, and move every patient's time to begin at 0.

        Args:
            studies: All studies of their patients that shall be told apart by time; the first time
                of a patient is the earliest among them, times of priors included.

        Returns:
            The studies in their order; splits, views and texts as they were.

        Raises:
            DataError: A time is none.
            ConfigError: The times of a patient have two forms.
        """
        positions = {
            text: _position(text) for text in {time for study in studies for time in _times(study)}
        }
        first = _first_positions(studies, positions)
        names: dict[str, str] = {}  # most stand several times: patients, priors, prior images

        def name(text: str) -> str:
            if text and text not in names:
                names[text] = self.identifier(text)
            return names[text] if text else ""

        def days(text: str, patient: str) -> str:
            return _days_between(first[patient], positions[text]) if text else ""

        return [
            replace(
                study,
                study_id=name(study.study_id),
                patient_id=name(study.patient_id),
                prior_study_id=name(study.prior_study_id),
                images=tuple(
                    replace(image, image_id=name(image.image_id)) for image in study.images
                ),
                time=days(study.time, study.patient_id),
                prior_time=days(study.prior_time, study.patient_id),
            )
            for study in studies
        ]

    def boxes(self, boxes: Iterable[Box]) -> list[Box]:
        """Rename the studies and images of boxes."""
        return [
            replace(
                box,
                study_id=self.identifier(box.study_id),
                image_id=self.identifier(box.image_id),
            )
            for box in boxes
        ]

    def __repr__(self) -> str:
        """Return the fingerprint, not the key."""
        return f"Redactor(fingerprint={self.fingerprint!r})"

    def _digits(self, text: str, count: int) -> str:
        # Half of a surrogate pair is refused when a study is written; here it only must not crash.
        message = text.encode("utf-8", errors="surrogatepass")
        return hmac.digest(self._key, message, "sha256").hex()[:count]


def _refuse_inside(path: Path, folders: Iterable[Path | str]) -> None:
    place = real_path(path)
    for folder in folders:
        if place.is_relative_to(real_path(Path(folder))):
            raise ConfigError(
                f"{path}: the key is in {folder} and would travel with the data; name a file "
                "elsewhere"
            )


def _make_if_missing(path: Path) -> None:
    try:
        # Exclusive: of two preparations that start at once, one makes the key.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
        stream.flush()
        os.fsync(handle)


def _times(study: Study) -> list[str]:
    return [time for time in (study.time, study.prior_time) if time]


def _position(text: str) -> _Position:
    time = read_time(text, where="a study to rename")
    if time.moment is None:
        # The shortest text of the number, so that 0.3 - 0.1 is 0.2 and equal numbers stay equal.
        return time.form, Decimal(repr(time.days))
    return time.form, Decimal((time.moment - _EPOCH) // timedelta(microseconds=1))


def _first_positions(
    studies: Iterable[Study], positions: Mapping[str, _Position]
) -> dict[str, _Position]:
    """Return the earliest position of each patient that has one."""
    first: dict[str, _Position] = {}
    for study in studies:
        for time in _times(study):
            position = positions[time]
            earliest = first.setdefault(study.patient_id, position)
            if position[0] != earliest[0]:
                raise ConfigError(
                    f"patient {shown(study.patient_id)}: some times are numbers and some are "
                    "dates; give all in one form"
                )
            first[study.patient_id] = min(position, earliest)
    return first


def _days_between(first: _Position, position: _Position) -> str:
    """Return the time from one to the other in days, without an exponent or trailing zeros."""
    form, place = position
    days = place - first[1]
    if form != "number":
        days = (days / _MICROSECONDS_PER_DAY).quantize(_SMALLEST_DAY)
    text = f"{days:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
