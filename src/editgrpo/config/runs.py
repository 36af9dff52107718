"""The two kinds of run."""

from dataclasses import field
from enum import StrEnum
from typing import Annotated

from editgrpo.config.check import (
    Count,
    Limits,
    OptionalCount,
    ReportTokens,
    Seed,
    require,
    settings,
)
from editgrpo.config.clinical import ClinicalConfig
from editgrpo.config.components import DataConfig, ModelConfig, OptimConfig, RewardConfig
from editgrpo.config.edits import EditConfig, EditLevel
from editgrpo.config.policy import ObjectiveConfig, RolloutConfig

REPLACED = {
    "prompts_per_pass": "tokens_per_pass, in tokens, took its place",
    "model.attention": "model.group_attention took its place",
}
"""Keys of earlier versions, and what became of them."""
REPLACED_VALUES = {"optim.state": {"master": "is gone; take 8bit, or float32"}}
"""Values of earlier versions, and what to take in their place."""


@settings()
class SFTConfig:
    """A supervised fine-tuning run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(learning_rate=1e-5, warmup_steps=100)
    )
    epochs: Count = 3
    """Passes over the training studies.

    Paper: loss and metrics settle at epoch 3 on MIMIC-CXR.
    """

    max_steps: OptionalCount = None
    """Most optimiser steps; None runs all `epochs`."""

    batch_size: Count = 32
    """Studies in an optimiser step, of all processes together."""

    micro_batch_size: Count = 4
    """Studies in a forward pass of one process; changes memory and speed, not the result."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Score of the validation reports; with the loss it decides which epoch is the best."""
    clinical: ClinicalConfig = field(default_factory=ClinicalConfig)
    max_completion_tokens: ReportTokens = 256
    """Most tokens of a generated validation report."""

    save_every: Count = 200
    """Optimiser steps between two checkpoints."""

    seed: Seed = 0
    """Seed of all random draws."""

    output: str = "runs/sft"
    """Run folder."""

    run_name: str | None = None
    """Name of the run in trackers and reports; None takes the name of the run folder."""

    report_to: tuple[str, ...] = ()
    """Trackers that get the numbers of `metrics.jsonl`: `tensorboard`, `wandb`, `mlflow`,
    `trackio`, or another that transformers knows."""

    def __post_init__(self) -> None:
        require(
            self.batch_size % self.micro_batch_size == 0,
            "batch_size",
            self.batch_size,
            f"a multiple of micro_batch_size ({self.micro_batch_size})",
        )
        _check_name(self.run_name)


def _check_name(name: str | None) -> None:
    """Refuse a name that would lead TensorBoard's files to another folder."""
    is_name = name is None or (name.strip() and not {"/", "\\"} & set(name) and name != "..")
    require(bool(is_name), "run_name", name, "a name without slashes, or null")


class PromptOrder(StrEnum):
    """Which training studies a step gets (docs/objective-variants.md)."""

    UNIFORM = "uniform"
    """All in turn, in shuffled passes."""
    BY_FINDING = "by_finding"
    """Half of them so; the other half hold a finding, each finding as often as can be."""
    BY_HARDNESS = "by_hardness"
    """All in turn, but studies whose groups had no signal are passed over at most turns."""


@settings()
class TrainConfig:
    """A reinforcement-learning run: EditGRPO and every variant of it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    edit: EditConfig = field(default_factory=EditConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    clinical: ClinicalConfig = field(default_factory=ClinicalConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    steps: Count = 1000
    """Optimiser steps.

    Paper: 1,000 on MIMIC-CXR.
    """
    prompts_per_step: Count = 32
    """Studies in a step, of all processes together.

    Paper: 32.
    """
    prompt_order: PromptOrder = PromptOrder.UNIFORM
    """Which studies a step gets: `uniform`, half of them `by_finding`, or `by_hardness`.

    Paper: `uniform`.
    """

    tokens_per_pass: Count = 16_384
    """Most tokens in a forward and backward pass of one process.

    Changes memory and speed, not the result. A longer group gets a pass of its own.
    """

    rollout_parts: Count = 1
    """Number of parts in which the prompts of a step are sampled; while one is sampled, the one
    before is edited and scored.
    """

    save_every: Count = 50
    """Optimiser steps between two checkpoints."""

    keep_checkpoints: Count = 2
    """Number of checkpoints to keep."""
    max_dropped_share: Annotated[float, Limits(ge=0, lt=1)] = 0.05
    """Largest share of groups that may be dropped because scoring failed; above it a run stops."""

    seed: Seed = 0
    """Seed of all random draws."""

    output: str = "runs/editgrpo"
    """Run folder."""

    run_name: str | None = None
    """Name of the run in trackers and reports; None takes the name of the run folder."""

    report_to: tuple[str, ...] = ()
    """Trackers that get the numbers of `metrics.jsonl`: `tensorboard`, `wandb`, `mlflow`,
    `trackio`, or another that transformers knows."""

    report_text: bool = False
    """Whether trackers also get the lines of `rollouts.jsonl` as tables.

    They hold report text.
    """

    def __post_init__(self) -> None:
        require(
            self.edit.level is not EditLevel.SENTENCE or self.rollout.group_size % 2 == 0,
            "rollout.group_size",
            self.rollout.group_size,
            "even when edit.level is sentence: half of a group is sampled, half edited",
        )
        require(
            self.prompt_order is not PromptOrder.BY_FINDING or self.prompts_per_step >= 2,
            "prompts_per_step",
            self.prompts_per_step,
            "at least 2 where prompt_order is by_finding, which draws half of them by finding",
        )
        _check_name(self.run_name)

    @property
    def sampled_per_group(self) -> int:
        """K, the rollouts that are sampled for one group while half of it is edited.

        `training/step/edit_schedule.py` says how many it is at a step.
        """
        if self.edit.level is EditLevel.SENTENCE:
            return self.rollout.group_size // 2
        if self.edit.level is EditLevel.REPORT:
            return self.rollout.group_size - 1
        return self.rollout.group_size


COMMANDS: dict[type, str] = {SFTConfig: "sft", TrainConfig: "train"}
"""The command that makes each kind of run."""
