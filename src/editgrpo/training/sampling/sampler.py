"""What an engine that samples responses gives a step, whichever engine it is.

Left out on purpose: the engines (native.py, vllm_engine.py), and what is made of the responses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from editgrpo.training.policy.processor import EncodedPrompt


@dataclass(frozen=True, slots=True)
class SampledResponse:
    """One response as it was sampled.

    Attributes:
        token_ids: Its tokens, the end-of-sequence token included.
        log_probs: For each token its log-probability in the engine, NaN where it gave none; None
            if the policy in training sampled it.
    """

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...] | None = None


Listener = Callable[[int, int], None]
"""Told each token as it is drawn: the number of its response, prompt by prompt, and its id. What it
raises ends the sampling."""


class Asked(Protocol):
    """What the policy is shown of a study."""

    @property
    def prompt(self) -> EncodedPrompt:
        """The prompt."""

    @property
    def features(self) -> Tensor | None:
        """(N, D) features of its images; None without images, or where none are kept."""


class Sampler(Protocol):
    """Samples responses of the policy as it is."""

    @property
    def importance_cap(self) -> float | None:
        """Largest weight of a sampled token (step/importance.py); None for an engine that samples
        from the very distribution that is trained."""

    def check(self, prompt: EncodedPrompt) -> None:
        """Check the engine before its first responses.

        Args:
            prompt: A prompt of the run, with its images' patches.

        Raises:
            TrainingError: it samples from another model than the one that is trained.
        """

    def sample(self, step: int, asked: Sequence[Asked], rows: range) -> list[list[SampledResponse]]:
        """Sample some of the rollouts of each study; all processes call this together.

        Args:
            step: Steps taken before this one.
            asked: P studies of this process.
            rows: Numbers of the rollouts within their groups.

        Returns:
            For each study one response a row. It ends with an end-of-sequence token unless it
            reached the length limit.

        Raises:
            DataError: what the policy is shown cannot be given to the engine (names the study).
            TrainingError: the engine does not work.
        """
