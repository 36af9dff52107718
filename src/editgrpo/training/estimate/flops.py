"""Floating-point operations of a pass, counted from a model's shape alone.

A multiplication and the addition behind it are two operations. Norms, rotary positions and
activations are left out: they are bound by memory, not by arithmetic.
"""

from dataclasses import dataclass

from editgrpo.training.estimate.shapes import TextShape, VisionShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What one pass of the language model computes, over all of its rows."""

    tokens: float
    """Columns."""
    pairs: float
    """Queries times keys that attention computes in one head of one layer."""
    scored: float
    """Columns for which there are logits."""

    def times(self, factor: float) -> "Rows":
        """Return as many such rows."""
        return Rows(
            tokens=self.tokens * factor, pairs=self.pairs * factor, scored=self.scored * factor
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How often a pass computes its parts, measured in forward passes."""

    matrices: float
    attention: float
    head: float
    recomputed: float = 0
    """Runs of the layers a second time, for the backward pass. Each ends before the last product of
    the layer, whose result no gradient needs."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            matrices=self.matrices + other.matrices,
            attention=self.attention + other.attention,
            head=self.head + other.head,
            recomputed=self.recomputed + other.recomputed,
        )

    def of_layers(self, matrices: float, last: float) -> float:
        """Return the entries that a token is multiplied with, of so many once and last ones."""
        return matrices * self.matrices + (matrices - last) * self.recomputed


FORWARD = Work(matrices=1, attention=1, head=1)
# The gradients of inputs and of weights are a product each. Fused attention computes its scores
# again and then four products where the forward pass had two. The head in chunks computes its
# logits again, before two products.
BACKWARD = Work(matrices=2, attention=2.5, head=3)
# Frozen weights, as behind adapters, have gradients of their inputs alone.
BACKWARD_FROZEN = Work(matrices=1, attention=2.5, head=2)
# Gradient checkpointing runs the layers, not the head, a second time.
RECOMPUTE = Work(matrices=0, attention=0, head=0, recomputed=1)


def text_flops(text: TextShape, rows: Rows, work: Work) -> float:
    """Count the operations of the language model and its head.

    Args:
        text: The model.
        rows: What it computes.
        work: How often.

    Returns:
        Operations.
    """
    attention = 4 * text.query_width * text.layers * rows.pairs
    # A norm behind the last product of a layer would need its result.
    last = text.layers * text.hidden * text.intermediate if text.norms == 2 else 0
    return (
        2 * work.of_layers(text.matrices, last) * rows.tokens
        + attention * (work.attention + work.recomputed)
        + 2 * text.embedding * rows.scored * work.head
    )


def image_pairs(vision: VisionShape, patches: int) -> tuple[int, int]:
    """Count queries times keys of one image.

    Args:
        vision: The tower.
        patches: Of the image; the sides are taken to be multiples of a window's.

    Returns:
        Those of a layer with windows, and those of a layer without.
    """
    return patches * min(patches, vision.window_patches), patches**2


def vision_flops(vision: VisionShape, patches: int, work: Work = FORWARD) -> float:
    """Count the operations of encoding one image.

    Args:
        vision: The tower.
        patches: Of the image.
        work: How often its layers are computed. What stands before and behind them is computed
            once, and with a backward pass the merger three times and the embedding of patches
            twice: patches need no gradient.

    Returns:
        Operations.
    """
    windowed, full = image_pairs(vision, patches)
    pairs = vision.window_layers * windowed + (vision.layers - vision.window_layers) * full
    last = vision.hidden * vision.intermediate
    in_layers = 2 * vision.layers * work.of_layers(vision.layer_matrices, last) * patches
    attention = 4 * vision.hidden * pairs * (work.attention + work.recomputed)
    merger = 2 * vision.merger_matrices * (patches // vision.merge**2)
    embedding = 2 * vision.patch_matrix * patches
    is_trained = work.head > 1
    around = 3 * merger + 2 * embedding if is_trained else merger + embedding
    return in_layers + attention + around
