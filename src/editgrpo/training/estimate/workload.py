"""What one GPU does of a training step: how many prompts, how long, and in which passes."""

import math
from dataclasses import dataclass, replace

from editgrpo.config import AttentionKernel, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.estimate.flops import Rows
from editgrpo.training.estimate.shapes import ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Studies:
    """What a recipe does not say of its studies; the defaults are MIMIC-CXR's in the paper."""

    images: float = 4.2
    """Of a study on average; paper: 4.17, rounded up."""
    pixels: int = 401_408
    """Of an image: the most that a prepared set has unless told otherwise, and the paper's most."""
    text_tokens: int = 150
    """Of a prompt beside its images."""
    report_tokens: int = 125
    """Of a report on average."""

    @property
    def longest_report(self) -> int:
        """Tokens of a step's longest report: as 100 to 150 tokens are for 125 on average."""
        return round(1.2 * self.report_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One GPU's part of a step. Prompts are taken to be equally long."""

    prompts: int
    group: int
    """Rows of a group that are trained on."""
    sampled: int
    """Of a group; the others are edited versions of these."""
    images: float
    """Of a prompt."""
    patches: int
    """Of an image."""
    prompt: int
    """Tokens, images included."""
    answer: int
    """Tokens of a response on average."""
    longest: int
    """Tokens of the step's longest response."""
    most: int
    """Tokens that a response may have."""
    tokens_per_pass: int
    parts: int = 1
    """In which the prompts are sampled one after another."""
    is_packed: bool = True
    """One copy of the prompt for its whole group."""
    masks_prompts: bool = False
    """Whether attention multiplies all pairs of a prompt's tokens, since a mask goes with it."""
    is_dense: bool = False
    """Whether attention multiplies all queries and keys of a pass and masks out what is not
    seen."""

    @property
    def at_most(self) -> "Workload":
        """The same with all responses as long as they may be."""
        return replace(self, answer=self.most, longest=self.most)

    @property
    def group_tokens(self) -> float:
        """Columns of a group, over all of its rows."""
        return group_rows(self).tokens

    @property
    def pass_tokens(self) -> float:
        """Columns of the largest pass; on the plain path of the rows that are scored together."""
        if not self.is_packed:
            return self.chunk * (self.prompt + self.answer)
        step = self.prompts * self.group_tokens
        return min(step, max(self.tokens_per_pass, self.group_tokens))

    @property
    def chunk(self) -> int:
        """Rows that the plain path scores together."""
        return min(self.group, max(1, self.tokens_per_pass // (self.prompt + self.answer)))

    @property
    def passes(self) -> int:
        """Forward passes over a step, and backward passes."""
        if not self.is_packed:
            return self.prompts * math.ceil(self.group / self.chunk)
        return math.ceil(self.prompts / max(1, self.tokens_per_pass // self.group_tokens))


def workload_of(config: TrainConfig, shape: ModelShape, studies: Studies, gpus: int) -> Workload:
    """Return what one GPU does of a run's step.

    Args:
        config: The run.
        shape: Of its model.
        studies: What they are like.
        gpus: Over which the step's prompts are shared out.

    Returns:
        Its part.

    Raises:
        ConfigError: the prompts cannot be shared out evenly.
    """
    prompts, rest = divmod(config.prompts_per_step, gpus)
    if rest or not prompts:
        raise ConfigError(
            f"prompts_per_step is {config.prompts_per_step}; it must be a multiple of the number "
            f"of GPUs ({gpus}), as a group stays on one of them"
        )
    images = min(studies.images, config.data.max_images)
    tokens = shape.vision.image_tokens(studies.pixels)
    most = config.rollout.max_completion_tokens
    has_reference_row = config.objective.likelihood > 0
    return Workload(
        prompts=prompts,
        group=config.rollout.group_size + has_reference_row,
        sampled=config.sampled_per_group,
        images=images,
        patches=shape.vision.image_patches(studies.pixels),
        prompt=round(images * tokens + studies.text_tokens),
        answer=min(studies.report_tokens, most),
        longest=min(studies.longest_report, most),
        most=most,
        tokens_per_pass=config.tokens_per_pass,
        parts=config.rollout_parts,
        is_packed=shape.is_packed,
        masks_prompts=shape.masks_prompts,
        is_dense=config.model.group_attention is AttentionKernel.DENSE,
    )


def group_rows(work: Workload) -> Rows:
    """Return what a pass computes for a group.

    Args:
        work: The step.

    Returns:
        Of a packed group one row; on the plain path a row a response, in which attention multiplies
        every pair, since a mask goes with it.
    """
    if not work.is_packed:
        tokens = work.prompt + work.answer
        return Rows(tokens=tokens, pairs=tokens**2, scored=work.longest + 1).times(work.group)
    prefix, answers = work.prompt - 1, work.group * work.answer
    tokens = prefix + answers
    if work.is_dense:
        # A group's queries meet the keys of all groups of the row.
        pairs = tokens**2 * float(max(1, work.tokens_per_pass // tokens))
    else:
        # A response's block is masked above its diagonal only.
        pairs = prefix**2 / (1 if work.masks_prompts else 2) + answers * (prefix + work.answer)
    return Rows(tokens=tokens, pairs=pairs, scored=answers)
