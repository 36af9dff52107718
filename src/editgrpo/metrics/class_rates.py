"""How often each CheXpert finding occurs in a training set: the weights of the inverse-frequency
reward.

A JSON file holds them, so that a run can be repeated and the labeler that counted is on record.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.config import Target
from editgrpo.data.prepared.record import shown
from editgrpo.errors import ConfigError, DataError, RewardError
from editgrpo.files import write_json
from editgrpo.foreign import reading
from editgrpo.reports.chexpert import FINDINGS

_LOG = logging.getLogger(__name__)

_UNSEEN_COUNT = 0.5
"""Reports counted for a finding that no report has: half of one, so that its weight is finite and
above that of any finding that was seen."""

_FIELDS = ("labeler", "n", "rates")
_TARGET = "target"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRates:
    """Share of training reports that have each finding.

    Attributes:
        labeler: Who counted, `<labeler>` or `<labeler>@<identity of its weights>`.
        n: Reports counted, at least 1.
        rates: Each of the 14 findings, in their order, to its share in (0, 1].
        target: The sections that were read; None of a file that does not say it.
    """

    labeler: str
    n: int
    rates: Mapping[str, float]
    target: Target | None = None

    def weights(self) -> NDArray[np.float64]:
        """Return (14,) float64, 1 / rate, scaled to a mean of 1."""
        inverse_F = np.array([1 / self.rates[finding] for finding in FINDINGS], dtype=np.float64)
        return np.asarray(inverse_F / inverse_F.mean())


def class_rates(
    labels_NF: NDArray[np.uint8], *, labeler: str, target: Target | None = None
) -> ClassRates:
    """Count the findings of a training set.

    Args:
        labels_NF: (N, 14) uint8, 1 where report n has the finding; N at least 1.
        labeler: Who assigned them, see `ClassRates`.
        target: The sections that the reports are of.

    Returns:
        count / N for each finding; a finding that no report has gets 1 / (2 N).

    Raises:
        RewardError: there is no report, or the shape is another.
    """
    if labels_NF.ndim != 2 or labels_NF.shape[1] != len(FINDINGS) or not len(labels_NF):
        raise RewardError(
            f"class rates need labels of shape (N, {len(FINDINGS)}) with N at least 1, "
            f"not {labels_NF.shape}"
        )
    count_F = labels_NF.astype(bool).sum(axis=0)
    rate_F = np.maximum(count_F, _UNSEEN_COUNT) / len(labels_NF)
    rates = dict(zip(FINDINGS, rate_F.tolist(), strict=True))
    return ClassRates(labeler=labeler, n=len(labels_NF), rates=rates, target=target)


def write_class_rates(path: Path, rates: ClassRates) -> None:
    """Write class rates as JSON, whole or not at all."""
    sections = {} if rates.target is None else {_TARGET: rates.target.value}
    counted = {"labeler": rates.labeler, "n": rates.n, **sections, "rates": dict(rates.rates)}
    write_json(path, counted)


def read_class_rates(path: Path) -> ClassRates:
    """Read what `write_class_rates` wrote.

    Args:
        path: A JSON file: `{"labeler": str, "n": int, "target": str, "rates": {finding: share}}`;
            the target may be left out.

    Returns:
        The rates, findings in their order.

    Raises:
        DataError: the file cannot be read, or a field is missing, unknown or out of range.
    """
    value = _read_object(path)
    labeler, n, rates = value["labeler"], value["n"], value["rates"]
    if not isinstance(labeler, str) or not labeler:
        raise DataError(f"{path}: labeler must be a name such as chexbert")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise DataError(f"{path}: n must be a whole number of reports, at least 1")
    target = value.get(_TARGET)
    if target is not None and target not in list(Target):
        raise DataError(f"{path}: {_TARGET} must be one of {', '.join(Target)}")
    if not isinstance(rates, dict):
        raise DataError(f"{path}: rates must be an object of findings and their shares")
    _require_names(path, "rates", rates, FINDINGS)
    for finding in FINDINGS:
        if not _is_share(rates[finding]):
            raise DataError(
                f"{path}: rates.{finding} must be a number above 0 and at most 1; "
                "a finding that no report has gets 1 / (2 n)"
            )
    return ClassRates(
        labeler=labeler,
        n=n,
        rates={finding: float(rates[finding]) for finding in FINDINGS},
        target=None if target is None else Target(target),
    )


def check_target(path: Path, target: Target) -> None:
    """Make sure that class rates were counted in the sections that are scored.

    An impression names few findings: the weights would be those of other texts.

    Args:
        path: The file.
        target: The sections that are scored.

    Raises:
        ConfigError: they were counted in others. A file that does not say it is warned of, unless
            findings are scored, which `editgrpo annotate` counts if not told otherwise.
        DataError: see `read_class_rates`.
    """
    counted = read_class_rates(path).target
    remedy = f"`editgrpo annotate STUDIES --target {target} --class-rates FILE`"
    if counted is None and target is not Target.FINDINGS:
        _LOG.warning("%s: does not say that it is of %s; write it with %s", path, target, remedy)
    elif counted not in (None, target):
        raise ConfigError(
            f"{path}: class rates of {counted}, but {target} is scored; write them with {remedy}"
        )


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that has exactly the fields of class rates."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a readable file") from error
    with reading(path, "write the class rates again", fault="not a JSON file in UTF-8"):
        value = json.loads(content.decode("utf-8-sig"))
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a JSON object; it must have {', '.join(_FIELDS)}")
    _require_names(path, "the file", {_TARGET: None} | value, (*_FIELDS, _TARGET))
    return value


def _require_names(path: Path, what: str, value: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise DataError for the first name that is missing or unknown."""
    for name in names:
        if name not in value:
            raise DataError(f"{path}: {what} lacks {name!r}; write the class rates again")
    for name in value:
        if name not in names:
            raise DataError(
                f"{path}: {what} has {shown(name)}, which is none of {', '.join(names)}"
            )


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 < value <= 1
