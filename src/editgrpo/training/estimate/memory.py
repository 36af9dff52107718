"""What must be in one GPU's memory at once, part by part, while it samples and while it updates."""

from collections.abc import Iterator
from dataclasses import dataclass

from editgrpo.config import DType, TrainConfig
from editgrpo.training.estimate.activations import (
    kept_bytes,
    largest_pass,
    passing_bytes,
    tower_bytes,
)
from editgrpo.training.estimate.gpus import Gpu
from editgrpo.training.estimate.sampling_memory import passing_in_rollout, sampling_bytes
from editgrpo.training.estimate.scorers import scorer_bytes
from editgrpo.training.estimate.shapes import ModelShape, TextShape
from editgrpo.training.estimate.spread import Spread
from editgrpo.training.estimate.states import (
    BF16,
    FLOAT32,
    States,
    states_of,
    trained_parameters,
)
from editgrpo.training.estimate.workload import Workload

GIB = 2**30

# Logits that are scored at a time (training/packed/group_pass.py), and how often they exist: as
# float32, scaled, as logarithms of probabilities, as a gradient.
_LOGITS, _LOGIT_COPIES = 2**25, 4
# CUDA's context and the workspaces of cuBLAS: seen on other machines, not measured here.
_WORKSPACE = 0.7 * GIB
# NF4: 4 bits, a constant of 8 bits for each block of 64 and one of 32 bits for each 256 of these.
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the memory."""

    name: str
    rollout: float = 0
    """Bytes while responses are sampled."""
    update: float = 0
    """Bytes at the peak of the update; the passes of the reference are below it."""


def memory_parts(
    config: TrainConfig, shape: ModelShape, work: Workload, spread: Spread, gpu: Gpu | None
) -> list[Part]:
    """Return the parts of one GPU's memory.

    Args:
        config: The run.
        shape: Of its model.
        work: The GPU's part of a step; responses are taken to be as long as they may be.
        spread: Over how many GPUs, and how.
        gpu: Of which vLLM takes a share, if it samples here; None leaves that out.

    Returns:
        Parts that are not empty. What the allocator loses to fragments is in none.

    Raises:
        ConfigError: the settings contradict each other, or adapters are on other layers than the
            counts know.
    """
    states, most = states_of(config, is_sharded=spread.shards > 1), work.at_most
    sampling = sampling_bytes(config, shape.text, most, states.precision, gpu)
    parts = [
        *_weights(config, shape, states, spread),
        *_training_states(config, shape, states, spread),
        _activations(config, shape, most, states),
        Part(
            name="a layer at work, or copies of weights",
            rollout=passing_in_rollout(config, shape.text, most, states.precision),
            update=_passing(config, shape, most, states),
        ),
        Part(name="logits of a chunk", update=_logit_bytes(shape.text, most)),
        *(Part(name=name, rollout=size) for name, size in sampling.items()),
        _always("features of the step's images", _features(config, shape, work, states)),
        _always("clinical models of reward and edits", scorer_bytes(config)),
        _always("workspace of CUDA (assumed)", _WORKSPACE),
    ]
    return [part for part in parts if part.rollout or part.update]


def _always(name: str, size: float) -> Part:
    return Part(name=name, rollout=size, update=size)


def is_tower_frozen(config: TrainConfig) -> bool:
    """Say whether a run leaves the vision tower as it is; adapters are in the language model."""
    return config.model.freeze_vision_tower or config.model.lora is not None


def _weights(
    config: TrainConfig, shape: ModelShape, states: States, spread: Spread
) -> Iterator[Part]:
    trained, number = trained_parameters(config, shape), _frozen_number(config)
    has_adapters = config.model.lora is not None
    frozen = shape.parameters - (0 if has_adapters else trained)
    yield _always("weights, trained", states.weight * trained / spread.shards)
    saved = (number - _NF4) * shape.text.matrices if config.model.is_quantized else 0
    yield _always("weights, frozen", (number * frozen - saved) / spread.shards)
    if config.objective.beta and not has_adapters:
        # TRL loads the reference in the format of the policy's first weight, which is the tower's.
        each = number if is_tower_frozen(config) else states.weight
        yield _always("reference policy", each * shape.parameters / spread.shards)
    if spread.shards > 1:
        yield _gathered(shape, number, has_tower=is_tower_frozen(config))


def _frozen_number(config: TrainConfig) -> int:
    return FLOAT32 if config.model.dtype is DType.FLOAT32 else BF16


def _gathered(shape: ModelShape, number: int, *, has_tower: bool) -> Part:
    """Return what FSDP2 brings together: all layers for sampling, two at a time for an update, and
    the embedding with the head for both. A frozen tower has a whole copy for the features."""
    text, tower = shape.text, shape.vision.parameters if has_tower else 0
    embeddings = text.embedding * (1 if text.is_tied else 2)
    return Part(
        name="weights, gathered from shards",
        rollout=float(number * (text.parameters + tower)),
        update=float(number * (embeddings + 2 * text.layer_matrices + tower)),
    )


def _training_states(
    config: TrainConfig, shape: ModelShape, states: States, spread: Spread
) -> Iterator[Part]:
    trained = trained_parameters(config, shape)
    gradients = states.gradient * trained / spread.shards
    yield Part(name="gradients", update=gradients)
    if spread.gpus > 1 and spread.shards == 1:
        yield _always("gradients, as DDP sends them", gradients)  # buckets stay between steps
    if config.model.lora is not None:
        moments = states.moments * trained
    else:
        moments = states.moment_bytes(trained, shape.text)
    yield _always("optimiser states", moments / spread.shards)


def _activations(config: TrainConfig, shape: ModelShape, work: Workload, states: States) -> Part:
    size, is_checkpointed = largest_pass(work), config.model.gradient_checkpointing
    kept = kept_bytes(shape.text, size, states.precision, is_checkpointed=is_checkpointed)
    if not is_tower_frozen(config):
        prompts = size.tokens / work.group_tokens * (1 if work.is_packed else work.group)
        patches = prompts * work.images * work.patches
        kept += tower_bytes(
            shape.vision, patches, states.precision, is_checkpointed=is_checkpointed
        )
    what = "layer inputs" if is_checkpointed else "activations"
    return Part(name=f"{what} of the largest pass", update=kept)


def _passing(config: TrainConfig, shape: ModelShape, work: Workload, states: States) -> float:
    return passing_bytes(
        shape.text,
        largest_pass(work),
        states.precision,
        is_checkpointed=config.model.gradient_checkpointing,
        is_head_trained=config.model.lora is None,
        tower=0 if is_tower_frozen(config) else shape.vision.parameters,
    )


def _logit_bytes(text: TextShape, work: Workload) -> float:
    logits = max(_LOGITS, text.vocabulary)
    if not work.is_packed:
        logits = work.chunk * (work.longest + 1) * text.vocabulary
    return float(_LOGIT_COPIES * FLOAT32 * logits)


def _features(config: TrainConfig, shape: ModelShape, work: Workload, states: States) -> float:
    """Return the features of a step's images, which are held from its beginning to its end."""
    if not work.is_packed or not is_tower_frozen(config):
        return 0
    each = image_feature_bytes(shape, work.patches, number=states.precision.compute)
    return work.prompts * work.images * each


def image_feature_bytes(shape: ModelShape, patches: int, *, number: int = BF16) -> int:
    """Return what the features of one image take.

    Args:
        shape: Of the model.
        patches: Of the image.
        number: Bytes of a number.

    Returns:
        Bytes, all levels included.
    """
    vision = shape.vision
    return number * vision.levels * vision.out * (patches // vision.merge**2)
