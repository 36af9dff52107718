"""BioLORD: what an entity means, as a vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.batching import run_rows
from editgrpo.clinical.device import batch_tokens, torch_device, torch_dtype
from editgrpo.clinical.pretrained import load_model, load_tokenizer
from editgrpo.clinical.shared import shared_model
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig

MAX_TOKENS = 30
"""RaTEScore's cut of an entity, special tokens included."""


class EntityEmbedder:
    """Embeds the texts of entities; the model is loaded on first use, once a process.

    Args:
        config: Where the model lies and how it runs.
    """

    def __init__(self, config: ClinicalConfig) -> None:
        self._config = config

    def embed(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Embed texts.

        Args:
            texts: N texts, each at most once for speed's sake.

        Returns:
            N read-only arrays (D,) float32, not normalised: the last hidden state of the first
            token.

        Raises:
            ModelError: the model is missing or damaged.
            RewardError: a single text does not fit into memory.
        """
        if not texts:
            return []
        network = shared_model(
            ClinicalModel.BIOLORD, self._config, lambda folder: _load(folder, self._config)
        )
        encoded = network.tokenizer(list(texts), max_length=MAX_TOKENS, truncation=True)
        tokens_N: list[list[int]] = encoded["input_ids"]
        return run_rows(tokens_N, network.embed, max_tokens=batch_tokens(self._config))


def encode_embedding(embedding_D: NDArray[np.float32]) -> bytes:
    """Return an embedding as little-endian float32."""
    return embedding_D.astype("<f4").tobytes()


def decode_embedding(value: bytes) -> NDArray[np.float32]:
    """Return the read-only embedding that `encode_embedding` wrote."""
    return read_only(np.frombuffer(value, dtype="<f4").astype(np.float32))


def read_only(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the array itself, closed to writing: it is shared by every report that needs it."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True)
class _Network:
    tokenizer: Any
    model: Any

    def embed(self, tokens_N: list[list[int]]) -> list[NDArray[np.float32]]:
        """Embed a batch."""
        import torch

        # Padded by position, not by id: a text may spell out the padding token.
        batch = self.tokenizer.pad({"input_ids": tokens_N}, return_tensors="pt")
        batch = batch.to(self.model.device)
        with torch.inference_mode():
            hidden_NTD = self.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).last_hidden_state
        embedding_ND = hidden_NTD[:, 0].float().cpu().numpy()
        return [read_only(embedding_D.copy()) for embedding_D in embedding_ND]


def _load(folder: Path, config: ClinicalConfig) -> _Network:
    from transformers import AutoModel

    source = ClinicalModel.BIOLORD
    model = load_model(AutoModel, folder, source, dtype=torch_dtype(config))
    return _Network(load_tokenizer(folder, source), model.to(torch_device(config)))
