"""What a run can be told: frozen dataclasses, one default each, checked on construction.

No torch here. `recipes.py` fills these from YAML files and `--set a.b=c` overrides. A path is kept
as text: it is resolved by the module that opens it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from editgrpo.errors import ConfigError


class EditLevel(StrEnum):
    """What stands beside the sampled rollouts of a group."""

    SENTENCE = "sentence"
    REPORT = "report"
    NONE = "none"


class LossType(StrEnum):
    """How token losses are aggregated; the names are TRL's."""

    DR_GRPO = "dr_grpo"
    GRPO = "grpo"


class AdvantageScale(StrEnum):
    """What centred rewards are divided by."""

    NONE = "none"
    GROUP = "group"


class DType(StrEnum):
    """Number format of the parameters and activations."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def _require(condition: bool, field_name: str, value: Any, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{field_name} is {value!r}; it must be {expected}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Low-rank adapters (PEFT).

    The reference policy is then the same model with the adapters off.
    """

    rank: int = 16
    """Rank of the adapters."""

    alpha: int = 32
    """Scale: the adapters' output is multiplied by alpha / rank."""

    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers that get an adapter, in the language model only."""

    def __post_init__(self) -> None:
        _require(self.rank >= 1, "lora.rank", self.rank, "at least 1")
        _require(bool(self.target_modules), "lora.target_modules", (), "one module name or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The vision-language model."""

    path: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    """A local folder or a Hub id.

    Paper: Qwen2.5-VL-3B.
    """

    revision: str | None = None
    """Commit of the Hub id; None takes its main branch."""

    dtype: DType = DType.BFLOAT16
    """Number format of weights and activations.

    Paper: bf16.
    """

    attention: str = "sdpa"
    """Transformers' attention implementation."""
    freeze_vision_tower: bool = True
    """Whether the image encoder keeps its weights.

    Paper: frozen.
    """

    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass; paper: on."""
    lora: LoraConfig | None = None
    """None trains all parameters that are not frozen, as the paper does."""

    def __post_init__(self) -> None:
        _require(bool(self.path), "model.path", self.path, "a folder or a Hub id")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Prepared studies and how they are shown to the model."""

    folder: str = "studies"
    """Folder that holds `studies.jsonl` (see docs/data.md)."""

    min_pixels: int = 262_144
    """Least pixels of an image after resizing.

    Paper: 262,144.
    """

    max_pixels: int = 401_408
    """Most pixels of an image after resizing.

    Paper: 401,408.
    """

    max_images: int = 6
    """Most images shown for a study; current before prior, frontal before lateral."""

    prompt_template: str | None = None
    """A Jinja file that replaces the built-in prompt; None uses the built-in one."""

    image_cache: str | None = None
    """Folder of resized images; None keeps it beside the studies."""

    train_limit: int | None = None
    """Use only the first so many training studies; None uses all."""

    validation_limit: int | None = 500
    """Use only the first so many validation studies; None uses all."""

    def __post_init__(self) -> None:
        _require(self.min_pixels >= 1, "data.min_pixels", self.min_pixels, "at least 1")
        _require(
            self.max_pixels >= self.min_pixels,
            "data.max_pixels",
            self.max_pixels,
            f"at least data.min_pixels ({self.min_pixels})",
        )
        _require(self.max_images >= 1, "data.max_images", self.max_images, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """AdamW."""

    learning_rate: float = 1e-6
    """Peak learning rate.

    Paper, RL: 1e-6.
    """

    weight_decay: float = 0.01
    """Share of each weight that a step of learning rate 1 would take away.

    Paper: 0.01.
    """

    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm.

    Paper: 1.0.
    """

    warmup_steps: int = 0
    """Steps of linear increase from 0."""

    schedule: str = "constant_with_warmup"
    """A scheduler name of transformers."""

    beta2: float = 0.999
    """Decay of the second moment; AdamW's usual value."""

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "optim.learning_rate", self.learning_rate, "above 0")
        _require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        _require(self.max_grad_norm > 0, "optim.max_grad_norm", self.max_grad_norm, "above 0")
        _require(self.warmup_steps >= 0, "optim.warmup_steps", self.warmup_steps, "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class EditConfig:
    """The edited half of a group."""

    level: EditLevel = EditLevel.SENTENCE
    """`sentence`: half of the group is edited rollouts, which is EditGRPO.

    `report`: the reference report is one of the group. `none`: GRPO or Dr. GRPO.
    """
    annotator: str = "rules"
    """Name for `load_annotator`; it finds sentences and entities."""
    threshold: float = 0.6
    """Cosine above which two entities are the same finding (tau).

    Paper: 0.6.
    """

    max_edits: int = 1
    """Most edits to one rollout.

    Paper: 1.
    """

    anatomy_counts: bool = False
    """Whether an ANATOMY entity can itself be spurious or missing."""

    def __post_init__(self) -> None:
        _require(0 < self.threshold < 1, "edit.threshold", self.threshold, "between 0 and 1")
        _require(self.max_edits >= 1, "edit.max_edits", self.max_edits, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardConfig:
    """The reward that training optimises."""

    name: str = "rules"
    """Name for `load_reward`."""

    weights: dict[str, float] = field(default_factory=dict)
    """Component name to weight; a component left out keeps weight 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutConfig:
    """Groups and sampling."""

    group_size: int = 10
    """Responses in a group (G), edited ones included.

    Paper: 10.
    """

    temperature: float = 1.0
    """Divides the logits when responses are sampled.

    Paper: 1.0.
    """

    max_completion_tokens: int = 256
    """Longest response, its end-of-sequence token included."""

    def __post_init__(self) -> None:
        _require(self.group_size >= 2, "rollout.group_size", self.group_size, "at least 2")
        _require(self.temperature > 0, "rollout.temperature", self.temperature, "above 0")
        _require(
            self.max_completion_tokens >= 2,
            "rollout.max_completion_tokens",
            self.max_completion_tokens,
            "at least 2",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig:
    """The policy-gradient objective."""

    loss: LossType = LossType.DR_GRPO
    """`dr_grpo` divides a response's token sum by a constant; `grpo` by the response's length.

    Paper: Dr. GRPO.
    """

    scale: AdvantageScale = AdvantageScale.NONE
    """`group` divides advantages by the group's standard deviation (the paper's "norm").

    Paper: `none`.
    """

    beta: float = 0.01
    """Weight of the k3 KL to the frozen SFT policy; 0 needs no reference policy.

    Paper: 0.01.
    """

    epsilon: float = 0.2
    """Clip range of the probability ratio.

    Paper: 0.2.
    """

    def __post_init__(self) -> None:
        _require(self.beta >= 0, "objective.beta", self.beta, "0 or more")
        _require(0 < self.epsilon < 1, "objective.epsilon", self.epsilon, "between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SFTConfig:
    """A supervised fine-tuning run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(learning_rate=1e-5, warmup_steps=100)
    )
    epochs: int = 3
    """Passes over the training studies.

    Paper: loss and metrics settle at epoch 3 on MIMIC-CXR.
    """

    max_steps: int | None = None
    """Stop after so many steps, whatever `epochs` says; None runs all epochs."""

    batch_size: int = 32
    """Studies in a step, over all processes."""

    micro_batch_size: int = 4
    """Studies in one forward pass of one process."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """The clinical score by which, with the loss, the best epoch is chosen."""
    max_completion_tokens: int = 256
    """Longest response when the validation studies are generated."""

    save_every: int = 200
    """Steps between checkpoints to resume from."""

    seed: int = 0
    """Every draw of the run follows from it."""

    output: str = "runs/sft"
    """Run folder."""

    report_to: tuple[str, ...] = ()
    """Trackers of transformers (`tensorboard`, `wandb`, ...).

    They get numbers, never report text.
    """

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(
            self.max_steps is None or self.max_steps >= 1, "max_steps", self.max_steps, "at least 1"
        )
        _require(
            self.micro_batch_size >= 1, "micro_batch_size", self.micro_batch_size, "at least 1"
        )
        _require(
            self.batch_size >= 1 and self.batch_size % self.micro_batch_size == 0,
            "batch_size",
            self.batch_size,
            f"a multiple of micro_batch_size ({self.micro_batch_size})",
        )
        _require(self.save_every >= 1, "save_every", self.save_every, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A reinforcement-learning run: EditGRPO and every variant of it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    edit: EditConfig = field(default_factory=EditConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    steps: int = 1000
    """Optimiser steps.

    Paper: 1,000 on MIMIC-CXR.
    """
    prompts_per_step: int = 32
    """Studies in a step, over all processes.

    Paper: 32.
    """
    prompts_per_pass: int = 1
    """Groups in one forward and backward pass of one process; changes memory and speed, not the
    result."""

    save_every: int = 50
    """Steps between checkpoints."""

    keep_checkpoints: int = 2
    """Checkpoints kept besides the final model."""
    max_dropped_share: float = 0.05
    """The run stops when more than this share of the groups so far was dropped because scoring
    failed."""

    seed: int = 0
    """Every draw of the run follows from it."""

    output: str = "runs/editgrpo"
    """Run folder."""

    report_to: tuple[str, ...] = ()
    """Trackers of transformers (`tensorboard`, `wandb`, ...).

    They get numbers, never report text.
    """

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps", self.steps, "at least 1")
        _require(
            self.prompts_per_pass >= 1, "prompts_per_pass", self.prompts_per_pass, "at least 1"
        )
        _require(
            self.prompts_per_step >= 1 and self.prompts_per_step % self.prompts_per_pass == 0,
            "prompts_per_step",
            self.prompts_per_step,
            f"a multiple of prompts_per_pass ({self.prompts_per_pass})",
        )
        _require(
            self.edit.level is not EditLevel.SENTENCE or self.rollout.group_size % 2 == 0,
            "rollout.group_size",
            self.rollout.group_size,
            "even when edit.level is sentence: half of a group is sampled, half edited",
        )
        _require(self.save_every >= 1, "save_every", self.save_every, "at least 1")
        _require(
            0 <= self.max_dropped_share < 1,
            "max_dropped_share",
            self.max_dropped_share,
            "in [0, 1)",
        )

    @property
    def sampled_per_group(self) -> int:
        """K, the rollouts that are sampled for one group."""
        if self.edit.level is EditLevel.SENTENCE:
            return self.rollout.group_size // 2
        if self.edit.level is EditLevel.REPORT:
            return self.rollout.group_size - 1
        return self.rollout.group_size
