"""Memory and time of a training run, put together from its configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from editgrpo.config import DType, TrainConfig
from editgrpo.training.estimate.activations import kept_bytes, largest_pass
from editgrpo.training.estimate.gpus import Gpu
from editgrpo.training.estimate.known_model import KnownModel, find_model
from editgrpo.training.estimate.memory import Part, memory_parts
from editgrpo.training.estimate.phases import Stage, step_phases
from editgrpo.training.estimate.speed import FAST, SLOW, Phase
from editgrpo.training.estimate.spread import Spread, check_spread
from editgrpo.training.estimate.states import states_of, trained_parameters
from editgrpo.training.estimate.workload import Studies, Workload, workload_of

# Of a GPU's memory; the rest is what the allocator may lose to fragments.
_COMFORT = 0.9


class Fit(StrEnum):
    """Whether a run fits a GPU."""

    FITS = "fits"
    TIGHT = "tight"
    """There is room, but less than a tenth of the memory for what the allocator loses."""
    TOO_LARGE = "too large"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """On what a run is to be estimated.

    Attributes:
        gpu: The GPU; None counts memory alone.
        spread: Over how many of them, and how.
        studies: What a recipe does not say of its studies.
    """

    gpu: Gpu | None = None
    spread: Spread = field(default_factory=Spread)
    studies: Studies = field(default_factory=Studies)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a run takes on each GPU.

    Attributes:
        config: The run.
        setup: On what.
        model: Its model.
        trained: Parameters that it trains.
        work: One GPU's part of a step.
        parts: Of the memory.
        stages: Phases of a step, by stage.
    """

    config: TrainConfig
    setup: Setup
    model: KnownModel
    trained: int
    work: Workload
    parts: Sequence[Part]
    stages: dict[Stage, list[Phase]]

    @property
    def rollout_bytes(self) -> float:
        """Memory while responses are sampled."""
        return sum(part.rollout for part in self.parts)

    @property
    def update_bytes(self) -> float:
        """Memory at the peak of the update."""
        return sum(part.update for part in self.parts)

    @property
    def peak_bytes(self) -> float:
        """The larger of the two."""
        return max(self.rollout_bytes, self.update_bytes)

    @property
    def kept_without_checkpointing(self) -> float:
        """Bytes that the language model's part of the largest pass would keep without gradient
        checkpointing."""
        is_sharded = self.setup.spread.shards > 1
        return kept_bytes(
            self.model.shape.text,
            largest_pass(self.work.at_most),
            states_of(self.config, is_sharded=is_sharded).precision,
            is_checkpointed=False,
        )

    @property
    def fit(self) -> Fit | None:
        """Whether it fits the GPU; None without one."""
        if self.setup.gpu is None:
            return None
        share = self.peak_bytes / self.setup.gpu.memory
        if share > 1:
            return Fit.TOO_LARGE
        return Fit.TIGHT if share > _COMFORT else Fit.FITS

    @property
    def has_seconds(self) -> bool:
        """Whether seconds can be told: for bfloat16, on a GPU whose data sheet is known."""
        gpu = self.setup.gpu
        is_low = self.config.model.dtype is DType.BFLOAT16
        return gpu is not None and gpu.flops is not None and is_low

    def seconds(self, stage: Stage | None = None) -> tuple[float, float] | None:
        """Return the time of a stage, or of the whole step.

        Args:
            stage: The stage; None for all.

        Returns:
            Seconds if the machine does well, and if it does badly; None if they cannot be told, or
            the stage runs elsewhere.
        """
        gpu = self.setup.gpu
        chosen = self.stages.values() if stage is None else [self.stages[stage]]
        phases = [phase for some in chosen for phase in some]
        if not self.has_seconds or gpu is None or not phases:
            return None
        fast, slow = (sum(one.seconds(gpu, speed) for one in phases) for speed in (FAST, SLOW))
        return fast, slow

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: bytes, seconds, operations."""
        gpu, spread, studies = self.setup.gpu, self.setup.spread, self.setup.studies
        return {
            "measured": False,
            "model": self.model.name,
            "parameters": self.model.shape.parameters,
            "trained_parameters": self.trained,
            "gpu": gpu and {"name": gpu.name, "memory_bytes": gpu.memory},
            "gpus": spread.gpus,
            "launch": spread.launch.value,
            "assumed": {
                "images_per_study": self.work.images,
                "pixels_per_image": studies.pixels,
                "prompt_tokens": self.work.prompt,
                "report_tokens": self.work.answer,
                "utilisation": [SLOW.utilisation, FAST.utilisation],
            },
            "memory_bytes": {
                "rollout": {part.name: round(part.rollout) for part in self.parts if part.rollout},
                "update": {part.name: round(part.update) for part in self.parts if part.update},
            },
            "peak_bytes": round(self.peak_bytes),
            "fit": self.fit,
            "operations": {
                stage.value: sum(phase.flops for phase in phases)
                for stage, phases in self.stages.items()
            },
            "seconds": {stage.value: self.seconds(stage) for stage in Stage}
            | {"step": self.seconds()},
        }


def estimate(config: TrainConfig, setup: Setup) -> Estimate:
    """Estimate what a run takes, without weights, data or a GPU.

    Args:
        config: The run.
        setup: On what.

    Returns:
        The estimate.

    Raises:
        ModelError: the shape of the model is not known.
        ConfigError: the settings contradict each other, or are not accounted for.
    """
    model = find_model(config.model)
    check_spread(config, setup.spread, is_packed=model.shape.is_packed)
    work = workload_of(config, model.shape, setup.studies, setup.spread.gpus)
    return Estimate(
        config=config,
        setup=setup,
        model=model,
        trained=trained_parameters(config, model.shape),
        work=work,
        parts=memory_parts(config, model.shape, work, setup.spread, setup.gpu),
        stages=step_phases(config, model.shape, work, shards=setup.spread.shards),
    )
