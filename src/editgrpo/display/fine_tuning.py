"""The lines of a fine-tuning run: one for each step, one for each validation."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console

from editgrpo.display.numbers import format_duration, format_number
from editgrpo.display.terminal import Pace, message_console

_COUNTS = ("epoch",)


class FineTuningLine:
    """Prints a step of fine-tuning, or a validation, as one line.

    A line has the step of steps, the metrics, and, of a step, its duration and the estimated time
    to the last step. Validations are not part of either.

    Args:
        console: Where the lines go; None takes the shared console on the error stream.
        clock: Seconds since any moment.
    """

    def __init__(
        self, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or message_console()
        self._clock = clock
        self._total_steps: int | None = None
        self._seen_at: float | None = None
        self._pace = Pace()

    def begin(self, total_steps: int) -> None:
        """Note how many steps the whole run has, before its first."""
        self._total_steps = total_steps

    def show(self, metrics: Mapping[str, float]) -> None:
        """Print a line.

        Args:
            metrics: One object of `metrics.jsonl`.
        """
        step = int(metrics["step"])
        total = "" if self._total_steps is None else f"/{self._total_steps}"
        parts = [f"step {step}{total}", *_written(metrics)]
        if "loss" in metrics:
            parts += self._times(step)
        self._console.print("  ".join(parts), soft_wrap=True)
        self._seen_at = self._clock()

    def _times(self, step: int) -> list[str]:
        if self._seen_at is None:  # the first step holds what came before it, too
            return []
        took = self._clock() - self._seen_at
        self._pace.add(took)
        times = [format_duration(took)]
        if self._total_steps is not None:
            times.append(f"eta {format_duration(self._pace.remaining(self._total_steps - step))}")
        return times


def _written(metrics: Mapping[str, float]) -> list[str]:
    return [
        f"{name} {value:g}" if name in _COUNTS else f"{name} {format_number(value)}"
        for name, value in metrics.items()
        if name != "step"
    ]
