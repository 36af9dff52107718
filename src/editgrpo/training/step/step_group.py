"""A study on its way through a step: what the policy is shown of it, and what it answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate.utils import gather
from torch import Tensor

from editgrpo.config import TrainConfig
from editgrpo.data.study import Study
from editgrpo.training.packed.packing import (
    PackedGroups,
    pack_groups,
    packed_length,
    plan_passes,
)
from editgrpo.training.packed.plain import PlainGroups, plain_groups
from editgrpo.training.policy.features import FeatureStore
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.step.scoring import ScoredGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPrompt:
    """A study of a step with what the policy is shown of it.

    Attributes:
        study: The study.
        prompt: Its prompt; without patches where the features of its images are kept.
        features: (N, D) features of its images; None without images, or where none are kept.
    """

    study: Study
    prompt: EncodedPrompt
    features: Tensor | None

    def answered(self, scored: ScoredGroup, reference_ids: tuple[int, ...] = ()) -> "StepGroup":
        """Return the study with its scored responses."""
        return StepGroup(
            study=self.study,
            prompt=self.prompt,
            features=self.features,
            scored=scored,
            reference_ids=reference_ids,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepGroup(StudyPrompt):
    """A study of a step with its scored responses.

    Attributes:
        scored: Its group.
        reference_ids: The token ids of its reference report, whose likelihood is trained on; empty
            where it is not.
    """

    scored: ScoredGroup
    reference_ids: tuple[int, ...] = ()

    @property
    def row_ids(self) -> list[tuple[int, ...]]:
        """The token ids of its responses, and of its reference after them if that is trained on:
        the rows that a packed group has of it."""
        ids = [response.token_ids for response in self.scored.group.responses]
        return [*ids, self.reference_ids] if self.reference_ids else ids

    @property
    def columns(self) -> int:
        """How many columns it takes in a packed row."""
        return packed_length(self.prompt, self.row_ids)


def show(
    studies: Sequence[Study], encoder: PromptEncoder, store: FeatureStore | None
) -> list[StudyPrompt]:
    """Encode studies for a step, and their images where features are kept.

    Args:
        studies: The studies.
        encoder: Of their set.
        store: Keeps features; None while the vision tower is trained.

    Returns:
        The studies in order; with patches if nothing is kept, with features else.
    """
    if store is None:
        return [
            StudyPrompt(study=study, prompt=prompt, features=None)
            for study, prompt in zip(studies, encoder.encode_all(studies), strict=True)
        ]
    prompts = encoder.encode_all(studies, known=store)
    return [
        StudyPrompt(study=study, prompt=prompt.without_patches(), features=features)
        for study, prompt, features in zip(studies, prompts, store.of(prompts), strict=True)
    ]


def pack_step(
    model: Policy, groups: Sequence[StepGroup], config: TrainConfig, *, keeps_features: bool
) -> PackedGroups | PlainGroups:
    """Put groups together for one pass.

    Args:
        model: The policy, out of its wrappers.
        groups: The groups.
        config: The run.
        keeps_features: Whether the features of images are kept, and so given to the pass.

    Returns:
        The groups in one row, or on the plain path a row a response; features stay where they are,
        the rest is on the CPU.
    """
    prompts, rows = [one.prompt for one in groups], [one.row_ids for one in groups]
    if any(prompt.is_plain for prompt in prompts):
        return plain_groups(prompts, rows, budget=config.tokens_per_pass)
    return pack_groups(
        model,
        prompts,
        rows,
        features=[one.features for one in groups] if keeps_features else None,
        kernel=config.model.group_attention,
    )


def plan_update(
    groups: Sequence[StepGroup], budget: int, *, device: torch.device
) -> list[list[StepGroup]]:
    """Share the groups of a step out to the passes of its update.

    TRL's loss gathers one number a response in every pass, and a sharded model wants all processes
    in it: pass by pass they must hold equally many groups. So all plan alike, for the longest among
    the processes' longest groups, second longest, and so on; all call this together.

    Args:
        groups: This process's groups of the step, equally many in every process.
        budget: Most columns of a pass; a group that is longer has a pass of its own.
        device: Where tensors are gathered.

    Returns:
        The groups of each pass, in order.
    """
    columns = [group.columns for group in groups]
    order = sorted(range(len(groups)), key=lambda k: -columns[k])
    sorted_1P = torch.tensor([[columns[k] for k in order]], device=device)
    longest: list[int] = gather(sorted_1P).amax(dim=0).tolist()
    return [
        [groups[k] for k in sorted(order[place] for place in one)]
        for one in plan_passes(longest, budget)
    ]
