"""Contextual embeddings of the tokens of a text, from a layer of a pretrained encoder.

Texts are cut into tokens as bert-score 0.3.13 does: white space at the ends is stripped, and
RoBERTa sees a space before the first word.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.pretrained import load_config, load_model, load_tokenizer, remedy
from editgrpo.errors import ModelError

MAX_TOKENS = 512
"""Tokens of a text, special tokens included; what is longer is cut before the last of them."""


class TokenEncoder:
    """The lower layers of an encoder such as DistilBERT or DistilRoBERTa, and its tokenizer.

    Attributes:
        special_ids: Ids of the tokens that open and close a text.

    Args:
        folder: Configuration, tokenizer and weights.
        model: Which model it holds.
        layers: The layer whose output is taken, counted from 1; those above are not loaded.
        device: Where the model runs.
        dtype: Number format of weights and activations.

    Raises:
        ModelError: a file cannot be read, a weight is missing, or there are fewer layers.
    """

    def __init__(
        self,
        folder: Path,
        model: ClinicalModel,
        *,
        layers: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        # Only RoBERTa's tokenizer has the option; the others pay no heed to it.
        self._tokenizer = load_tokenizer(folder, model, add_prefix_space=True)
        config = load_config(folder, model)
        if config.num_hidden_layers < layers:
            raise ModelError(
                f"{folder}: the model has {config.num_hidden_layers} layers, layer {layers} is "
                f"needed; {remedy(model)}"
            )
        config.num_hidden_layers = layers
        self._model = load_model(AutoModel, folder, model, dtype=dtype, config=config).to(device)
        self._device = device
        self.special_ids = frozenset({self._tokenizer.cls_token_id, self._tokenizer.sep_token_id})

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included."""
        stripped = [text.strip() for text in texts]
        encoded = self._tokenizer(stripped, truncation=True, max_length=MAX_TOKENS)
        rows: list[list[int]] = encoded["input_ids"]
        return rows

    def embed(self, rows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
        """Embed a batch of texts.

        Args:
            rows: Token ids of B texts, special tokens included.

        Returns:
            For each text (T, D) float32, T its own number of tokens, rows of norm 1.
        """
        batch = self._tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")
        batch = batch.to(self._device)
        with torch.inference_mode():
            states_BTD = self._model(
                batch["input_ids"], attention_mask=batch["attention_mask"]
            ).last_hidden_state.float()
            unit_BTD = torch.nn.functional.normalize(states_BTD, dim=-1).cpu().numpy()
        return [unit_TD[: len(row)].copy() for unit_TD, row in zip(unit_BTD, rows, strict=True)]
