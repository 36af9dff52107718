"""One measurement of `benchmarks.train_step`, in a process of its own.

    python -m benchmarks.train_measure WHAT FOLDER PROMPTS STEPS

WHAT is a key of `VARIANTS`, FOLDER what `workload.prepare` wrote. The last line printed is one JSON
object.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.memory import forget_peak_memory, peak_memory_mib, resident_memory_mib
from benchmarks.packed import our_trainer
from benchmarks.stock_trl import stock_trainer
from benchmarks.workload import THREADS, Case, train_config
from editgrpo.config import EditConfig, EditLevel, TrainConfig
from editgrpo.training.step.groups import Kind

_PLAIN, _EDITED = EditConfig(level=EditLevel.NONE), EditConfig(level=EditLevel.SENTENCE)
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "stock": {"edit": _PLAIN},
    "ours": {"edit": _PLAIN},
    "ours_edited": {"edit": _EDITED},
    "ours_overlapped": {"edit": _EDITED, "rollout_parts": 2},
}


def main() -> None:
    """Train some steps and say what each took."""
    what, folder, prompts, steps = sys.argv[1:]
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory(prefix="editgrpo-run-") as run:
        config = train_config(
            Path(folder),
            Case(),
            Path(run),
            steps=int(steps),
            save_every=int(steps),
            prompts_per_step=int(prompts),
            **VARIANTS[what],
        )
        clock = StockClock() if what == "stock" else Clock()
        found = measure(config, clock)
    print(json.dumps(found))


class Clock(TrainerCallback):  # type: ignore[misc]
    """Times whole steps, from the end of one to the end of the next; the first is the warm-up.

    Attributes:
        steps: Seconds of each step but the first, its phases beside it.
        tokens: Mean length of the responses of each step, the first one's too.
    """

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.tokens: list[float] = []
        self._last_end: float | None = None
        self._newest = 0.0

    def build(self, config: TrainConfig) -> Any:
        """Build the trainer that is timed."""
        return our_trainer(config, callbacks=[self], on_step=self.note)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the time, after the optimiser's step."""
        now = time.perf_counter()
        self._newest = 0.0 if self._last_end is None else now - self._last_end
        self._last_end = now

    def note(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Take the phases and the length that our trainer gives after each step."""
        phases = {
            name.removeprefix("seconds/"): value
            for name, value in timings.items()
            if name.startswith("seconds/") and name != "seconds/step"
        }
        # Sampled and edited responses are equally many.
        kinds = [metrics.get(f"length/{kind}/mean") for kind in Kind]
        self._take(phases, fmean(length for length in kinds if length is not None))

    def _take(self, phases: Mapping[str, float], tokens: float) -> None:
        self.tokens.append(tokens)
        if self._newest:
            self.steps.append({"step_s": self._newest, **phases})


class StockClock(Clock):
    """Takes the phases from TRL's trainer, which was timed from outside."""

    def build(self, config: TrainConfig) -> Any:
        """Build the trainer that is timed."""
        self._trainer = stock_trainer(config, callbacks=[self])
        return self._trainer

    def on_log(self, *_: Any, logs: Mapping[str, float], **__: Any) -> None:
        """Take the phases and the length after each step."""
        if "completions/mean_length" in logs:
            self._take(self._trainer.seconds, logs["completions/mean_length"])
            self._trainer.seconds = dict.fromkeys(self._trainer.seconds, 0.0)


def measure(config: TrainConfig, clock: Clock) -> dict[str, Any]:
    """Train.

    Args:
        config: The run.
        clock: Builds the trainer and times it.

    Returns:
        Seconds and phases of each step, mean length of the responses, memory in MiB.
    """
    trainer = clock.build(config)
    before = resident_memory_mib()
    forget_peak_memory()
    trainer.train()
    return {
        "steps": clock.steps,
        "response_tokens": clock.tokens,
        "before_mib": before,
        "peak_mib": peak_memory_mib(),
    }


if __name__ == "__main__":
    main()
