"""How both trainers read and write checkpoints: what is damaged, missing or has no room is one
line, never a run that goes on from something else.

transformers passes over an optimiser's state that is missing, and starts a new one.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerState

from editgrpo.errors import TrainingError
from editgrpo.foreign import reading, storing
from editgrpo.training.run_folder import checkpoint_name

_REMEDY = "delete this checkpoint to go on from the one before it"
_OPTIMIZER, _SCHEDULER, _STATE = "optimizer.pt", "scheduler.pt", "trainer_state.json"


class CheckpointTrainer(Trainer):  # type: ignore[misc]
    """Stands before a trainer of TRL among the bases of ours."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        place = f"{resume_from_checkpoint}: weights"
        with reading(place, _REMEDY, error=TrainingError):
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
        TrainingError: it is missing or damaged, or is of another step than the folder's name says.
    """
    path = checkpoint / _STATE
    with reading(path, _REMEDY, error=TrainingError):
        step = TrainerState.load_from_json(str(path)).global_step
    if checkpoint_name(step) != checkpoint.name:
        raise TrainingError(f"{path}: is of step {step}; {_REMEDY}")
