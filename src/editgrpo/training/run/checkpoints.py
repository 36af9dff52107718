"""How both trainers read and write checkpoints: what is damaged, missing or has no room is one
line, never a run that goes on from something else.

transformers passes over an optimiser's state that is missing, and starts a new one; and over a
state of the random generators.
"""

import re
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer, TrainerState

from editgrpo.errors import TrainingError
from editgrpo.foreign import reading, storing
from editgrpo.training.policy.load import load_checkpoint_weights, reading_checkpoint
from editgrpo.training.run.folder import checkpoint_name

_REMEDY = "delete this checkpoint to go on from the one before it"
# One file, or one for each of several processes.
_RANDOM, _RANDOM_OF_PROCESS = "rng_state.pth", re.compile(r"rng_state_([0-9]+)\.pth")
_OPTIMIZER, _SCHEDULER, _STATE = "optimizer.pt", "scheduler.pt", "trainer_state.json"


class CheckpointTrainer(Trainer):  # type: ignore[misc]
    """Stands before a trainer of TRL among the bases of ours."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        policy, checkpoint = self.model if model is None else model, Path(resume_from_checkpoint)
        if isinstance(policy, PreTrainedModel) and not self.is_fsdp_enabled:
            load_checkpoint_weights(policy, checkpoint)
            return
        with reading_checkpoint(checkpoint):  # adapters and shards keep their names
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        for name in (_SCHEDULER,) if is_sharded else (_OPTIMIZER, _SCHEDULER):
            if not (folder / name).is_file():
                raise TrainingError(f"{folder / name}: is missing; {_REMEDY}")
        with reading(folder / _SCHEDULER, _REMEDY, error=TrainingError):
            torch.load(folder / _SCHEDULER, map_location="cpu", weights_only=True)
        with reading(folder / _OPTIMIZER, _REMEDY, error=TrainingError):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        place = f"{checkpoint}: state of the random generators"
        with reading(place, _REMEDY, error=TrainingError):
            super()._load_rng_state(checkpoint)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with storing(Path(self.args.output_dir) / checkpoint_name(self.state.global_step)):
            super()._save_checkpoint(model, trial)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, see transformers.

        Args:
            output_dir: Where.
            _internal_call: Whether it is part of a checkpoint.

        Raises:
            StorageError: there is no room.
        """
        with storing(Path(output_dir or self.args.output_dir)):
            super().save_model(output_dir, _internal_call)


def check_state(checkpoint: Path) -> None:
    """Read what a checkpoint says of its run, before anything is loaded.

    Args:
        checkpoint: The folder.

    Raises:
        TrainingError: it is missing or damaged, or is of another step than the folder's name says;
            or a state of the random generators is missing.
    """
    path = checkpoint / _STATE
    with reading(path, _REMEDY, error=TrainingError):
        step = TrainerState.load_from_json(str(path)).global_step
    if checkpoint_name(step) != checkpoint.name:
        raise TrainingError(f"{path}: is of step {step}; {_REMEDY}")
    missing = _missing_random_state(checkpoint)
    if missing is not None:
        raise TrainingError(f"{checkpoint / missing}: is missing; {_REMEDY}")


def _missing_random_state(checkpoint: Path) -> str | None:
    """Name the first state of the random generators that the processes which wrote a checkpoint
    must have left; those that read it may be more or fewer."""
    if (checkpoint / _RANDOM).is_file():
        return None
    found = (_RANDOM_OF_PROCESS.fullmatch(path.name) for path in checkpoint.iterdir())
    processes = {int(name[1]) for name in found if name is not None}
    if not processes:
        return _RANDOM
    wanted = range(max(1, *processes) + 1)  # a single process gives its file no number
    absent = sorted(set(wanted) - processes)
    return f"rng_state_{absent[0]}.pth" if absent else None
