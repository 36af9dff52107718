"""The labeler `chexbert`: BERT with one linear head for each of the 14 CheXpert findings.

Values equal those of the package f1chexbert (tests/parity/clinical/test_chexbert.py): the same text
preparation, the same cut, the same checkpoint. A report without words is labelled like any other,
from [CLS] [SEP] alone; what CheXbert says of it is what its metrics count. Left out on purpose:
training, and F1 itself (`rewards/`, `evaluation/`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertConfig

from editgrpo.clinical.batching import run_rows
from editgrpo.clinical.device import batch_tokens, torch_device, torch_dtype
from editgrpo.clinical.memo import Memo, stored_by_model
from editgrpo.clinical.pretrained import load_tokenizer, remedy
from editgrpo.clinical.shared import shared_model
from editgrpo.clinical.weights import ClinicalModel, model_identity
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.reports.chexbert_network import load_network
from editgrpo.reports.chexpert import FINDINGS, LabelClass

MAX_TOKENS = 512
"""Tokens of a report, [CLS] and [SEP] included; what is longer is cut before [SEP]."""

_READINGS = 16_384
"""Reports whose classes and embedding are remembered: about 50 MB."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pass of CheXbert gives of a report.

    Attributes:
        classes_F: (14,) uint8, values of `LabelClass`.
        embedding_D: (D,) float32, the last layer at [CLS], from which the heads read.
    """

    classes_F: NDArray[np.uint8]
    embedding_D: NDArray[np.float32]


class CheXbertLabeler:
    """Assigns the 14 CheXpert findings by CheXbert.

    The model is loaded when the first report is read that neither memory nor store knows.

    Attributes:
        name: `chexbert`.

    Args:
        config: None takes the defaults.
    """

    name = "chexbert"

    def __init__(self, config: ClinicalConfig | None = None) -> None:
        self._config = config or ClinicalConfig()
        self._readings: Memo[Reading] = Memo(self._read, capacity=_READINGS)

    @property
    def identity(self) -> str:
        """`chexbert@` and the hash of the weights, as files of class rates name the labeler."""
        return f"{self.name}@{model_identity(ClinicalModel.CHEXBERT, self._config)}"

    def classify(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return (N, 14) uint8 with CheXbert's classes: 0 blank, 1 positive, 2 negative, 3
        uncertain."""
        rows = self._classes([_prepared(text) for text in texts])
        return np.array(rows, dtype=np.uint8).reshape(len(texts), len(FINDINGS))

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return (N, 14) uint8, 1 where `classify` is positive or uncertain, else 0 (CheXbert's own
        merge)."""
        classes = self.classify(texts)
        is_found = (classes == LabelClass.POSITIVE) | (classes == LabelClass.UNCERTAIN)
        return np.asarray(is_found, dtype=np.uint8)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the (N, D) float32 embeddings of reports, D the width of the model.

        A report that was classified in this process before costs no second pass.
        """
        readings = self._readings([_prepared(text) for text in texts])
        return np.array([reading.embedding_D for reading in readings], dtype=np.float32)

    @cached_property
    def _classes(self) -> Memo[NDArray[np.uint8]]:
        """The memory of classes, on disk too if there is a store.

        A report's classes take 14 bytes, its embedding 3 kB, which for the training set of
        MIMIC-CXR would be half a gigabyte that no reward reads: embeddings stay in memory.
        """
        return Memo(
            lambda texts: [reading.classes_F for reading in self._readings(texts)],
            capacity=_READINGS,
            stored=stored_by_model(
                self._config,
                ClinicalModel.CHEXBERT,
                what="chexbert/classes/1",
                encode=_encode_classes,
                decode=_decode_classes,
            ),
        )

    def _read(self, texts: Sequence[str]) -> list[Reading]:
        """Run the model over distinct, prepared reports."""
        model = self._model()
        token_ids = model.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
        rows: list[list[int]] = token_ids["input_ids"]
        return run_rows(rows, model.read, max_tokens=batch_tokens(self._config))

    def _model(self) -> "CheXbert":
        device, dtype = torch_device(self._config), torch_dtype(self._config)
        return shared_model(
            ClinicalModel.CHEXBERT,
            self._config,
            lambda folder: CheXbert(folder, device=device, dtype=dtype),
        )


class CheXbert:
    """The model and its tokenizer, loaded from a folder.

    Attributes:
        tokenizer: That of bert-base-uncased.

    Args:
        folder: Holds `chexbert.pth` and `tokenizer/`.
        device: Where the model runs.
        dtype: Number format of weights and activations.

    Raises:
        ModelError: a file cannot be read, or the checkpoint is of another architecture.
    """

    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        self.tokenizer: Any = load_tokenizer(folder / "tokenizer", ClinicalModel.CHEXBERT)
        place = f"{folder / 'tokenizer'}: configuration"
        with reading(place, remedy(ClinicalModel.CHEXBERT), error=ModelError):
            bert_config = BertConfig.from_pretrained(
                folder / "tokenizer", local_files_only=True, trust_remote_code=False
            )
        network = load_network(bert_config, folder / "chexbert.pth")
        self._network = network.eval().requires_grad_(False).to(device, dtype)
        self._device = device

    def read(self, rows: Sequence[list[int]]) -> list[Reading]:
        """Read a batch of reports.

        Args:
            rows: Token ids of each report, special tokens included; B of them.

        Returns:
            B readings.
        """
        batch = self.tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            classes_BF, embedding_BD = self._network(batch["input_ids"], batch["attention_mask"])
        all_classes = classes_BF.to("cpu", torch.uint8).numpy()
        embeddings = embedding_BD.to("cpu", torch.float32).numpy()
        return [Reading(*pair) for pair in zip(all_classes, embeddings, strict=True)]


def _prepared(text: str) -> str:
    """Collapse white space, line ends too, as CheXbert's own preparation does."""
    return " ".join(text.split())


def _encode_classes(classes_F: NDArray[np.uint8]) -> bytes:
    return classes_F.tobytes()


def _decode_classes(value: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(value, dtype=np.uint8)
