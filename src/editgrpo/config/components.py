"""What supervised fine-tuning and reinforcement learning have in common: model, data, optimiser,
reward."""

from dataclasses import field
from enum import StrEnum
from typing import Annotated

from editgrpo.config.check import (
    BetweenZeroAndOne,
    Count,
    Limits,
    NotNegative,
    OptionalCount,
    Positive,
    ZeroOrMore,
    require,
    settings,
)


class DType(StrEnum):
    """Number format of the parameters and activations."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class AttentionKernel(StrEnum):
    """How attention inside a packed group is computed; both give the same numbers."""

    SPLIT = "split"
    """Prompts and responses apart, nothing computed that is not seen."""
    DENSE = "dense"
    """One masked call for the whole row."""


class GroupPass(StrEnum):
    """How the responses of a group are sampled and scored."""

    AUTO = "auto"
    """Packed for a family whose layers this package knows, plain for any other."""
    PACKED = "packed"
    """Each prompt once, its responses behind it in one row."""
    PLAIN = "plain"
    """Each response in a row of its own, by the stock model and transformers' `generate`."""


class Schedule(StrEnum):
    """Those of transformers' schedules of the learning rate that need no further settings."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"


class OptimizerState(StrEnum):
    """What is held of a trained parameter, in bytes with its gradient and AdamW's state."""

    FLOAT32 = "float32"
    """16 bytes: all of it in float32, computed in `model.dtype` by autocast."""
    EIGHT_BIT = "8bit"
    """10 bytes: parameters and gradients in float32, moments in 8 bits (bitsandbytes)."""


class Quantization(StrEnum):
    """Number format of the frozen matrices under adapters."""

    NONE = "none"
    """`model.dtype`."""
    NF4 = "nf4"
    """4-bit NormalFloat, its constants quantised again: QLoRA (bitsandbytes)."""


@settings("model.lora")
class LoraConfig:
    """Low-rank adapters (PEFT).

    The reference policy is then the same model with the adapters off.
    """

    rank: Count = 16
    """Rank of the adapters."""

    alpha: Count = 32
    """Scale: the adapters' output is multiplied by alpha / rank."""

    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers of the language model that get an adapter, by name."""

    quantization: Quantization = Quantization.NONE
    """`nf4`: the language model's frozen matrices take 4 bits (QLoRA); they compute in
    `model.dtype`, the adapters are float32."""

    def __post_init__(self) -> None:
        names = self.target_modules
        require(bool(names), "model.lora.target_modules", names, "one module name or more")


@settings("model")
class ModelConfig:
    """The vision-language model."""

    path: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    """Folder or Hub id of the model that the run starts from.

    Paper: Qwen2.5-VL-3B.
    """

    revision: str | None = None
    """Commit of the Hub id; None takes its main branch."""

    dtype: DType = DType.BFLOAT16
    """Number format of weights and activations.

    Paper: bf16.
    """

    group_attention: AttentionKernel = AttentionKernel.SPLIT
    """How attention in packed groups is computed; changes only the time and the last digits
    (docs/training.md)."""

    group_pass: GroupPass = GroupPass.AUTO
    """How a group is computed: as one `packed` row, or as `plain` rows by the stock model, which is
    slower.

    `auto` packs the families that this package knows and takes `plain` for any other.
    """

    feature_ram_mib: ZeroOrMore = 2048
    """Memory of each process for image features that later steps may need again, in MiB; 0 keeps
    none.

    Used only if the vision tower is frozen. An image of 512 tokens takes 2 MiB, about
    8 MiB with Qwen3-VL.
    """

    feature_disk_mib: ZeroOrMore = 0
    """Disk space of each process, in the run folder, for features that do not fit into memory, in
    MiB."""

    freeze_vision_tower: bool = True
    """Keep the weights of the image encoder as they are.

    Paper: true.
    """

    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, more time.

    Paper: true.
    """

    lora: LoraConfig | None = None
    """Low-rank adapters to train in place of the weights; None trains all weights that are not
    frozen.

    Paper: null.
    """

    def __post_init__(self) -> None:
        require(bool(self.path), "model.path", self.path, "a folder or a Hub id")

    @property
    def is_quantized(self) -> bool:
        """Whether adapters lie on matrices of 4 bits."""
        return self.lora is not None and self.lora.quantization is Quantization.NF4


class Section(StrEnum):
    """A section of a report, in the order in which reports have them."""

    FINDINGS = "findings"
    IMPRESSION = "impression"


class Target(StrEnum):
    """Which sections of a report are learned, generated and scored (docs/data.md)."""

    FINDINGS = "findings"
    IMPRESSION = "impression"
    BOTH = "findings+impression"
    """As one text, `FINDINGS: ...` and, on a line of its own, `IMPRESSION: ...`."""

    @property
    def sections(self) -> tuple[str, ...]:
        """The fields of a study that it takes."""
        return tuple(self.value.split("+"))


@settings("data")
class DataConfig:
    """Prepared studies and how they are shown to the model."""

    folder: str = "studies"
    """Prepared folder of the studies (docs/data.md); the size of the images is set there."""

    max_images: Count = 6
    """Most images of a study in a prompt; current images come before prior ones, frontal before
    lateral."""

    target: Target = Target.FINDINGS
    """What is written: `findings`, `impression` or `findings+impression`.

    Studies without such a section are left out. Paper: findings.
    """

    prompt_template: str | None = None
    """Jinja file of the prompt; None uses the built-in prompt."""

    train_limit: OptionalCount = None
    """Number of training studies to use, from the first; None uses all."""

    validation_limit: OptionalCount = 500
    """Number of validation studies to use, from the first; None uses all."""


@settings("optim")
class OptimConfig:
    """AdamW."""

    learning_rate: Positive = 1e-6
    """Peak learning rate.

    Paper: 1e-6 for reinforcement learning.
    """

    weight_decay: NotNegative = 0.01
    """Weight decay of AdamW: a step takes this share, times the learning rate, from each weight.

    Paper: 0.01.
    """

    max_grad_norm: Positive = 1.0
    """Largest norm of the gradient; a larger gradient is scaled down to it.

    Paper: 1.0.
    """

    warmup_steps: ZeroOrMore = 0
    """Steps in which the learning rate rises from 0 to its peak."""

    schedule: Schedule = Schedule.CONSTANT_WITH_WARMUP
    """Learning rate after the warm-up; `linear` and `cosine` fall to 0 at the last step."""

    beta2: BetweenZeroAndOne = 0.999
    """Decay of AdamW's second moment."""

    state: OptimizerState = OptimizerState.FLOAT32
    """Number format of parameters, gradients and moments: `float32` or `8bit`.

    docs/performance.md compares their memory and their accuracy.
    """


@settings("reward")
class RewardConfig:
    """The reward that training optimises."""

    name: str = "rules"
    """Reward: `paper`, `rules` or `custom` (docs/training.md)."""

    weights: dict[str, float] = field(default_factory=dict)
    """Weights of components by name.

    Components of `reward.name` that are not named here keep weight 1; any other is added.
    """

    custom: str | None = None
    """A component of your own as `module:function` (docs/training.md), with weight 1 unless
    `reward.weights` names it."""

    class_rates: str | None = None
    """File of class rates from `editgrpo annotate --class-rates`; components that weigh findings by
    inverse frequency need it."""

    timeout_s: Annotated[float | None, Limits(gt=0)] = 1800.0
    """Seconds that scoring the reports of a step may take, or of each of its parts or draws if it
    has several; after that their groups are dropped. None sets no limit."""
