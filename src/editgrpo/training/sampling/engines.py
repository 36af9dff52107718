"""Which engine samples the responses of a run."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from editgrpo.config import TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.policy.generation_tokens import GenerationTokens
from editgrpo.training.policy.model import WrappedPolicy
from editgrpo.training.policy.processor import StudyProcessor
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.sampling.native import NativeSampler
from editgrpo.training.sampling.sampler import Sampler
from editgrpo.training.sampling.vllm_engine import VLLMSampler


def make_sampler(
    config: TrainConfig,
    tokens: GenerationTokens,
    encoder: PromptEncoder,
    *,
    policy: Callable[[], AbstractContextManager[WrappedPolicy]],
    vllm: Any | None,
) -> Sampler:
    """Make the engine of a run.

    Args:
        config: The run.
        tokens: Of the policy.
        encoder: Of the training studies.
        policy: Gives the policy in evaluation mode, computing as in the run.
        vllm: TRL's connection to vLLM; None if the policy itself samples.

    Returns:
        The engine.

    Raises:
        ConfigError: vLLM is to sample from a family that it is not made ready for.
    """
    rollout = config.rollout
    settings = tokens.sampling(
        max_tokens=rollout.max_completion_tokens, temperature=rollout.temperature
    )
    if vllm is None:
        return NativeSampler(config=config, settings=settings, policy=policy)
    if not isinstance(encoder.processor, StudyProcessor):
        raise ConfigError(
            f"rollout.engine is {rollout.engine.value!r}, which serves families of Qwen2-VL's kind "
            "alone; use 'native'"
        )
    return VLLMSampler(
        vllm,
        encoder.processor,
        settings,
        pixels=encoder.pixels,
        importance_cap=rollout.vllm.importance_cap,
    )
