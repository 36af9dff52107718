"""Which optimiser a run gets: PyTorch's AdamW, or bitsandbytes' with moments in 8 bits."""

from typing import Any

from editgrpo.config import OptimConfig, OptimizerState
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras


def optimizer_arguments(config: OptimConfig) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer that choose its optimiser.

    Args:
        config: Of the run.

    Returns:
        `optim`: PyTorch's AdamW, or that with 8-bit states.

    Raises:
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    if config.state is not OptimizerState.EIGHT_BIT:
        return {"optim": "adamw_torch_fused"}
    require_extras(Extra.EIGHT_BIT, what="optim.state=8bit")
    return {"optim": "adamw_bnb_8bit"}


def refuse_states_of_shards(config: OptimConfig, trainer: Any) -> None:
    """Refuse a state of the optimiser that cannot be cut over processes.

    Args:
        config: Of the run.
        trainer: The Trainer.

    Raises:
        ConfigError: the trainer shards its parameters, which are float32 then, and `config.state`
            is another.
    """
    is_sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if is_sharded and config.state is not OptimizerState.FLOAT32:
        raise ConfigError(
            f"optim.state={config.state.value} is for whole copies of the model; FSDP and "
            "DeepSpeed share a float32 state among the processes: set optim.state=float32"
        )
