"""Finding a study by its id, and the ids that a mistyped one may stand for."""

import bisect
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from editgrpo.data.prepared.record import shown
from editgrpo.data.prepared.store import REJECTED_FILE, StudySet, read_prepared
from editgrpo.data.study import Study
from editgrpo.errors import DataError
from editgrpo.files import read_jsonl

_MOST_SUGGESTED = 3
# Comparing a name with all of 200,000 ids takes a minute; with neighbours, no time.
_NEIGHBOURS = 100
_LIKE = 0.6


def find_study(studies: StudySet, study_id: str) -> Study:
    """Return the study of an id.

    Args:
        studies: The set.
        study_id: As it stands in the set.

    Returns:
        The study.

    Raises:
        DataError: There is none; the message says why it was left out, or suggests at most three
            ids that are like it.
    """
    study = studies.find(study_id)
    if study is not None:
        return study
    left_out = _reason_left_out(studies.folder, study_id)
    if left_out is not None:
        raise DataError(f"{studies.folder}: study {shown(study_id)} was left out ({left_out})")
    ids = studies.table["study_id"].to_pylist()
    like = similar_ids(study_id, ids)
    remedy = f"did you mean {' or '.join(map(repr, like))}?" if like else "give an id of the set"
    if not like and ids:
        remedy += f", such as {ids[0]!r}"
    if read_prepared(studies.folder).get("redaction"):
        remedy = f"its ids are replaced (--redact-ids), {remedy}"
    raise DataError(f"{studies.folder}: has no study {shown(study_id)}; {remedy}")


def _reason_left_out(folder: Path, study_id: str) -> str | None:
    path = folder / REJECTED_FILE
    if not path.is_file():
        return None
    for _, row in read_jsonl(path):
        if row["study_id"] == study_id and row["image"] is None:
            return str(row["reason"])
    return None


def similar_ids(wanted: str, ids: Sequence[str]) -> list[str]:
    """Return ids that are like a mistyped one.

    Looked at are those that begin or end most like it.

    Args:
        wanted: What was typed.
        ids: All ids, in any order.

    Returns:
        At most three, the most alike first.
    """
    backwards = sorted(one[::-1] for one in ids)
    candidates = [
        *_beginning_like(wanted, sorted(ids)),
        *(one[::-1] for one in _beginning_like(wanted[::-1], backwards)),
    ]
    return get_close_matches(
        wanted, list(dict.fromkeys(candidates)), n=_MOST_SUGGESTED, cutoff=_LIKE
    )


def _beginning_like(wanted: str, ordered: Sequence[str]) -> Sequence[str]:
    place = bisect.bisect_left(ordered, wanted)
    return ordered[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
