"""What an interval and a p-value are over, in words that go with the numbers."""

from collections.abc import Mapping
from typing import Any

PATIENTS_UNKNOWN = "patients not known; too narrow where a patient has several studies"
"""What stands beside every interval over studies."""


def percent(confidence: float) -> str:
    """Return a coverage in percent.

    Args:
        confidence: In (0, 1).

    Returns:
        As many decimals as it has.

    Examples:
        >>> percent(0.95), percent(0.999)
        ('95 %', '99.9 %')
    """
    return f"{round(100 * confidence, 8):g} %"


def units_words(record: Mapping[str, Any]) -> str:
    """Return what was resampled in a test set.

    Args:
        record: Has `n_studies` and, where patients are known, `n_patients`.

    Returns:
        Words such as `312 patients (600 studies)`.
    """
    studies = _counted(record.get("n_studies", "?"), "study", "studies")
    if (patients := record.get("n_patients")) is None:
        return f"{studies} ({PATIENTS_UNKNOWN})"
    return f"{_counted(patients, 'patient', 'patients')} ({studies})"


def interval_words(record: Mapping[str, Any]) -> str:
    """Say what the intervals of a record are over.

    Args:
        record: An object of `scores.json` or `comparison.json`, also of an earlier version, which
            knew no patients.

    Returns:
        One clause, such as `95 % interval over 3 training seeds, then 312 patients (600 studies)`.
    """
    seeds = record.get("n_seeds", 1)
    both = list(seeds.values()) if isinstance(seeds, Mapping) else [seeds]
    patients = record.get("n_patients")
    units = record.get("n_studies") if patients is None else patients
    over = units_words(record)
    if units == 1:
        return f"no interval: {over} cannot be resampled"
    interval = f"{percent(record.get('confidence', 0.95))} interval over"
    if min(both) > 1:
        drawn = " and ".join(str(number) for number in dict.fromkeys(both))
        whose = "each seed's own patients, in all " if record.get("n_test_sets", 1) > 1 else ""
        return f"{interval} {drawn} training seeds, then {whose}{over}"
    if max(both) > 1:
        return f"{interval} {over}, for these runs: one system has a single seed"
    return f"{interval} {over}"


def target_words(record: Mapping[str, Any]) -> str:
    """Say what was scored, where it is not the findings.

    Args:
        record: An object of `scores.json` or `comparison.json`.

    Returns:
        Words such as `scored: impression of findings+impression`; empty for findings.
    """
    target, section = record.get("target"), record.get("section")
    if target is None:
        return ""
    return f"scored: {target}" if section is None else f"scored: {section} of {target}"


def p_value_words(record: Mapping[str, Any]) -> str:
    """Say what the p-values of a comparison speak of.

    Args:
        record: An object of `comparison.json`.

    Returns:
        One clause.
    """
    units = "studies" if record.get("n_patients") is None else "patients"
    return f"p for these runs: two-sided, {units} exchanged, no training seed drawn"


def _counted(number: object, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
