"""The policy itself as the engine that samples responses."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from editgrpo.config import TrainConfig
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.model import WrappedPolicy
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.decoding import whole_weights
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.sampling.sampler import Asked, SampledResponse
from editgrpo.training.sampling.self_check import check_sampling
from editgrpo.training.seeds import rollout_draws


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeSampler:
    """Samples with the weights that are trained, where they are."""

    config: TrainConfig
    settings: SamplingSettings
    policy: Callable[[], AbstractContextManager[WrappedPolicy]]
    """Gives the policy in evaluation mode, computing as in the run."""

    @property
    def importance_cap(self) -> None:
        """None: what samples is what is trained."""

    def check(self, prompt: EncodedPrompt) -> None:
        """Compare with transformers' `generate`; see `Sampler`."""
        with self.policy() as policy:
            check_sampling(policy, prompt, self.settings, dtype=self.config.model.dtype)

    def sample(self, step: int, asked: Sequence[Asked], rows: range) -> list[list[SampledResponse]]:
        """Sample some of the rollouts of each study; what is drawn depends on nothing else."""
        if not asked:  # other processes may have some, and a shard of the model is here
            with self.policy() as policy, whole_weights(policy):
                return []
        uniforms_PK_T = rollout_draws(
            self.config.seed,
            step,
            [one.prompt.study_id for one in asked],
            rows=rows,
            count=self.settings.max_tokens,
        )
        with self.policy() as policy:
            sampled = sample_responses(
                policy,
                [one.prompt for one in asked],
                uniforms_PK_T,
                self.settings,
                features=[one.features for one in asked],
                tokens_per_pass=self.config.tokens_per_pass,
                compiled=self.config.rollout.compile,
            )
        return [[SampledResponse(tuple(ids)) for ids in of_study] for of_study in sampled]
