"""What the judges of this process have been asked, and what it cost: questions, tokens, seconds.

Kept for the process and not for a judge: whoever reports a step's cost does not hold the judges,
which lie deep in a reward. An answer that is remembered costs nothing and is not counted.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_LOG = logging.getLogger(__name__)
_FIELDS = ("calls", "retries", "prompt_tokens", "answer_tokens", "seconds")
_LOCK = threading.Lock()
_COUNTED: dict[str, dict[str, float]] = {}


def count(judge: str, **amounts: float) -> None:
    """Add to what a judge has cost; any thread may call.

    Args:
        judge: `green` or `crimson`.
        **amounts: `calls` (questions that were answered), `retries` (questions put again),
            `prompt_tokens`, `answer_tokens` (as the server or the tokenizer counts them) and
            `seconds` (of waiting, several questions at a time).
    """
    with _LOCK:
        found = _COUNTED.setdefault(judge, dict.fromkeys(_FIELDS, 0.0))
        for name, amount in amounts.items():
            found[name] += amount


@contextmanager
def timed(judge: str) -> Iterator[None]:
    """Count the seconds that pass inside to a judge, also where it fails.

    Args:
        judge: `green` or `crimson`.

    Yields:
        Nothing.
    """
    start = time.perf_counter()
    try:
        yield
    finally:
        count(judge, seconds=time.perf_counter() - start)


def take_costs() -> dict[str, float]:
    """Return what all judges have cost since the last call, and begin anew.

    Returns:
        `judge/<judge>/<amount>` to its sum; nothing where no judge was asked.
    """
    with _LOCK:
        taken = {
            f"judge/{judge}/{name}": amount
            for judge, amounts in _COUNTED.items()
            for name, amount in amounts.items()
        }
        _COUNTED.clear()
    return taken


def log_costs(what: str) -> None:
    """Log what judges have cost since the last call, if any was asked, and begin anew.

    Args:
        what: What they were asked for; begins the line.
    """
    if costs := take_costs():
        _LOG.info("%s: %s", what, describe_costs(costs))


def summed_costs(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up the costs of several processes; seconds, which pass at the same time, are the most."""
    names = dict.fromkeys(name for one in costs for name in one)
    return {
        name: (max if name.endswith("/seconds") else sum)(one.get(name, 0.0) for one in costs)
        for name in names
    }


def describe_costs(costs: Mapping[str, float]) -> str:
    """Say in words what judges have cost.

    Args:
        costs: Of `take_costs`.

    Returns:
        One line, such as `crimson: 40 questions (2 put again), 61,000 + 9,800 tokens, 12.5 s`;
        empty where no judge was asked.
    """
    judges = dict.fromkeys(name.split("/")[1] for name in costs)
    return "; ".join(
        _line(judge, {field: costs[f"judge/{judge}/{field}"] for field in _FIELDS})
        for judge in judges
    )


def _line(judge: str, cost: Mapping[str, float]) -> str:
    again = f" ({cost['retries']:.0f} put again)" if cost["retries"] else ""
    return (
        f"{judge}: {cost['calls']:.0f} questions{again}, {cost['prompt_tokens']:,.0f} + "
        f"{cost['answer_tokens']:,.0f} tokens, {cost['seconds']:.1f} s"
    )
