"""What a pass keeps for its backward pass, and what comes and goes while it runs, in bytes.

What autograd keeps of a layer is counted operation by operation, as the layers of transformers run
in eager PyTorch; tests/training/estimate/test_activations.py compares it with the tensors that
autograd really keeps.
"""

from dataclasses import dataclass

from editgrpo.training.estimate.shapes import TextShape, VisionShape
from editgrpo.training.estimate.states import BF16, FLOAT32, Precision
from editgrpo.training.estimate.workload import Workload

# Of the two norms of a layer, bytes a number of the hidden states. A norm keeps its input in
# float32, the normed numbers, and what the products behind it read: autocast makes a copy for each
# of three products, then for each of two.
_NORMS = {Precision.FLOAT32: 24, Precision.AUTOCAST: 26, Precision.BFLOAT16: 16}
_FURTHER_NORM = 8  # input and normed numbers, in float32
_HEAD_NORM = {Precision.FLOAT32: 8, Precision.AUTOCAST: 6, Precision.BFLOAT16: 6}


@dataclass(frozen=True, slots=True)
class PassSize:
    """Columns of a pass, as attention splits them."""

    tokens: float
    prompt: float
    """Of the tokens, those whose keys are repeated for every head."""
    repeated: float
    """Columns of keys that are laid out anew for responses: of each its prompt and itself."""


def largest_pass(work: Workload) -> PassSize:
    """Return the size of a step's largest pass.

    Args:
        work: The step, its responses as long as they are to be taken.

    Returns:
        The size.
    """
    if not work.is_packed:
        return PassSize(work.pass_tokens, work.pass_tokens, 0)
    groups = work.pass_tokens / work.group_tokens
    prefix = work.prompt - 1
    return PassSize(
        tokens=work.pass_tokens,
        prompt=groups * prefix,
        repeated=groups * work.group * (prefix + work.longest),
    )


def layer_bytes(text: TextShape, size: PassSize, precision: Precision) -> float:
    """Return what autograd keeps of one layer of the language model.

    Args:
        text: The model.
        size: Of the pass.
        precision: In what it computes.

    Returns:
        Bytes, the layer's input included and weights left out.
    """
    number = precision.compute
    norms, head_norm = _norm_bytes(text, precision)
    # Queries, results, and results in the order of the columns; of prompts keys and values of every
    # head; of responses queries once more, which with autocast are the first copy.
    answers = 0 if precision is Precision.AUTOCAST else size.tokens - size.prompt
    queries = 3 * size.tokens + 2 * size.prompt + answers
    head_norms = head_norm * (text.query_width + text.key_width)
    return (
        norms * text.hidden * size.tokens
        + number * text.query_width * queries
        + 2 * number * text.key_width * size.repeated
        + FLOAT32 * text.heads * size.tokens  # logarithms of sums of attention
        + (head_norms * size.tokens if text.has_head_norms else 0)
        + 4 * number * text.intermediate * size.tokens  # gate, activation, up, product
    )


def _norm_bytes(text: TextShape, precision: Precision) -> tuple[int, int]:
    """Return what is kept for norms, a number of the hidden states and a number of heads."""
    norms, head_norm = _NORMS[precision], _HEAD_NORM[precision]
    if text.norms == 2:
        return norms, head_norm
    # Gemma's norms scale in float32, so that is what they keep of normed numbers, too.
    norms += 2 * (FLOAT32 - precision.residual) + _FURTHER_NORM * (text.norms - 2)
    return norms, _HEAD_NORM[Precision.FLOAT32]


def kept_bytes(
    text: TextShape, size: PassSize, precision: Precision, *, is_checkpointed: bool
) -> float:
    """Return what a pass keeps of all layers of the language model.

    Args:
        text: The model.
        size: Of the pass.
        precision: In what it computes.
        is_checkpointed: Whether the backward pass computes layers again from their inputs.

    Returns:
        Bytes.
    """
    if is_checkpointed:
        return text.layers * precision.residual * text.hidden * size.tokens
    return text.layers * layer_bytes(text, size, precision)


def tower_bytes(
    vision: VisionShape, patches: float, precision: Precision, *, is_checkpointed: bool
) -> float:
    """Return what a pass keeps of a vision tower that is trained.

    Args:
        vision: The tower.
        patches: Of all images of the pass.
        precision: In what it computes.
        is_checkpointed: As in `kept_bytes`.

    Returns:
        Bytes; without checkpointing an upper bound, as LayerNorm keeps less than RMSNorm.
    """
    if is_checkpointed:
        return vision.layers * precision.residual * vision.hidden * patches
    number = precision.compute
    in_mlp = (4 if vision.is_gated else 2) * number * vision.intermediate
    # Queries, keys, values and results, and results in the order of the patches.
    each = (_NORMS[precision] + 5 * number) * vision.hidden + in_mlp
    return vision.layers * each * patches


def passing_bytes(
    text: TextShape,
    size: PassSize,
    precision: Precision,
    *,
    is_checkpointed: bool,
    is_head_trained: bool,
    tower: float = 0,
) -> float:
    """Return the most of what comes and goes in an update, besides what it keeps.

    Args:
        text: The model.
        size: Of the pass.
        precision: In what it computes.
        is_checkpointed: As in `kept_bytes`.
        is_head_trained: Whether the head has a gradient.
        tower: Weights of a vision tower that is trained.

    Returns:
        Bytes: of autocast's copies of weights, which live until the forward pass ends; of the
        gradient of the head before it is added up; and of one layer's gradients, with the layer
        computed again. They are never there at once.
    """
    copies = cast_bytes(text.matrices + text.embedding + tower, precision)
    head = 0.0
    if is_head_trained:
        # With autocast once as computed and once in float32.
        more = FLOAT32 if precision is Precision.AUTOCAST else 0
        head = text.embedding * float(precision.compute + more)
    gradients = size.tokens * float(
        3 * precision.compute * text.intermediate + 2 * precision.residual * text.hidden
    )
    again = layer_bytes(text, size, precision) if is_checkpointed else 0
    return max(copies, head, gradients + again)


def cast_bytes(weights: float, precision: Precision) -> float:
    """Return autocast's bfloat16 copies of so many weights, which it keeps for as long as it is
    on."""
    return BF16 * weights if precision is Precision.AUTOCAST else 0


def forward_bytes(text: TextShape, tokens: float, precision: Precision) -> float:
    """Return what comes and goes in a pass without gradients.

    Args:
        text: The model.
        tokens: Of the pass.
        precision: In what it computes.

    Returns:
        Bytes: gate, activation and product, and the hidden states of a norm in float32.
    """
    number = precision.compute
    return tokens * float(
        3 * number * text.intermediate + (2 * precision.residual + 2 * FLOAT32) * text.hidden
    )
