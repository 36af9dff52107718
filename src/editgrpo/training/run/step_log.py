"""What a run writes of its steps, and whom it tells: files of the run folder, listeners.

Left out on purpose: what the numbers are (step/records.py), and TRL's trackers (trainer.py).
"""

import logging

from accelerate.utils import gather_object

from editgrpo.config import TrainConfig
from editgrpo.errors import TrainingError
from editgrpo.metrics.judges.costs import describe_costs, summed_costs, take_costs
from editgrpo.rewards.registry import may_ask_judges
from editgrpo.training.run.folder import METRICS, ROLLOUTS, TIMINGS, append_line
from editgrpo.training.run.setup import TrainingSetup
from editgrpo.training.step.dynamic_sampling import DrawnGroups
from editgrpo.training.step.edit_schedule import EditSchedule
from editgrpo.training.step.records import UnusedEdits, group_rows, rollout_records, step_metrics

_LOG = logging.getLogger(__name__)


class StepLog:
    """Writes the records of the steps of a run; only the main process has files.

    Args:
        config: The run.
        setup: Its folder, its budget of lost groups, and who is told.
        schedule: What its groups are made of.
        is_main_process: Whether this process writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        setup: TrainingSetup,
        schedule: EditSchedule,
        *,
        is_main_process: bool,
    ) -> None:
        self._config = config
        self._setup = setup
        self._schedule = schedule
        self._is_main_process = is_main_process
        self._may_be_judged = may_ask_judges(config.reward)
        self._unused_edits = UnusedEdits(config.rollout.max_completion_tokens)

    def record(self, step: int, drawn: DrawnGroups) -> dict[str, float]:
        """Write the best and worst responses of a step; all processes call this together.

        Args:
            step: Steps taken before this one.
            drawn: This process's groups.

        Returns:
            The step's metrics, of all processes' groups, those that were dropped included.

        Raises:
            TrainingError: scoring has failed for more groups than the run may lose.
        """
        scored = drawn.scored
        rows = gather_object([group_rows(group) for group in scored])
        losses = self._setup.losses
        if losses.spend(len(rows), sum(group.is_dropped for group in rows)):
            reason = next((group.failure for group in scored if group.is_dropped), "see other logs")
            raise TrainingError(
                f"step {step + 1}: scoring failed for {losses.lost} of {losses.seen} "
                f"groups so far, more than max_dropped_share ({self._config.max_dropped_share:.0%})"
                f" allows; last reason: {reason}"
            )
        if self._setup.on_groups is not None:
            self._setup.on_groups(step + 1, scored)
        records = gather_object(
            [record for group in scored for record in rollout_records(step + 1, group)]
        )
        if self._is_main_process:
            self._unused_edits.look(rows)
            for record in records:
                append_line(self._setup.run / ROLLOUTS, record)
            if self._setup.on_rollouts is not None:
                self._setup.on_rollouts(step + 1, records)
        return step_metrics(rows) | self._schedule.metrics(step, rows) | drawn.metrics

    def write(self, metrics: dict[str, float], timings: dict[str, float]) -> None:
        """Write the numbers of a step that is done; all processes call this together.

        What judges have cost stands with the seconds: a resumed run remembers answers, and asks
        fewer questions for the same metrics.

        Args:
            metrics: Its metrics.
            timings: Its seconds by phase.
        """
        costs = take_costs()
        if self._may_be_judged:
            costs = summed_costs(gather_object([costs]))
        timings = timings | costs
        if self._is_main_process:
            if costs:
                _LOG.info("step %d: %s", int(metrics["step"]), describe_costs(costs))
            append_line(self._setup.run / METRICS, metrics)
            append_line(self._setup.run / TIMINGS, timings)
            if self._setup.on_step is not None:
                self._setup.on_step(metrics, timings)
