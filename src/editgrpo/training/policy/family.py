"""What the packed pass must know of a family of models: one class, and one file for each family.

The packed pass hands the text layers one row of tokens with image features in it (packed/). How a
prompt is written, what turns pixels into features, how features reach the text layers, where tokens
are placed and who sees whom differ from family to family, and stand in `families/`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.training.policy.model import Backbone, Policy, Tokenizer, TowerOutput, VisionTower
from editgrpo.training.policy.processor import EncodedPrompt, PromptProcessor


class PolicyFamily:
    """A family of models. This one is of text alone: its tokens are placed by their number, and a
    token sees what is before it.

    A family with images overrides what differs; docs/families.md tells how.

    Attributes:
        name: As people know it.
        axes: How many axes positions have: 1, or 3 for M-RoPE.
    """

    name = "text alone"
    axes = 1

    # --- what a folder holds ----------------------------------------------------------------------

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Say why the packed pass cannot take a model of the family.

        Args:
            config: Of the folder, as `config.json` says it.

        Returns:
            The reason, which ends a message; None if it can. A model that is refused takes the
            plain path.
        """
        return None

    def load_processor(self, folder: Path, *, is_plain: bool) -> PromptProcessor:
        """Load what writes prompts.

        Args:
            folder: Of a model of the family.
            is_plain: Whether its prompts go to the stock model.

        Returns:
            The processor.

        Raises:
            ModelError: a file is missing, damaged or does not fit the others.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no images")

    def forbidden_tokens(
        self, config: Any, tokenizer: Tokenizer, ends: tuple[int, ...]
    ) -> list[int | None]:
        """List tokens that are never sampled.

        Args:
            config: Of the model.
            tokenizer: Of the same folder.
            ends: Tokens that end a response.

        Returns:
            Their ids: here all special tokens but the ends, since which of them stand for images is
            known to a family alone.
        """
        added = tokenizer.added_tokens_decoder
        return [token for token in added if added[token].special and token not in ends]

    # --- images -----------------------------------------------------------------------------------

    def prepare(self, model: Policy) -> None:
        """Change how a loaded model computes, not what.

        Args:
            model: The model, not yet wrapped by PEFT, DDP, FSDP or DeepSpeed.
        """

    def tower(self, backbone: Backbone) -> VisionTower | None:
        """Find what turns patches of images into what the text layers take, all of it.

        Args:
            backbone: The model without its head.

        Returns:
            Its tower; None for a model of text alone.
        """
        return None

    def blank_image(self, tower: VisionTower) -> tuple[Tensor, Tensor]:
        """Make the smallest image there is, all of zeros.

        Args:
            tower: The tower.

        Returns:
            (N, D) patches and their (1, 3) int64 grid, on the tower's device.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no images")

    def image_tokens(self, config: Any, grid_I3: Tensor) -> int:
        """Count the tokens of images.

        Args:
            config: Of the model.
            grid_I3: (I, 3) int64, `EncodedPrompt.image_grid_thw`.

        Returns:
            How many tokens all of them take.
        """
        return 0

    def features(self, encoded: TowerOutput) -> Tensor:
        """Take the features of image tokens from what the tower returns.

        Args:
            encoded: From the tower.

        Returns:
            (N, F), one row an image token: what `put_images` takes. F is D, the width of the
            embedding, or a multiple of it.
        """
        return encoded.pooler_output

    def put_images(
        self, embeddings_1LD: Tensor, columns_N: Tensor, features_NF: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        """Put features in the place of image tokens.

        Args:
            embeddings_1LD: (1, L, D), of all tokens.
            columns_N: (N,) int64, the columns of image tokens, ascending.
            features_NF: (N, F), their features, from `features`.

        Returns:
            (1, L, D), a tensor of its own, and what to pass to the text layers besides.
        """
        columns_N = columns_N.to(embeddings_1LD.device)
        return embeddings_1LD.index_copy(1, columns_N, features_NF.to(embeddings_1LD)[None]), {}

    # --- tokens -----------------------------------------------------------------------------------

    def positions(self, backbone: Backbone, prompt: EncodedPrompt) -> Tensor:
        """Place the tokens of a prompt by the model's own rule.

        Args:
            backbone: The model without its head.
            prompt: The prompt.

        Returns:
            (A, T) int64, A = `axes`. Behind the prompt all axes count on from the largest.
        """
        tokens = prompt.input_ids_T.shape[0]
        return torch.arange(tokens).expand(self.axes, tokens)

    def blocks(self, prompt: EncodedPrompt) -> tuple[tuple[int, int], ...]:
        """Find the tokens of a prompt that see each other both ways.

        Args:
            prompt: The prompt.

        Returns:
            For each block its first token and the one after its last; none where every token sees
            what is before it and nothing else.
        """
        return ()

    # --- what is saved ----------------------------------------------------------------------------

    def published_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Give a configuration the keys that the family is published with.

        Args:
            config: What transformers 5 has written, number formats set already.

        Returns:
            The mapping to write.
        """
        return config

    def publish_files(self, folder: Path, processor: PromptProcessor, budget: PixelBudget) -> None:
        """Rewrite the files next to the weights so that other readers of the family take them.

        Args:
            folder: Holds weights, configuration and the processor's files.
            processor: What wrote them.
            budget: How large images of training were.
        """
