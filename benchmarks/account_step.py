"""What one training step computes and moves, phase by phase, for us and for others.

Everything is counted from shapes; nothing is measured. Times follow from the counts and from the
assumptions named below, each with its origin. Prompts are taken to be equally long and rows to be
unpadded, which favours the others: they pad every row to the longest of its batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from benchmarks.account_model import (
    BACKWARD,
    FORWARD,
    RECOMPUTE,
    ModelShape,
    Rows,
    TextShape,
    VisionShape,
    Work,
    text_flops,
    vision_flops,
)

BF16, FLOAT32, FLOAT64 = 2, 4, 8

# --- assumptions that turn counts into seconds ---------------------------------------------------

MFU = 0.45  # of a training pass in eager PyTorch; `derived_mfu` finds it from the layers' traffic
MFU_BAND = (0.40, 0.50)
BANDWIDTH_SHARE = 0.8  # of the data sheet's, reached by long copies
GEMM_SHARE = 0.75  # of the data sheet's, reached by large bfloat16 products
# A kernel in eager mode: dispatch, Python around it, launch. Common on fast hosts, not measured.
KERNEL_S = 10e-6
# Operations of a layer that are no views, in bfloat16 (tests/test_account.py counts them): of the
# language model when it decodes, and of the vision tower beside attention.
TEXT_KERNELS, VISION_KERNELS = 46, 41
# A call of SDPA for a window, with slices of queries, keys and values and a concatenation around it
# (transformers' Qwen2_5_VLVisionAttention, all implementations but flash attention), or for a batch
# of windows (training/policy/window_attention.py).
WINDOW_CALL_S = 20e-6
# Lengths of windows in an image whose sides are no multiples of a window's: whole, cut on one side,
# cut on the other, and the corner.
WINDOW_LENGTHS = 4
# Queries, keys and values put in the order of the lengths, results joined and put back.
WINDOW_COPIES = 5
# Decoding, resizing and cutting an image into patches on one core; an order of magnitude.
HOST_IMAGE_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """What its data sheet says."""

    name: str
    flops: float
    """Dense bfloat16 operations a second."""
    bandwidth: float
    """Bytes a second to its memory."""


H100 = Gpu(name="H100 SXM", flops=989e12, bandwidth=3.35e12)
A100 = Gpu(name="A100 SXM 80 GB", flops=312e12, bandwidth=2.04e12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One step; the defaults are the paper's."""

    prompts: int = 32
    group: int = 10
    sampled: int = 5
    """Of a group; the others are edited versions of these."""
    images: float = 4.2  # paper: 4.17 a study, rounded up
    patches: int = 2048  # 512 image tokens: 401,408 pixels, the paper's largest
    prompt: int = 2300  # 4.2 x 512 and some 150 of text
    answer: int = 125  # reports of 100 to 150 tokens
    longest: int = 150


PAPER = Workload()
PAPER_GPU_SECONDS = 4 * 432  # four A100, 432 s a step


class WindowCalls(Enum):
    """How a layer of the vision tower with windows calls attention."""

    EACH = auto()
    """Once for each window."""
    LENGTH = auto()
    """Once for all windows of one length."""
    NONE = auto()
    """Once for all windows of a pass, which the kernel tells apart (flash attention)."""


class Pairs(Enum):
    """Which queries and keys attention multiplies."""

    DENSE = auto()
    """All of a row; what is forbidden is masked out."""
    SEEN = auto()
    """Those that may see each other: a causal kernel without a mask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """How a trainer computes a step."""

    name: str
    samples: int
    """Responses that are sampled for each prompt."""
    is_packed: bool
    """One copy of the prompt for its whole group, in reference pass and update."""
    pairs: Pairs
    scores_all: bool
    """Logits for prompts too."""
    shares_prefill: bool
    """One prefill a prompt, not one a sample."""
    reads_store_once: bool
    """Attention of a decoding step reads a prompt's keys once for all of its samples."""
    copies_store: bool
    """Each decoding step writes the whole key/value store anew (concatenation)."""
    drops_finished: bool
    """Rows that have ended are not computed any more."""
    is_graphed: bool
    """A decoding step is one launch."""
    has_old_pass: bool
    """The policy scores the responses once before the update."""
    encodes_once: bool
    """Image features are kept for all passes of the step."""
    window_calls: WindowCalls
    images_per_call: float
    """Images that the vision tower encodes together."""
    host_passes: int
    """How often an image of a row is prepared on the host."""
    tokens_per_pass: int = 16_384


# transformers for sampling, as in tests and small runs. Read in trl/trainer/grpo_trainer.py 1.16:
# every row of a generation batch holds the whole prompt and its own copy of the images, in
# sampling, reference pass and update; images go through the processor twice; logits exist for
# completions alone (on CUDA); the padding mask makes SDPA compute every pair; DynamicCache joins.
TRL = System(
    name="TRL",
    samples=PAPER.group,
    is_packed=False,
    pairs=Pairs.DENSE,
    scores_all=False,
    shares_prefill=False,
    reads_store_once=False,
    copies_store=True,
    drops_finished=False,
    is_graphed=False,
    has_old_pass=False,
    encodes_once=False,
    window_calls=WindowCalls.EACH,
    images_per_call=25,  # of the six rows that a pass of 16,384 tokens has room for
    host_passes=2,
)
# vLLM for sampling: prefix caching and graphs are its defaults; the correction of importance
# weights, on by default with it, adds a pass over all rows.
TRL_VLLM = replace(
    TRL,
    name="TRL, vLLM",
    shares_prefill=True,
    copies_store=False,
    drops_finished=True,
    is_graphed=True,
    has_old_pass=True,
)
# Padding removed and flash attention; without its fused kernels, logits for every token; old
# log-probabilities computed again; pixel values of every row joined in every pass.
VERL = replace(
    TRL_VLLM,
    name="verl",
    pairs=Pairs.SEEN,
    scores_all=True,
    window_calls=WindowCalls.NONE,
    host_passes=1,
)
OURS = System(
    name="ours",
    samples=PAPER.sampled,
    is_packed=True,
    pairs=Pairs.SEEN,
    scores_all=False,
    shares_prefill=True,
    reads_store_once=True,
    copies_store=False,
    drops_finished=False,  # not before half of the rows have ended
    is_graphed=False,
    has_old_pass=False,
    encodes_once=True,
    window_calls=WindowCalls.LENGTH,
    images_per_call=1,  # training/policy/features.py: an image's features depend on no other's
    host_passes=1,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One phase of a step."""

    name: str
    flops: float = 0
    bytes: float = 0
    """That must cross to and from GPU memory: weights, gradients, states, keys and values."""
    host_s: float = 0
    """What launches take; kernels run beside it."""

    def floor_s(self, gpu: Gpu) -> float:
        """Return the time at the data sheet's speeds."""
        return max(self.flops / gpu.flops, self.bytes / gpu.bandwidth)

    def seconds(self, gpu: Gpu, mfu: float = MFU) -> float:
        """Return the time to expect."""
        moved = self.bytes / (gpu.bandwidth * BANDWIDTH_SHARE)
        return max(self.flops / (gpu.flops * mfu), moved, self.host_s)


# --- rows of a pass ------------------------------------------------------------------------------


def separate_rows(work: Workload, system: System) -> Rows:
    """Return what a pass computes for a group of which every response has its own prompt."""
    tokens = work.prompt + work.answer
    pairs = tokens**2 if system.pairs is Pairs.DENSE else tokens**2 / 2
    scored = tokens if system.scores_all else work.answer
    return Rows(tokens=tokens, pairs=pairs, scored=scored).times(work.group)


def packed_rows(work: Workload, system: System) -> Rows:
    """Return what a pass computes for a packed group."""
    prefix, answers = work.prompt - 1, work.group * work.answer
    tokens = prefix + answers
    if system.pairs is Pairs.DENSE:
        # A group's queries meet the keys of all groups of the row.
        pairs = tokens**2 * float(max(1, system.tokens_per_pass // tokens))
    else:
        # A response's block is masked above its diagonal only.
        pairs = prefix**2 / 2 + answers * (prefix + work.answer)
    return Rows(tokens=tokens, pairs=pairs, scored=tokens if system.scores_all else answers)


def group_rows(work: Workload, system: System) -> Rows:
    """Return what a pass computes for a group."""
    return packed_rows(work, system) if system.is_packed else separate_rows(work, system)


def passes(work: Workload, system: System) -> int:
    """Count the passes of a step whose rows or groups keep to the budget of tokens."""
    tokens = group_rows(work, system).tokens
    unit = tokens if system.is_packed else tokens / work.group
    units = work.prompts * (1 if system.is_packed else work.group)
    return math.ceil(units / max(1, system.tokens_per_pass // unit))


def encodings(work: Workload, system: System) -> float:
    """Count the images that the vision tower encodes in a step, its weights frozen."""
    if system.encodes_once:
        return work.prompts * work.images
    in_rollout = 1 if system.shares_prefill else system.samples
    in_pass = (1 if system.is_packed else work.group) * (3 if system.has_old_pass else 2)
    return work.prompts * work.images * (in_rollout + in_pass)


# --- phases --------------------------------------------------------------------------------------


def step_phases(model: ModelShape, work: Workload, system: System) -> list[Phase]:
    """Return the phases of a step, the edit and its scores left out.

    Args:
        model: The policy, all but its vision tower trained in full.
        work: The step.
        system: How it is computed.

    Returns:
        The phases, in order.
    """
    return [
        _vision(model, work, system),
        _prefill(model.text, work, system),
        _decode(model.text, work, system),
        *_passes(model.text, work, system),
        _weights(model.text, work, system),
        # Parameter, gradient and two moments read; parameter and moments written; the gradient read
        # for its norm, and read and written to be clipped.
        Phase(name="optimizer", bytes=(4 + 3 + 3) * FLOAT32 * model.text.parameters),
    ]


def _vision(model: ModelShape, work: Workload, system: System) -> Phase:
    images, tower = encodings(work, system), model.vision
    shared_s = tower.layers * VISION_KERNELS * KERNEL_S  # by the images of a call
    each_s = 0.0
    if system.window_calls is WindowCalls.EACH:
        each_s = attention_calls(tower, work, system) * WINDOW_CALL_S
    elif system.window_calls is WindowCalls.LENGTH:
        copies = (tower.layers - tower.full_layers) * WINDOW_COPIES
        shared_s += attention_calls(tower, work, system) * WINDOW_CALL_S + copies * KERNEL_S
    return Phase(
        name="vision encoding",
        flops=images * vision_flops(tower, work.patches),
        host_s=images * (each_s + shared_s / system.images_per_call),
    )


def attention_calls(tower: VisionShape, work: Workload, system: System) -> float:
    """Count the calls of attention for one image, all layers together."""
    in_layer = {
        WindowCalls.EACH: work.patches / tower.window_patches,
        WindowCalls.LENGTH: WINDOW_LENGTHS,
        WindowCalls.NONE: 1,
    }[system.window_calls]
    return (tower.layers - tower.full_layers) * in_layer + tower.full_layers


def _prefill(text: TextShape, work: Workload, system: System) -> Phase:
    rows = work.prompts * (1 if system.shares_prefill else system.samples)
    pairs = work.prompt**2 / (1 if system.pairs is Pairs.DENSE else 2)
    computed = Rows(tokens=work.prompt, pairs=pairs, scored=1).times(rows)
    return Phase(name="prefill", flops=text_flops(text, computed, FORWARD))


def _decode(text: TextShape, work: Workload, system: System) -> Phase:
    rows, steps = work.prompts * system.samples, work.longest
    row_steps = rows * (work.answer if system.drops_finished else steps)
    seen = work.prompt + work.answer / 2
    computed = Rows(tokens=1, pairs=seen, scored=1).times(row_steps)
    stored = BF16 * text.key_value_width
    if system.reads_store_once:
        read = work.prompts * steps * work.prompt + row_steps * work.answer / 2
    else:
        read = row_steps * seen * (3 if system.copies_store else 1)
    weights = steps * BF16 * (text.matrices + text.embedding)
    # Probabilities and their cumulative sum in float64: written, divided, summed, searched.
    sampling = 7 * FLOAT64 * text.vocabulary * row_steps
    launches = steps * (1 if system.is_graphed else text.layers * TEXT_KERNELS)
    return Phase(
        name="decode",
        flops=text_flops(text, computed, FORWARD),
        bytes=weights + stored * read + sampling,
        host_s=launches * KERNEL_S,
    )


def _passes(text: TextShape, work: Workload, system: System) -> list[Phase]:
    """Return old log-probabilities, reference and update, and their head as a phase of its own."""
    rows = group_rows(work, system).times(work.prompts)
    forward = replace(FORWARD, head=0)
    backward = replace(BACKWARD, head=0) + RECOMPUTE
    of_head = Work(matrices=0, attention=0, head=1)
    heads = FORWARD.head + BACKWARD.head + FORWARD.head * (2 if system.has_old_pass else 1)
    old = [Phase(name="old log-probs", flops=text_flops(text, rows, forward))]
    return [
        *(old if system.has_old_pass else []),
        Phase(name="reference", flops=text_flops(text, rows, forward)),
        Phase(name="update, forward", flops=text_flops(text, rows, forward)),
        Phase(name="update, recomputed and backward", flops=text_flops(text, rows, backward)),
        Phase(name="head", flops=heads * text_flops(text, rows, of_head)),
    ]


def _weights(text: TextShape, work: Workload, system: System) -> Phase:
    """Return what each pass moves however few tokens it has, with float32 parameters."""
    cast = FLOAT32 + BF16  # read, and written for autocast
    forward_only = BF16
    # Cast for the forward pass and for the recomputed one; read in both and in the backward pass;
    # its gradients written, cast and added.
    update = 2 * cast + 3 * BF16 + BF16 + cast + 3 * FLOAT32
    moved = update + forward_only + (cast + BF16 if system.has_old_pass else 0)
    return Phase(
        name="weights and gradients of each pass",
        bytes=passes(work, system) * moved * text.parameters,
    )


def total_s(phases: Sequence[Phase], gpu: Gpu, mfu: float = MFU) -> float:
    """Return the time to expect of all phases one after another."""
    return sum(phase.seconds(gpu, mfu) for phase in phases)


def host_images_s(work: Workload, system: System) -> float:
    """Return seconds of one core to prepare the step's images, which other cores can share."""
    rows = 1 if system.encodes_once else work.group
    return work.prompts * rows * work.images * system.host_passes * HOST_IMAGE_S


# --- overlap -------------------------------------------------------------------------------------


def chunked_decode_s(model: ModelShape, work: Workload, system: System, *, chunks: int) -> float:
    """Return the decoding time of a step that is sampled in chunks, to score one beside the next.

    Args:
        model: The policy.
        work: The step.
        system: How it is computed.
        chunks: How many; they divide the prompts.

    Returns:
        Seconds on an H100.
    """
    chunk = replace(work, prompts=work.prompts // chunks)
    return chunks * _decode(model.text, chunk, system).seconds(H100)


# --- where the assumed MFU comes from ------------------------------------------------------------


def layer_bytes(text: TextShape, *, is_fused: bool = False) -> float:
    """Return what a layer's forward pass moves a token, beside its products' weights.

    Args:
        text: The model.
        is_fused: Whether neighbouring element-wise operations are one kernel, as after compilation;
            else every operation reads its inputs from memory and writes its result.

    Returns:
        Bytes a token.
    """
    heads = (text.heads + 2 * text.key_heads) * text.head_width
    rotated = (text.heads + text.key_heads) * text.head_width
    # A norm in float32: cast 6, square 8, mean 4, scale 8, cast 6, weight 4 bytes a number; fused
    # with the sum before it, two inputs, the sum and the result.
    norms_and_sums = 2 * (4 * BF16 if is_fused else 36 + 3 * BF16) * text.hidden
    # Two products and a sum, a rotated half: each read and written.
    rotary = (2 if is_fused else 9) * BF16 * rotated
    projections = BF16 * (3 * text.hidden + heads + 2 * text.hidden)
    attention = BF16 * (heads + text.hidden)
    # Gate and up read the input and write; activation, and its product with up; down.
    between = 3 if is_fused else 2 + 3
    mlp = BF16 * (2 * text.hidden + (2 + between + 1) * text.intermediate + text.hidden)
    return norms_and_sums + rotary + projections + attention + mlp


def derived_mfu(text: TextShape, gpu: Gpu, *, tokens: float, is_fused: bool = False) -> float:
    """Return the share of peak of a forward pass whose products and other traffic take turns.

    Args:
        text: The model.
        gpu: Where it runs.
        tokens: Columns of the pass, of one causal row.
        is_fused: As in `layer_bytes`.

    Returns:
        The share.
    """
    rows = Rows(tokens=tokens, pairs=tokens**2 / 2, scored=0)
    flops = text_flops(text, rows, FORWARD)
    moved = tokens * text.layers * layer_bytes(text, is_fused=is_fused)
    seconds = flops / (gpu.flops * GEMM_SHARE) + moved / (gpu.bandwidth * BANDWIDTH_SHARE)
    return flops / gpu.flops / seconds
