"""Where the seconds of a step go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PHASES = ("vision", "rollout", "edit", "score", "reference", "update", "optimizer")
_ON_HOST = ("edit", "score")


class StepClock:
    """Adds up the seconds of each phase of a step.

    `edit` and `score` run in a thread of their own beside the rollout; what of them nobody waited
    for is `hidden`, and counts once in the step.
    """

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._hidden = 0.0
        self._waited = 0.0
        self._update_ended = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what runs inside to a phase, kernels that it queued on a GPU included.

        Args:
            name: One of `PHASES`.

        Yields:
            Nothing.
        """
        start = time.perf_counter()
        yield
        if torch.cuda.is_available() and name not in _ON_HOST:
            torch.cuda.synchronize()  # else a phase would pay for what the one before it queued
        self._seconds[name] += time.perf_counter() - start

    @contextmanager
    def waiting_for_scores(self) -> Iterator[None]:
        """Measure the wait for edits and scores that are not there yet; the rest was hidden.

        Yields:
            Nothing.
        """
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start
        self._hidden = self._seconds["edit"] + self._seconds["score"] - self._waited

    def end_update(self) -> None:
        """Note that gradients are there: what follows until `take` is the optimiser's."""
        self._update_ended = time.perf_counter()

    def take(self) -> dict[str, float]:
        """Return the step's seconds, `seconds/<phase>`, `seconds/hidden` and `seconds/step`, and
        begin the next step."""
        self._seconds["optimizer"] = time.perf_counter() - self._update_ended
        taken = {f"seconds/{name}": seconds for name, seconds in self._seconds.items()}
        step = sum(self._seconds.values()) - self._hidden
        self._seconds, self._waited = dict.fromkeys(PHASES, 0.0), 0.0
        return taken | {"seconds/hidden": self._hidden, "seconds/step": step}
