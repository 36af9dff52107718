"""Over how many GPUs a run is spread, and how they share the model."""

from dataclasses import dataclass
from enum import StrEnum

from editgrpo.config import OptimizerState, RolloutEngine, TrainConfig
from editgrpo.errors import ConfigError, nearest_name


class Launch(StrEnum):
    """How the processes of a launch share the model; the values are names of launch files."""

    DDP = "ddp"
    """Each holds a whole copy."""
    FSDP2 = "fsdp2"
    """Each holds its share of weights, gradients and moments."""
    ZERO3 = "zero3"
    """The same, by DeepSpeed."""


def launch_named(name: str) -> Launch:
    """Find a launch by its name.

    Args:
        name: Such as `ddp`.

    Returns:
        The launch.

    Raises:
        ConfigError: there is none of that name.
    """
    known = [launch.value for launch in Launch]
    if name not in known:
        raise ConfigError(f"--launch {name}: not known{nearest_name(name, known)}")
    return Launch(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Over how many GPUs, and how."""

    gpus: int = 1
    launch: Launch = Launch.DDP

    @property
    def shards(self) -> int:
        """In how many parts weights, gradients and moments are cut."""
        return self.gpus if self.launch is Launch.FSDP2 else 1


def check_spread(config: TrainConfig, spread: Spread, *, is_packed: bool) -> None:
    """Refuse what a run would refuse, and what the estimate does not count.

    Args:
        config: The run.
        spread: Over how many GPUs, and how.
        is_packed: Whether groups are packed.

    Raises:
        ConfigError: the launch and the settings do not go together, or their memory is not known.
    """
    if spread.launch is Launch.ZERO3:
        raise ConfigError(
            "--launch zero3 is not part of the estimate: DeepSpeed decides its own buffers; use "
            "--launch fsdp2, which needs about as much"
        )
    if not is_packed:
        _check_plain(config, spread)
    parts = config.rollout.vllm.tensor_parallel_size
    if config.rollout.engine is RolloutEngine.VLLM_COLOCATE and spread.gpus % parts:
        raise ConfigError(
            f"rollout.vllm.tensor_parallel_size is {parts}; it must divide the number of GPUs "
            f"({spread.gpus})"
        )
    if spread.launch is Launch.DDP:
        return
    refused = {
        "model.lora": config.model.lora is not None,
        "rollout.compile": config.rollout.compile,
        "the plain path (model.group_pass)": not is_packed,
        f"optim.state={config.optim.state.value}": (
            config.optim.state is not OptimizerState.FLOAT32
        ),
    }
    for setting, is_set in refused.items():
        if is_set:
            raise ConfigError(f"{setting} needs whole copies of the model; use --launch ddp")
    if config.rollout.engine is not RolloutEngine.NATIVE:
        raise ConfigError(
            f"rollout.engine={config.rollout.engine.value} is not part of the estimate with "
            "shards; use --launch ddp"
        )


def _check_plain(config: TrainConfig, spread: Spread) -> None:
    """Refuse what the plain path does not serve, and what the estimate does not count."""
    wanted = {
        "model.gradient_checkpointing=true": config.model.gradient_checkpointing,
        "rollout.engine=native": config.rollout.engine is RolloutEngine.NATIVE,
        "model.freeze_vision_tower=true": config.model.freeze_vision_tower or spread.gpus == 1,
    }
    for setting, is_set in wanted.items():
        if not is_set:
            raise ConfigError(
                f"the estimate knows the plain path (model.group_pass) only so: set {setting}"
            )
