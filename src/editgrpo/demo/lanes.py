"""Reinforcement runs side by side, each in a process of its own.

They do not need each other, and a model this small gains little from a second core.
"""

from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from pathlib import Path

from editgrpo.config import TrainConfig
from editgrpo.data.prepared.workers import deaf_to_ctrl_c, default_workers, follow_the_parent
from editgrpo.demo.named import naming_recorder
from editgrpo.demo.plan import UNCOMMON_FINDINGS
from editgrpo.display.terminal import ProgressCallback
from editgrpo.errors import TrainingError
from editgrpo.training.run.folder import METRICS
from editgrpo.training.train import run_training

_POLL_S = 0.5


def train_side_by_side(
    configs: Mapping[str, TrainConfig], *, command: str, progress: ProgressCallback
) -> None:
    """Train each configuration; one that was interrupted goes on.

    Args:
        configs: By name; not empty.
        command: What started it, for the provenance of the runs.
        progress: Told how many steps all of them have done, and how many there are.

    Raises:
        EditGRPOError: as raised by a run; the others are stopped.
        TrainingError: a process was killed.
    """
    cores = default_workers()
    lanes = min(cores, len(configs))
    total = sum(config.steps for config in configs.values())
    threads = max(1, cores // lanes)
    # Not fork: this process may have loaded libraries with threads of their own.
    with ProcessPoolExecutor(
        lanes, get_context("spawn"), initializer=_prepare_lane, initargs=(threads,)
    ) as pool:
        with deaf_to_ctrl_c():
            runs = [pool.submit(_train, config, command) for config in configs.values()]
        going = True
        try:
            while going:
                done, others = wait(runs, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
                for run in done:
                    run.result()
                progress(sum(_steps_done(config) for config in configs.values()), total)
                going = bool(others)
        except BrokenProcessPool as error:
            raise TrainingError(
                "a run's process died, perhaps for want of memory; start the demo again, and it "
                "goes on from the last checkpoint"
            ) from error
        finally:
            if going:  # a run failed, or the demo is being ended
                for lane in active_children():
                    lane.kill()  # asked to end, a run would save first, and take its time


def _steps_done(config: TrainConfig) -> int:
    metrics = Path(config.output) / METRICS
    return metrics.read_bytes().count(b"\n") if metrics.is_file() else 0


def _prepare_lane(threads: int) -> None:
    import torch

    from editgrpo.cli.output import hide_loading_bars

    follow_the_parent()
    hide_loading_bars()
    torch.set_num_threads(threads)


def _train(config: TrainConfig, command: str) -> None:
    run_training(
        config,
        resume=True,
        command=command,
        on_groups=naming_recorder(Path(config.output), UNCOMMON_FINDINGS),
    )
