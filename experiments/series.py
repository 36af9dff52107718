"""What is drawn, as numbers: curves over seeds, what policies say in the course of a run, and what
an edit is worth against how often a finding is said. No picture here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from editgrpo.demo.plan import TestSet
from experiments.judge import Judged


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A curve over the seeds of an arm, S points."""

    steps: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    """The lowest seed."""
    high: tuple[float, ...]
    """The highest seed."""


def metric_series(results: Iterable[Mapping[str, Any]], metric: str) -> Series | None:
    """Return a metric of the curves of an arm's seeds.

    Args:
        results: Its result files.
        metric: Such as `reward/sampled/mean`.

    Returns:
        The windows that all seeds have and that hold the metric; None if there is none.
    """
    curves = [one["curve"] for one in results if metric in one["curve"]]
    return _series([dict(zip(one["step"], one[metric], strict=True)) for one in curves])


def saying_series(results: Iterable[Mapping[str, Any]], findings: Sequence[str]) -> Series | None:
    """Return how often sampled responses say findings where they are present, while a run goes.

    Args:
        results: The result files of an arm.
        findings: Whose counts are added up.

    Returns:
        Shares of the windows that all seeds have; None for an arm that samples nothing, or without
        any of the findings.
    """
    by_seed = [_said_shares(result, findings) for result in results]
    return _series([shares for shares in by_seed if shares])


def saying_differences(
    judged: Judged, pair: tuple[str, str], findings: Sequence[str]
) -> Series | None:
    """Return how much oftener the first arm's samples say findings, while the runs go.

    Args:
        judged: The table at a stage.
        pair: One of its pairs with results.
        findings: Whose counts are added up, where they are present.

    Returns:
        Differences of shares, paired by seed; None if an arm samples nothing, or without any of the
        findings.
    """
    first, second = (judged.results[judged.table.arm(name)] for name in pair)
    by_seed = []
    for seed in sorted(set(first) & set(second)):
        shares = _said_shares(first[seed], findings)
        others = _said_shares(second[seed], findings)
        by_seed.append(
            {
                step: share - other
                for step, share in shares.items()
                if share is not None and (other := others.get(step)) is not None
            }
        )
    return _series(by_seed)


def _said_shares(result: Mapping[str, Any], findings: Sequence[str]) -> dict[int, float | None]:
    """Return step to share of the samples that say findings of theirs; None without a sample."""
    said = result["said"]
    rows = [said["findings"][name] for name in findings if name in said.get("findings", {})]
    if not rows:
        return {}
    hits = np.sum([row["said_present"] for row in rows], axis=0)
    samples = np.sum([row["present"] for row in rows], axis=0)
    shares = [hit / n if n else None for hit, n in zip(hits, samples, strict=True)]
    return dict(zip(said["step"], shares, strict=True))


def _series(by_seed: Sequence[Mapping[int, float | None]]) -> Series | None:
    if not by_seed:
        return None
    steps = [step for step in by_seed[0] if all(seed.get(step) is not None for seed in by_seed)]
    if not steps:
        return None
    values_SN = np.array([[seed[step] for step in steps] for seed in by_seed], dtype=np.float64)
    return Series(
        steps=tuple(steps),
        mean=tuple(values_SN.mean(axis=0).tolist()),
        low=tuple(values_SN.min(axis=0).tolist()),
        high=tuple(values_SN.max(axis=0).tolist()),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MapPoint:
    """A finding on the map."""

    finding: str
    p: float
    """p(say | present) of the policy that RL starts from; where it was never said, 1 / samples."""
    is_bound: bool
    """Whether it was never said, so that p is an upper bound."""
    value: float
    """The score of the first arm minus the second's."""
    low: float
    high: float


def map_points(
    judged: Judged, pair: tuple[str, str], test_set: TestSet, score: str
) -> list[MapPoint]:
    """Return what a pair's difference in a score is for each finding that the gate knows.

    Args:
        judged: The table at a stage.
        pair: One of its pairs with results.
        test_set: Where.
        score: `recall` or `f1`.

    Returns:
        Points in the order of p.
    """
    metrics = judged.pairs[pair][test_set].metrics
    points = []
    for finding, (p, samples) in judged.p_present.items():
        row = metrics[f"{score}/{finding}"]
        ends = (row.difference if end is None else end for end in (row.low, row.high))
        low, high = ends
        points.append(
            MapPoint(
                finding=finding,
                p=p or 1 / samples,
                is_bound=p == 0,
                value=row.difference,
                low=low,
                high=high,
            )
        )
    return sorted(points, key=lambda point: point.p)
