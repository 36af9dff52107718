"""What a run of reinforcement learning is made of, besides its configuration and the policy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.data.study import Study
from editgrpo.rewards.types import Reward
from editgrpo.training.policy.generation_tokens import GenerationTokens
from editgrpo.training.policy.model import Tokenizer
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.loss_budget import LossBudget
from editgrpo.training.step.prompt_stream import PromptStream
from editgrpo.training.step.scoring import ScoredGroup

OnStep = Callable[[Mapping[str, float], Mapping[str, float]], None]
OnGroups = Callable[[int, Sequence[ScoredGroup]], None]
OnRollouts = Callable[[int, Sequence[Mapping[str, Any]]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSetup:
    """Data, tokens, reward and run folder of a run, and who is told of its steps."""

    studies: tuple[Study, ...] | Any
    """Training studies, indexable."""
    encoder: PromptEncoder
    tokenizer: Tokenizer
    tokens: GenerationTokens
    groups: GroupBuilder
    reward: Reward
    run: Path
    """Run folder."""
    losses: LossBudget
    """Counts groups whose scoring failed."""
    prompts: PromptStream | None = None
    """Where studies are drawn from; None where the seed alone decides what a step gets."""
    on_step: OnStep | None = None
    """Called on the main process after each step with its metrics and seconds by phase."""
    on_groups: OnGroups | None = None
    """Called on every process with a step's number, counted from 1, and its own scored groups."""
    on_rollouts: OnRollouts | None = None
    """Called on the main process with a step's number and its lines of `rollouts.jsonl`."""
