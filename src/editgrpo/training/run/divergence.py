"""A run that has diverged ends with the step and the number that say so."""

import math
from collections.abc import Mapping

from editgrpo.errors import TrainingError


def check_finite(metrics: Mapping[str, float]) -> None:
    """Refuse to go on from a step whose numbers are none.

    Args:
        metrics: Of one step, with `step`; logged before the step's checkpoint is written.

    Raises:
        TrainingError: one of them is NaN or infinite.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"step {metrics['step']}: {name} is {value}, the run has diverged; start another "
                "in a new folder with a smaller optim.learning_rate or a longer optim.warmup_steps"
            )
