"""The policy of a training step as it is sampled from: in evaluation mode, its weights gathered."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trl.models.utils import unwrap_model_for_generation

from editgrpo.training.policy.model import WrappedPolicy
from editgrpo.training.policy.positions import without_adapter_wrapper


@contextmanager
def sampling_policy(
    model: Any, accelerator: Any, checkpointing: Mapping[str, Any] | None
) -> Iterator[WrappedPolicy]:
    """Give the policy in evaluation mode, computing as in the run.

    Args:
        model: The policy, wrapped as it is trained.
        accelerator: Of the trainer.
        checkpointing: Settings of gradient checkpointing, which is off for sampling and on again
            afterwards.

    Yields:
        The policy.
    """
    with unwrap_model_for_generation(
        model, accelerator, gradient_checkpointing_kwargs=checkpointing
    ) as policy:
        # Turning it on again adds a hook to the embedding without removing the one before.
        without_adapter_wrapper(policy).disable_input_require_grads()
        was_training = policy.training
        policy.eval()
        with accelerator.autocast():
            yield policy
        policy.train(was_training)
