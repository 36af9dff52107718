"""Our side of the benchmarks of training: EditGRPOTrainer on the same model, studies and groups."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.trainer_utils import SaveStrategy

from benchmarks.workload import DrawnGroup, move_from_reference
from editgrpo.config import TrainConfig
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.run.arguments import training_arguments
from editgrpo.training.run.setup import OnStep
from editgrpo.training.step.batches import UpdatePass
from editgrpo.training.step.groups import Group, Kind, Response
from editgrpo.training.step.scoring import ScoredGroup
from editgrpo.training.step.step_group import StepGroup
from editgrpo.training.train import _set_up
from editgrpo.training.trainer import EditGRPOTrainer


def our_trainer(
    config: TrainConfig, *, callbacks: Sequence[Any] = (), on_step: OnStep | None = None
) -> EditGRPOTrainer:
    """Build our trainer for a run; its responses never end before the length limit.

    Args:
        config: The run.
        callbacks: Of transformers.
        on_step: Called after each step with its metrics and seconds by phase.
    """
    setup, policy = _set_up(config, Path(config.output), on_step)
    tokens = setup.tokens
    forbidden = (*tokens.forbidden_token_ids, *tokens.eos_token_ids)
    setup = replace(setup, tokens=replace(tokens, forbidden_token_ids=forbidden))
    arguments = training_arguments(config)
    arguments.save_strategy = SaveStrategy.NO
    return EditGRPOTrainer(config, policy, setup, arguments, callbacks=list(callbacks))


class PackedUpdate:
    """Our reference pass and update on a group that was drawn beforehand.

    Args:
        config: The run, of one group.
        group: What is trained on.
    """

    def __init__(self, config: TrainConfig, group: DrawnGroup) -> None:
        self.trainer = our_trainer(config)
        self.trainer.current_gradient_accumulation_steps = 1
        move_from_reference(self.trainer.model)
        self.trainer.model.train()
        start = time.perf_counter()
        store = self.trainer._features  # none while the tower is trained
        features = None if store is None else store.of([group.prompt])[0]
        self._vision_s = None if store is None else time.perf_counter() - start
        self._group = StepGroup(
            study=self.trainer._setup.studies[0],  # an update reads the prompt alone
            prompt=group.prompt,
            features=features,
            scored=_scored(group),
        )

    def reference(self) -> UpdatePass:
        """Pack the group and compute the reference's log-probabilities."""
        return self.trainer._update_pass([self._group], share=1.0)

    def backward(self, batch: UpdatePass) -> float:
        """Run the loss forward and backward; return the loss."""
        return float(self.trainer._backward(self.trainer.model, batch, is_last=True))

    def log_probs(self, batch: UpdatePass) -> tuple[Tensor, Tensor]:
        """Return (B, C) log-probabilities under the policy and under the reference."""
        with torch.no_grad():
            policy_BC = packed_log_probs(self.trainer.model, batch.packed)[0]
        return policy_BC, batch.inputs["ref_per_token_logps"]

    def more_seconds(self) -> dict[str, float]:
        """Say what it took to encode the images for the store, where there is one."""
        return {} if self._vision_s is None else {"vision_s": self._vision_s}


def _scored(group: DrawnGroup) -> ScoredGroup:
    responses = tuple(
        Response(kind=Kind.SAMPLED, token_ids=tuple(response), text="")
        for response in group.responses
    )
    return ScoredGroup(
        group=Group(study_id=group.prompt.study_id, reference="", responses=responses),
        totals_G=tuple(group.advantages),
        components={},
        advantages_G=tuple(group.advantages),
    )
