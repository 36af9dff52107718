"""What fine-tuning and reinforcement learning start and stop in the same way."""

from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from editgrpo.config import DType, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, RunStoppedError
from editgrpo.training.callbacks import StopOnSignal
from editgrpo.training.run_folder import CHECKPOINTS


def accumulation_slots(per_step: int, per_pass: int, *, names: tuple[str, str]) -> int:
    """Return how many forward and backward passes of each process make a step.

    Args:
        per_step: Studies in a step, over all processes.
        per_pass: Studies in one pass of one process.
        names: The two settings' names, for the message.

    Returns:
        The number of accumulation slots.

    Raises:
        ConfigError: the studies of a step cannot be shared evenly by the processes.
    """
    # Without `cpu`, processes that were launched on a machine without a GPU do not find each other.
    processes: int = PartialState(cpu=not torch.cuda.is_available()).num_processes
    slots, rest = divmod(per_step, per_pass * processes)
    if rest:
        raise ConfigError(
            f"{names[0]} is {per_step}; it must be a multiple of {names[1]} x processes "
            f"({per_pass} x {processes})"
        )
    return slots


def common_arguments(config: SFTConfig | TrainConfig) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer that both kinds of run share."""
    return {
        "output_dir": str(Path(config.output) / CHECKPOINTS),
        "learning_rate": config.optim.learning_rate,
        "weight_decay": config.optim.weight_decay,
        "max_grad_norm": config.optim.max_grad_norm,
        "adam_beta2": config.optim.beta2,
        "warmup_steps": config.optim.warmup_steps,
        "lr_scheduler_type": config.optim.schedule.value,
        "gradient_checkpointing": config.model.gradient_checkpointing,
        "bf16": config.model.dtype is DType.BFLOAT16,
        "use_cpu": not torch.cuda.is_available(),
        "seed": config.seed,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "report_to": list(config.report_to) or "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
    }


def raise_if_stopped(stop: StopOnSignal, run: Path, *, step: int, last_step: int) -> None:
    """End a run that a signal stopped before its last step.

    Args:
        stop: The run's callback.
        run: The run folder.
        step: Steps done.
        last_step: Steps of the whole run.

    Raises:
        RunStoppedError: a signal came before the last step.
    """
    if stop.received is not None and step < last_step:
        raise RunStoppedError(
            f"{run}: stopped by {stop.received.name} after step {step}; continue with --resume",
            stop.received,
        )
