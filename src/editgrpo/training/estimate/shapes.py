"""Shapes of vision-language models, and the parameters that follow from them."""

from dataclasses import dataclass


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
    has_biases: bool = False
    """Whether queries, keys and values have biases."""
    has_head_norms: bool = False
    """Whether queries and keys are normed head by head."""
    norms: int = 2
    """Of a layer, beside those of heads."""
    window: int = 0
    """Tokens that a token sees in a layer with a sliding window; 0 without such layers."""
    window_layers: int = 0

    @property
    def query_width(self) -> int:
        """Numbers of all queries of a token."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Numbers of all keys of a token, and of its values."""
        return self.key_heads * self.head_width

    @property
    def layer_matrices(self) -> int:
        """Entries of one layer's matrices, biases and norms left out."""
        attention = 2 * self.query_width + 2 * self.key_width
        return self.hidden * (attention + 3 * self.intermediate)

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
        biases = self.query_width + 2 * self.key_width if self.has_biases else 0
        norms = self.norms * self.hidden + (2 * self.head_width if self.has_head_norms else 0)
        embeddings = self.embedding * (1 if self.is_tied else 2)
        return self.matrices + self.layers * (biases + norms) + self.hidden + embeddings

    def stored_tokens(self, tokens: float) -> float:
        """Return the tokens whose keys and values are kept, of so many and over all layers.

        Args:
            tokens: That have been read.

        Returns:
            Tokens times layers, where a layer with a window keeps no more than its window.
        """
        seen = min(tokens, self.window)
        return (self.layers - self.window_layers) * tokens + self.window_layers * seen


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionShape:
    """The vision tower, and what takes its output to the language model."""

    layers: int
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
    window: int = 0
    """Pixels along a window; 0 without windows."""

    window_layers: int = 0
    """Layers in which windows see themselves alone; in the others all patches of an image do."""
    is_gated: bool = False
    """Whether layers have three matrices between attention and attention, not two."""
    has_mean_norms: bool = True
    """Whether norms have a bias beside their weight (LayerNorm, not RMSNorm)."""
    has_patch_bias: bool = False
    positions: int = 0
    """Places that have a vector of their own; 0 where positions are rotary alone."""
    levels: int = 1
    """Depths at which the language model reads the tower (DeepStack), its end included."""
    is_pooled: bool = False
    """Whether image tokens are means of patches behind one matrix, outside of what transformers
    calls the encoder (Gemma 3), not a network over the joined patches."""

    @property
    def layer_matrices(self) -> int:
        """Entries of one layer's matrices, biases and norms left out."""
        return self.hidden * (4 * self.hidden + (3 if self.is_gated else 2) * self.intermediate)

    @property
    def patch_matrix(self) -> int:
        """Entries of the embedding of patches."""
        return 3 * self.frames * self.patch**2 * self.hidden

    @property
    def merger_matrices(self) -> int:
        """Entries that every image token is multiplied with after the layers, at all levels."""
        if self.is_pooled:
            return self.hidden * self.out
        wide = self.hidden * self.merge**2
        return self.levels * wide * (wide + self.out)

    @property
    def window_patches(self) -> int:
        """Patches in a whole window."""
        return (self.window // self.patch) ** 2

    @property
    def parameters(self) -> int:
        """All of them."""
        mlp_biases = (2 if self.is_gated else 1) * self.intermediate + self.hidden
        layer = self.layer_matrices + 4 * self.hidden + mlp_biases + 2 * self._norm(self.hidden)
        patches = self.patch_matrix + (self.hidden if self.has_patch_bias else 0)
        pooled = self.merger_matrices + self.hidden + self._norm(self.hidden)
        behind = pooled if self.is_pooled else self._mergers
        return self.layers * layer + patches + self.positions * self.hidden + behind

    @property
    def _mergers(self) -> int:
        """Parameters of the networks after the layers: the last norms its patches, the others
        what they have joined."""
        wide = self.hidden * self.merge**2
        norms = self._norm(self.hidden) + (self.levels - 1) * self._norm(wide)
        return self.merger_matrices + self.levels * (wide + self.out) + norms

    def _norm(self, width: int) -> int:
        return width * (2 if self.has_mean_norms else 1)

    def image_patches(self, pixels: int) -> int:
        """Return the patches of an image.

        Args:
            pixels: Of the image as prepared.

        Returns:
            As many as whole image tokens have; always the same where images are resized to one
            size.
        """
        if self.is_pooled:
            return self.positions
        return pixels // (self.patch * self.merge) ** 2 * self.merge**2

    def image_tokens(self, pixels: int) -> int:
        """Return the tokens of an image of so many pixels."""
        return self.image_patches(pixels) // self.merge**2


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Both."""

    text: TextShape
    vision: VisionShape
    is_packed: bool = True
    """Whether its groups can be packed (training/policy/families/)."""
    masks_prompts: bool = False
    """Whether the tokens of an image see each other both ways, so that a prompt is computed with a
    mask."""

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.text.parameters + self.vision.parameters
