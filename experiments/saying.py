"""Does a policy say a finding? Reports sampled at temperature 1 and the findings that they name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from editgrpo.data.study import Study
from editgrpo.metrics.check import read_labels
from editgrpo.reports import load_labeler
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import pack_groups, packed_length, plan_passes
from editgrpo.training.policy.generation_tokens import generation_tokens
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.seeds import rollout_draws

_LABELER = "rules"
_TOKENS_PER_PASS = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """What a policy said of some studies.

    Attributes:
        texts_NK: K reports of each study.
        entropies: Entropy in nats before each sampled token; empty unless it was asked for.
    """

    texts_NK: list[list[str]]
    entropies: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """How reports are sampled."""

    per_study: int
    """K, reports of each study."""
    max_tokens: int
    """Longest report."""
    seed: int
    """Decides the draws."""
    prompts_per_pass: int = 64
    """Studies that are sampled together."""


def sample_reports(
    model: Any,
    encoder: PromptEncoder,
    studies: Sequence[Study],
    drawing: Drawing,
    *,
    with_entropy: bool = False,
) -> Samples:
    """Sample reports at temperature 1.

    Args:
        model: The policy, unwrapped, in evaluation mode.
        encoder: Of the studies' set.
        studies: N studies.
        drawing: How many and how.
        with_entropy: Whether the entropy before each token is computed, too.

    Returns:
        The reports.
    """
    tokenizer = encoder.processor.tokenizer
    settings = generation_tokens(model, tokenizer).sampling(
        max_tokens=drawing.max_tokens, temperature=1.0
    )
    texts: list[list[str]] = []
    entropies = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(studies), drawing.prompts_per_pass):
        batch = list(studies[start : start + drawing.prompts_per_pass])
        prompts = encoder.encode_all(batch)
        draws = rollout_draws(
            drawing.seed,
            0,
            [study.study_id for study in batch],
            rows=drawing.per_study,
            count=drawing.max_tokens,
        )
        responses = sample_responses(model, prompts, draws, settings)
        texts += [
            [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]
            for rows in responses
        ]
        if with_entropy:
            entropies += _entropies(model, prompts, responses)
    return Samples(texts_NK=texts, entropies=np.concatenate(entropies))


@torch.no_grad()
def _entropies(
    model: Any, prompts: Sequence[Any], responses: Sequence[Sequence[Sequence[int]]]
) -> list[NDArray[np.float32]]:
    add_group_pass(model, temperature=1.0)
    lengths = [packed_length(prompt, rows) for prompt, rows in zip(prompts, responses, strict=True)]
    found = []
    for numbers in plan_passes(lengths, _TOKENS_PER_PASS):
        packed = pack_groups(model, [prompts[k] for k in numbers], [responses[k] for k in numbers])
        _, entropies_BC = packed_log_probs(model, packed)
        found.append(entropies_BC[packed.is_response_BC].numpy())
    return found


def labels_of(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return (N, 14) uint8, 1 where a report calls a finding present or possible."""
    return read_labels(load_labeler(_LABELER), texts)


@dataclass(frozen=True, slots=True)
class Counts:
    """How often something was said of how many samples."""

    said: int
    samples: int

    @property
    def share(self) -> float:
        """The estimate; NaN without samples."""
        return self.said / self.samples if self.samples else float("nan")


def saying_counts(
    texts_NK: Sequence[Sequence[str]], references_NF: NDArray[np.uint8]
) -> tuple[list[Counts], list[Counts]]:
    """Count how often each finding is said where it is present and where it is absent.

    Args:
        texts_NK: K reports of each of N studies.
        references_NF: (N, 14) uint8 labels of the references.

    Returns:
        For each of the 14 findings the counts over studies with it, and over those without.
    """
    k = len(texts_NK[0])
    said_NKF = labels_of([text for row in texts_NK for text in row]).reshape(len(texts_NK), k, -1)
    said_NF = said_NKF.sum(axis=1, dtype=np.int64)
    is_present_NF = references_NF.astype(bool)

    def counts(is_counted_NF: NDArray[np.bool_]) -> list[Counts]:
        said_F = (said_NF * is_counted_NF).sum(axis=0)
        studies_F = is_counted_NF.sum(axis=0)
        return [Counts(int(a), int(b) * k) for a, b in zip(said_F, studies_F, strict=True)]

    return counts(is_present_NF), counts(~is_present_NF)
