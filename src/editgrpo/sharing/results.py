"""Results for a model card: what `editgrpo evaluate` and `score` wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.evaluation.outputs import SCORES_FILE
from editgrpo.evaluation.statement import interval_words
from editgrpo.files import read_json_object
from editgrpo.foreign import reading

_REMEDY = "give scores.json, its folder, or a .summary.json of `editgrpo score`"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricResult:
    """A metric over a test set.

    Attributes:
        name: With its variant.
        value: Its value.
        low: Lower end of its interval; None if there is none.
        high: Upper end.
        direction: Which values are better: `higher`, `lower` or `neither`.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    direction: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TestSetResult:
    """The scores of the model on one test set.

    Attributes:
        test_set: Name of the folder that the scores lie in, or of their file.
        system: As whoever scored called the model.
        studies: How many.
        intervals: What the intervals are over, and how many resamples.
        scored_with: Clinical model to the identity of its weights, and other things that scores
            depend on.
        software: Version and commit that scored.
        metrics: In the order of the file.
    """

    test_set: str
    system: str
    studies: int
    intervals: str
    scored_with: Mapping[str, str]
    software: str
    metrics: tuple[MetricResult, ...]


def read_results(places: Sequence[Path]) -> list[TestSetResult]:
    """Read results.

    Args:
        places: Each a `scores.json`, the folder of one, or a summary of `editgrpo score`.

    Returns:
        One for each system of each file.

    Raises:
        DataError: a file is missing, damaged or of another form.
    """
    found = []
    for place in places:
        path = place / SCORES_FILE if place.is_dir() else place
        record = read_json_object(path, _REMEDY)
        name = path.parent.name if path.name == SCORES_FILE else path.name.partition(".")[0]
        with reading(path, _REMEDY, fault="holds no scores"):
            systems = record.get("systems", [record])
            found += [_result(one, name) for one in systems]
    return found


def _result(record: Mapping[str, Any], test_set: str) -> TestSetResult:
    intervals = record.get("intervals") or interval_words(record)
    samples, seed = record.get("bootstrap_samples"), record.get("seed")
    if samples is not None:
        intervals += f"; {samples:,} bootstrap resamples, seed {seed}"
    commit = record.get("commit")
    return TestSetResult(
        test_set=test_set,
        system=str(record["system"]),
        studies=int(record["n_studies"]),
        intervals=intervals,
        scored_with={str(k): str(v) for k, v in record.get("scored_with", {}).items()},
        software=f"editgrpo {record.get('editgrpo', '?')}" + (f" at {commit}" if commit else ""),
        metrics=tuple(
            MetricResult(
                name=name,
                value=float(one["value"]),
                low=one["low"],
                high=one["high"],
                direction=str(one["direction"]),
            )
            for name, one in record["metrics"].items()
        ),
    )
