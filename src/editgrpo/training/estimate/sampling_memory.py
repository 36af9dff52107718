"""What sampling keeps in one GPU's memory."""

import math

from editgrpo.config import RolloutEngine, TrainConfig
from editgrpo.training.estimate.activations import cast_bytes, forward_bytes
from editgrpo.training.estimate.gpus import Gpu
from editgrpo.training.estimate.shapes import TextShape
from editgrpo.training.estimate.states import BF16, FLOAT64, Precision
from editgrpo.training.estimate.workload import Workload


def sampling_bytes(
    config: TrainConfig, text: TextShape, work: Workload, precision: Precision, gpu: Gpu | None
) -> dict[str, float]:
    """Return what sampling keeps besides weights.

    Args:
        config: The run.
        text: The language model.
        work: The GPU's part of a step.
        precision: In what it computes.
        gpu: Of which vLLM takes a share, if it samples here.

    Returns:
        Bytes by part; nothing where a server samples.
    """
    engine = config.rollout.engine
    if engine is RolloutEngine.VLLM_SERVER:
        return {}
    if engine is RolloutEngine.VLLM_COLOCATE:
        # It gives its memory back for the update (vllm_enable_sleep_mode).
        share = config.rollout.vllm.gpu_memory_utilization
        return {"vLLM": share * gpu.memory if gpu else 0}
    # Float64 logits, probabilities and their running sum (training/sampling/draw.py).
    drawn = _prompts(work) * work.sampled * text.vocabulary
    return {
        "key/value cache": store_bytes(text, work, number=precision.compute),
        "logits of a decoding step": float(drawn * (precision.compute + 3 * FLOAT64)),
    }


def passing_in_rollout(
    config: TrainConfig, text: TextShape, work: Workload, precision: Precision
) -> float:
    """Return what comes and goes while prompts are computed.

    Args:
        config: The run.
        text: The language model.
        work: The GPU's part of a step.
        precision: In what it computes.

    Returns:
        Bytes of a layer at work, and of autocast's copies of weights; nothing where vLLM samples.
    """
    if config.rollout.engine is not RolloutEngine.NATIVE:
        return 0
    layer = forward_bytes(text, _prefilled(work), precision)
    return layer + cast_bytes(text.matrices + text.embedding, precision)


def _prompts(work: Workload) -> int:
    """Return how many prompts are sampled together."""
    return math.ceil(work.prompts / work.parts) if work.is_packed else 1


def _prefilled(work: Workload) -> float:
    """Return how many prompt tokens are computed at once."""
    if not work.is_packed:
        return work.sampled * work.prompt
    return min(_prompts(work) * work.prompt, max(work.tokens_per_pass, work.prompt))


def store_bytes(text: TextShape, work: Workload, *, number: int = BF16) -> float:
    """Return the key/value cache of a rollout.

    Args:
        text: The model.
        work: The step.
        number: Bytes of a number.

    Returns:
        Bytes at the end, when every sample has its full length: of the prompts that are sampled
        together each once, and of every sample what is its own; on the plain path of one prompt's
        samples, each with its prompt.
    """
    each = 2 * number * text.key_width
    if not work.is_packed:
        return each * work.sampled * text.stored_tokens(work.prompt + work.longest)
    tokens = work.prompt + work.sampled * work.longest
    return float(each * text.layers * _prompts(work) * tokens)
