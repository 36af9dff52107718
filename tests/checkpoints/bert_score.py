"""Random encoders of BERTScore as Hugging Face folders: masked language models, as on the Hub."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tests.checkpoints import Size
from tests.checkpoints.chexbert import spread, write_wordpiece_tokenizer
from tests.checkpoints.corpus import SENTENCES

ROBERTA_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def build_distilbert(
    folder: Path, *, size: Size = Size.TINY, seed: int = 0, texts: Iterable[str] = SENTENCES
) -> Path:
    """Write a random distilbert-base-uncased of 6 layers.

    Args:
        folder: The model's folder; made if it is not there.
        size: How large the model is.
        seed: Seed of the weights.
        texts: What the vocabulary is made from.

    Returns:
        The folder.
    """
    tiny = {"dim": 48, "n_heads": 4, "hidden_dim": 96, "vocab_size": 300}
    config = DistilBertConfig(n_layers=6, **(tiny if size is Size.TINY else {}))
    write_wordpiece_tokenizer(folder, config.vocab_size, texts)
    _save_random(DistilBertForMaskedLM, config, folder, seed)
    return folder


def build_distilroberta(
    folder: Path, *, size: Size = Size.TINY, seed: int = 0, texts: Iterable[str] = SENTENCES
) -> Path:
    """Write a random distilroberta-base of 6 layers.

    Args:
        folder: The model's folder; made if it is not there.
        size: How large the model is.
        seed: Seed of the weights.
        texts: What the vocabulary is made from.

    Returns:
        The folder.
    """
    tiny = {
        "hidden_size": 48,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 400,
    }
    dimensions = tiny if size is Size.TINY else {"vocab_size": 50_265}
    config = RobertaConfig(
        num_hidden_layers=6, max_position_embeddings=514, type_vocab_size=1, **dimensions
    )
    _write_byte_pairs(folder, config.vocab_size, texts)
    _save_random(RobertaForMaskedLM, config, folder, seed)
    return folder


def _save_random(
    model_class: type[DistilBertForMaskedLM] | type[RobertaForMaskedLM],
    config: DistilBertConfig | RobertaConfig,
    folder: Path,
    seed: int,
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        spread(model)
    model.save_pretrained(folder)


def _write_byte_pairs(folder: Path, vocab_size: int, texts: Iterable[str]) -> None:
    """Write a byte-level BPE tokenizer with the special tokens of RoBERTa."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        texts, vocab_size=vocab_size, min_frequency=1, special_tokens=list(ROBERTA_SPECIAL_TOKENS)
    )
    folder.mkdir(parents=True, exist_ok=True)
    trained.save_model(str(folder))  # vocab.json, merges.txt
    trained.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    trained.save(str(folder / "tokenizer.json"))
    settings = {"model_max_length": 512, "tokenizer_class": "RobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
