"""What the account expects of the benchmarks on a CPU, before they are run.

Times on a CPU are taken to follow operations: the ratio of two sides is that of their counts.
"""

from dataclasses import replace

from benchmarks.account_model import (
    BACKWARD,
    FORWARD,
    ModelShape,
    TextShape,
    VisionShape,
    text_flops,
    vision_flops,
)
from benchmarks.account_step import OURS, TRL, System, Workload, group_rows, step_phases

# `SHAPE`, `PROMPT`, `RESPONSE`, `GROUP` and the grid of benchmarks/workload.py: three images of
# 12 x 13 tokens; a response has 60 tokens on average, and stock rows are padded to the longest.
CPU_MODEL = ModelShape(
    text=TextShape(
        hidden=256,
        intermediate=768,
        layers=12,
        heads=4,
        key_heads=2,
        head_width=64,
        vocabulary=1024,
        is_tied=True,
    ),
    vision=VisionShape(
        layers=2,
        full_layers=2,
        hidden=256,
        intermediate=768,
        out=256,
        patch=14,
        frames=2,
        merge=2,
        window=112,
    ),
)
IMAGE_SHARE = 0.88  # of a prompt's tokens


def image_patches(prompt: int) -> int:
    """Return the patches of one of three images that fill a prompt of so many tokens."""
    tokens = int(IMAGE_SHARE * prompt / 3)
    rows = int(tokens**0.5)
    return 4 * rows * (tokens // rows)


CPU_WORK = Workload(
    prompts=1, images=3, patches=image_patches(540), prompt=540, answer=60, longest=78
)
# TRL's head computes every column where there is no Triton.
TRL_ON_CPU = replace(TRL, scores_all=True)


def ideal_ratio(work: Workload) -> float:
    """Return how often separate rows compute a token that a packed row computes once."""
    separate = work.group * (work.prompt + work.answer)
    return separate / (work.prompt + work.group * work.answer)


def update_ratio(model: ModelShape, work: Workload, *, is_tower_trained: bool) -> float:
    """Return operations of stock TRL for each of ours: reference pass, forward and backward.

    Args:
        model: The policy; no gradient checkpointing.
        work: One group.
        is_tower_trained: Whether the vision tower gets gradients; else our passes take the features
            that the rollout computed.

    Returns:
        The ratio of the counts.
    """
    stock = replace(work, answer=work.longest)  # padded
    theirs = _update_flops(model, stock, TRL_ON_CPU, is_tower_trained=is_tower_trained)
    return theirs / _update_flops(model, work, OURS, is_tower_trained=is_tower_trained)


def step_ratio(model: ModelShape, work: Workload, *, is_tower_trained: bool) -> float:
    """Return operations of stock TRL for each of ours in a whole step without edits and scores.

    Args:
        model: The policy.
        work: One group, all of it sampled.
        is_tower_trained: As in `update_ratio`.

    Returns:
        The ratio of the counts; what a decoding step costs besides is in neither.
    """
    stock, padded = replace(TRL_ON_CPU, samples=work.group), replace(work, answer=work.longest)
    theirs = _update_flops(model, padded, stock, is_tower_trained=is_tower_trained)
    theirs += _rollout_flops(model, work, stock)
    theirs += work.group * work.images * vision_flops(model.vision, work.patches)
    ours = replace(OURS, samples=work.group)
    mine = _update_flops(model, work, ours, is_tower_trained=is_tower_trained)
    mine += _rollout_flops(model, work, ours)
    mine += work.images * vision_flops(model.vision, work.patches)
    return theirs / mine


def _rollout_flops(model: ModelShape, work: Workload, system: System) -> float:
    phases = step_phases(model, work, system)
    return sum(phase.flops for phase in phases if phase.name in ("prefill", "decode"))


def _update_flops(
    model: ModelShape, work: Workload, system: System, *, is_tower_trained: bool
) -> float:
    images = work.images * (1 if system.is_packed else work.group)
    in_update = FORWARD + BACKWARD
    encoded = vision_flops(model.vision, work.patches)
    if is_tower_trained:
        towers = encoded + vision_flops(model.vision, work.patches, in_update)
    else:
        towers = 0 if system.encodes_once else 2 * encoded
    rows = group_rows(work, system)
    return text_flops(model.text, rows, FORWARD + in_update) + images * towers
