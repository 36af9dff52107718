"""How weights, gradients and AdamW's moments are held, in bytes a parameter."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from editgrpo.config import DType, OptimizerState, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.estimate.shapes import ModelShape, TextShape

BF16, FLOAT32, FLOAT64 = 2, 4, 8


class Precision(Enum):
    """In which number formats layers compute."""

    FLOAT32 = auto()
    """All of it in float32."""
    AUTOCAST = auto()
    """Float32 weights, products in bfloat16; layers hand on float32."""
    BFLOAT16 = auto()
    """Weights, products and what layers hand on in bfloat16."""

    @property
    def compute(self) -> int:
        """Bytes of a factor of a product."""
        return FLOAT32 if self is Precision.FLOAT32 else BF16

    @property
    def residual(self) -> int:
        """Bytes of a number that layers hand on."""
        return BF16 if self is Precision.BFLOAT16 else FLOAT32


@dataclass(frozen=True, kw_only=True, slots=True)
class States:
    """Bytes a trained parameter, and those of what is frozen."""

    weight: float
    gradient: float
    moments: float
    """What the optimiser keeps."""
    precision: Precision
    moments_of_embedding: float | None = None
    """Where they differ from those of the rest."""

    def moment_bytes(self, trained: float, text: TextShape) -> float:
        """Return what the optimiser keeps of so many trained parameters, the embedding among
        them."""
        if self.moments_of_embedding is None:
            return self.moments * trained
        return self.moments * trained + (self.moments_of_embedding - self.moments) * text.embedding


_FLOAT32 = States(
    weight=FLOAT32, gradient=FLOAT32, moments=2 * FLOAT32, precision=Precision.AUTOCAST
)
# bitsandbytes: moments of one byte each and a float32 scale for every 256 of them; transformers
# leaves the embedding out.
_EIGHT_BIT = States(
    weight=FLOAT32,
    gradient=FLOAT32,
    moments=2 * (1 + FLOAT32 / 256),
    moments_of_embedding=2 * FLOAT32,
    precision=Precision.AUTOCAST,
)


def states_of(config: TrainConfig, *, is_sharded: bool = False) -> States:
    """Return how a run holds what it trains.

    Args:
        config: The run. Adapters are float32 on weights in `model.dtype`.
        is_sharded: Whether FSDP2 shards the model: it gathers float32 shards in `model.dtype`, and
            hands layers their inputs in it.

    Returns:
        Bytes a trained parameter.
    """
    states = _EIGHT_BIT if config.optim.state is OptimizerState.EIGHT_BIT else _FLOAT32
    if config.model.dtype is DType.FLOAT32:
        return replace(states, precision=Precision.FLOAT32)
    if config.model.lora is not None or is_sharded:
        return replace(_FLOAT32, precision=Precision.BFLOAT16)
    return states


_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapter_parameters(text: TextShape, rank: int, modules: tuple[str, ...]) -> int:
    """Count the parameters of adapters.

    Args:
        text: The language model.
        rank: Of the adapters.
        modules: Names of the layers that have one, such as `q_proj`.

    Returns:
        Parameters of all layers together.

    Raises:
        ConfigError: a name is none of the layers of attention and MLP.
    """
    unknown = sorted(set(modules) - set(_ADAPTED))
    if unknown:
        raise ConfigError(
            f"model.lora.target_modules: {unknown[0]} is not part of the estimate; it knows "
            f"{', '.join(_ADAPTED)}"
        )
    sides = {
        "q_proj": text.hidden + text.query_width,
        "k_proj": text.hidden + text.key_width,
        "v_proj": text.hidden + text.key_width,
        "o_proj": text.query_width + text.hidden,
        "gate_proj": text.hidden + text.intermediate,
        "up_proj": text.hidden + text.intermediate,
        "down_proj": text.intermediate + text.hidden,
    }
    return text.layers * rank * sum(sides[name] for name in set(modules))


def trained_parameters(config: TrainConfig, shape: ModelShape) -> int:
    """Count what a run trains.

    Args:
        config: The run.
        shape: Of its model.

    Returns:
        Parameters; with adapters theirs alone.
    """
    lora = config.model.lora
    if lora is not None:
        return adapter_parameters(shape.text, lora.rank, lora.target_modules)
    frozen = shape.vision.parameters if config.model.freeze_vision_tower else 0
    return shape.parameters - frozen
