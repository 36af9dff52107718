"""Parameters and floating-point operations of a Qwen2.5-VL, counted from its shape alone.

A multiplication and the addition behind it are two operations. Norms, rotary positions and
activations are left out: they are bound by memory, and `account_step.py` counts their bytes.
tests/test_account.py holds the counts to the real model.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TextShape:
    """The language model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    is_tied: bool
    """Whether the head is the embedding."""

    @property
    def layer_matrices(self) -> int:
        """Entries of one layer's matrices, biases and norms left out."""
        attention = 2 * self.heads + 2 * self.key_heads
        return self.hidden * (attention * self.head_width + 3 * self.intermediate)

    @property
    def matrices(self) -> int:
        """Entries that every token is multiplied with, the head left out."""
        return self.layers * self.layer_matrices

    @property
    def embedding(self) -> int:
        """Entries of the embedding, and of the head."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All, a tied head counted once."""
        biases = (self.heads + 2 * self.key_heads) * self.head_width
        norms = 2 * self.hidden
        embeddings = self.embedding * (1 if self.is_tied else 2)
        return self.matrices + self.layers * (biases + norms) + self.hidden + embeddings

    @property
    def key_value_width(self) -> int:
        """Numbers that a token leaves in the key/value store."""
        return 2 * self.layers * self.key_heads * self.head_width


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionShape:
    """The vision tower and its merger."""

    layers: int
    full_layers: int
    """Layers in which all patches of an image see each other; in the others windows do."""
    hidden: int
    intermediate: int
    out: int
    """Width of an image token."""
    patch: int
    """Pixels along a patch."""
    frames: int
    """Frames that a patch takes in; an image stands for all of them."""
    merge: int
    """Patches along an image token."""
    window: int
    """Pixels along a window."""

    @property
    def layer_matrices(self) -> int:
        """Entries of one layer's matrices, biases and norms left out."""
        return self.hidden * (4 * self.hidden + 3 * self.intermediate)

    @property
    def patch_matrix(self) -> int:
        """Entries of the embedding of patches."""
        return 3 * self.frames * self.patch**2 * self.hidden

    @property
    def merger_matrices(self) -> int:
        """Entries that every image token is multiplied with behind the layers."""
        wide = self.hidden * self.merge**2
        return wide * (wide + self.out)

    @property
    def window_patches(self) -> int:
        """Patches in a whole window."""
        return (self.window // self.patch) ** 2

    @property
    def parameters(self) -> int:
        """All of them."""
        biases = 5 * self.hidden + 2 * self.intermediate  # queries, keys, values, two outputs
        norms = 2 * self.hidden
        merger = self.merger_matrices + self.hidden * self.merge**2 + self.out + self.hidden
        return self.layers * (self.layer_matrices + biases + norms) + self.patch_matrix + merger


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Both."""

    text: TextShape
    vision: VisionShape

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.text.parameters + self.vision.parameters


# The published config.json of Qwen/Qwen2.5-VL-3B-Instruct.
QWEN2_5_VL_3B = ModelShape(
    text=TextShape(
        hidden=2048,
        intermediate=11_008,
        layers=36,
        heads=16,
        key_heads=2,
        head_width=128,
        vocabulary=151_936,
        is_tied=True,
    ),
    vision=VisionShape(
        layers=32,
        full_layers=4,  # 7, 15, 23 and 31
        hidden=1280,
        intermediate=3420,
        out=2048,
        patch=14,
        frames=2,
        merge=2,
        window=112,
    ),
)


def shape_of(config: Any) -> ModelShape:
    """Read the shape of a model from its configuration.

    Args:
        config: A `Qwen2_5_VLConfig` of transformers.

    Returns:
        The shape.
    """
    text, vision = config.text_config, config.vision_config
    return ModelShape(
        text=TextShape(
            hidden=text.hidden_size,
            intermediate=text.intermediate_size,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            key_heads=text.num_key_value_heads,
            head_width=text.hidden_size // text.num_attention_heads,
            vocabulary=text.vocab_size,
            is_tied=bool(config.tie_word_embeddings),
        ),
        vision=VisionShape(
            layers=vision.depth,
            full_layers=len(vision.fullatt_block_indexes),
            hidden=vision.hidden_size,
            intermediate=vision.intermediate_size,
            out=vision.out_hidden_size,
            patch=vision.patch_size,
            frames=vision.temporal_patch_size,
            merge=vision.spatial_merge_size,
            window=vision.window_size,
        ),
    )


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
    attention = 4 * text.heads * text.head_width * text.layers * rows.pairs
    last = text.layers * text.hidden * text.intermediate
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
    pairs = (vision.layers - vision.full_layers) * windowed + vision.full_layers * full
    last = vision.hidden * vision.intermediate
    in_layers = 2 * vision.layers * work.of_layers(vision.layer_matrices, last) * patches
    attention = 4 * vision.hidden * pairs * (work.attention + work.recomputed)
    merger = 2 * vision.merger_matrices * (patches // vision.merge**2)
    embedding = 2 * vision.patch_matrix * patches
    is_trained = work.head > 1
    around = 3 * merger + 2 * embedding if is_trained else merger + embedding
    return in_layers + attention + around
