"""RaTE-NER: the entities of single sentences."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.clinical.batching import run_rows
from editgrpo.clinical.device import batch_tokens, torch_device, torch_dtype
from editgrpo.clinical.pretrained import load_model, load_tokenizer
from editgrpo.clinical.shared import shared_model
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.reports.rate.decoding import decode_labels
from editgrpo.reports.types import EntityType

MAX_TOKENS = 512
"""RaTEScore's cut of a sentence, special tokens included."""

_SPECIAL = ("[CLS]", "[SEP]")


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity before it is embedded.

    Attributes:
        text: As the tokenizer joins its tokens, which is what RaTEScore embeds; it may differ from
            the sentence in white space and in characters that the tokenizer normalises.
        type: Its type.
    """

    text: str
    type: EntityType


class EntityRecogniser:
    """Finds the entities of sentences; the model is loaded on first use, once a process.

    Args:
        config: Where the model lies and how it runs.
    """

    def __init__(self, config: ClinicalConfig) -> None:
        self._config = config

    def find(self, sentences: Sequence[str]) -> list[tuple[Mention, ...]]:
        """Find the entities of each sentence by itself.

        Args:
            sentences: N sentences, each at most once for speed's sake.

        Returns:
            N tuples of mentions in reading order.

        Raises:
            ModelError: the model is missing or damaged, or is no RaTE-NER.
            RewardError: a single sentence does not fit into memory.
        """
        if not sentences:
            return []
        network = shared_model(
            ClinicalModel.RATE_NER, self._config, lambda folder: _load(folder, self._config)
        )
        encoded = network.tokenizer(list(sentences), max_length=MAX_TOKENS, truncation=True)
        tokens_N: list[list[int]] = encoded["input_ids"]
        labels_N = run_rows(tokens_N, network.labels, max_tokens=batch_tokens(self._config))
        return [
            network.mentions(tokens, labels)
            for tokens, labels in zip(tokens_N, labels_N, strict=True)
        ]


def encode_mentions(mentions: tuple[Mention, ...]) -> bytes:
    """Return the mentions of a sentence as bytes."""
    return json.dumps([[mention.text, mention.type] for mention in mentions]).encode()


def decode_mentions(value: bytes) -> tuple[Mention, ...]:
    """Return the mentions that `encode_mentions` wrote."""
    return tuple(Mention(text, EntityType(type_)) for text, type_ in json.loads(value))


@dataclass(frozen=True, slots=True)
class _Network:
    tokenizer: Any
    model: Any
    label_names: tuple[str, ...]

    def labels(self, tokens_N: list[list[int]]) -> list[list[str]]:
        """Return the most probable label of every token of a batch."""
        import torch

        # Padded by position, not by id: a text may spell out the padding token.
        batch = self.tokenizer.pad({"input_ids": tokens_N}, return_tensors="pt")
        batch = batch.to(self.model.device)
        with torch.inference_mode():
            logits_NTL = self.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        return [
            [self.label_names[label] for label in labels[: len(tokens)]]
            for labels, tokens in zip(logits_NTL.argmax(dim=2).tolist(), tokens_N, strict=True)
        ]

    def mentions(self, tokens: list[int], labels: list[str]) -> tuple[Mention, ...]:
        """Return the mentions of one sentence."""
        padding = self.tokenizer.pad_token_id
        # As many tokens as are no padding: the rest of a sentence that spells padding out is lost.
        words = self.tokenizer.convert_ids_to_tokens(
            tokens[: sum(token != padding for token in tokens)]
        )
        spans = decode_labels(labels, [word in _SPECIAL for word in words])
        return tuple(
            Mention(
                self.tokenizer.convert_tokens_to_string(words[span.start : span.end]),
                EntityType(span.type),
            )
            for span in spans
        )


def _load(folder: Path, config: ClinicalConfig) -> _Network:
    from transformers import AutoModelForTokenClassification

    source = ClinicalModel.RATE_NER
    model = load_model(AutoModelForTokenClassification, folder, source, dtype=torch_dtype(config))
    names = model.config.id2label
    label_names = tuple(names[index] for index in range(len(names)))
    _require_known_labels(label_names, folder)
    return _Network(load_tokenizer(folder, source), model.to(torch_device(config)), label_names)


def _require_known_labels(label_names: Sequence[str], folder: Path) -> None:
    """Raise ModelError for a label that is not `O`, `B-TYPE` or `I-TYPE` of a known type."""
    known = {"O", *(f"{tag}-{type_}" for tag in "BI" for type_ in EntityType)}
    unknown = [name for name in label_names if name not in known]
    if unknown:
        raise ModelError(
            f"{folder}/config.json: id2label has {unknown[0]!r}, which is no label of RaTE-NER; "
            "run `editgrpo models fetch rate-ner`"
        )
