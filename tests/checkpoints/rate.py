"""Random checkpoints of RaTEScore's two models: RaTE-NER (DeBERTa) and BioLORD (MPNet)."""

from collections.abc import Iterable
from math import log
from pathlib import Path

import torch
from torch import nn
from transformers import (
    DebertaV2Config,
    DebertaV2ForTokenClassification,
    DebertaV2Tokenizer,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizer,
)

from editgrpo.reports.types import EntityType
from tests.checkpoints import Size
from tests.checkpoints.corpus import CHARACTERS, SENTENCES, frequent_words, word_pieces

SPREAD = 0.2
"""Standard deviation of the weights; at the models' own 0.02 all tokens look alike."""

LABELS = ("O", *(f"{tag}-{type_}" for type_ in EntityType for tag in "BI"))

_VOCABULARY = {Size.TINY: 300, Size.TRUE: 2000}  # pieces; the tables of TRUE are as published
_DIMENSIONS = {
    Size.TINY: {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
    },
    Size.TRUE: {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
}


def build_rate_ner(
    folder: Path, *, size: Size = Size.TINY, seed: int = 0, texts: Iterable[str] = SENTENCES
) -> Path:
    """Write a random RaTE-NER that gives tokens labels of all kinds.

    Args:
        folder: The model's folder; made if it is not there.
        size: How large the model is.
        seed: Seed of the weights.
        texts: What the vocabulary is made from.

    Returns:
        The folder.
    """
    tokenizer = _unigram_tokenizer(texts, _VOCABULARY[size])
    tokenizer.save_pretrained(folder)
    config = DebertaV2Config(
        **_DIMENSIONS[size],
        vocab_size=len(tokenizer) if size is Size.TINY else 128_100,
        # As microsoft/deberta-v3-base, from which the published model was trained.
        max_position_embeddings=512,
        position_buckets=32 if size is Size.TINY else 256,
        relative_attention=True,
        max_relative_positions=-1,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DebertaV2ForTokenClassification(config)
        _spread(model, size)
        _centre(model, tokenizer)
    model.save_pretrained(folder)
    return folder


def build_biolord(
    folder: Path, *, size: Size = Size.TINY, seed: int = 0, texts: Iterable[str] = SENTENCES
) -> Path:
    """Write a random BioLORD.

    Args:
        folder: The model's folder; made if it is not there.
        size: How large the model is.
        seed: Seed of the weights.
        texts: What the vocabulary is made from.

    Returns:
        The folder.
    """
    tokenizer = _wordpiece_tokenizer(texts, _VOCABULARY[size])
    tokenizer.save_pretrained(folder)
    config = MPNetConfig(
        **_DIMENSIONS[size],
        vocab_size=len(tokenizer) if size is Size.TINY else 30_527,
        max_position_embeddings=514,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MPNetModel(config)
        _spread(model, size)
    model.save_pretrained(folder)
    return folder


def _unigram_tokenizer(texts: Iterable[str], size: int) -> DebertaV2Tokenizer:
    special = [(token, 0.0) for token in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")]
    letters = [*CHARACTERS, *(each.upper() for each in CHARACTERS if each.isalpha()), "▁"]
    pieces = [(each, -12.0) for each in dict.fromkeys(letters)]
    # Words as they begin a sentence, too; a word costs less than its letters.
    words = frequent_words(texts, (size - len(special) - len(pieces)) // 2)
    for word, count in words:
        pieces += [(f"▁{word}", log(count) - 8.0), (f"▁{word.capitalize()}", log(count) - 9.0)]
    return DebertaV2Tokenizer(vocab=[*special, *pieces, ("[MASK]", 0.0)])


def _wordpiece_tokenizer(texts: Iterable[str], size: int) -> MPNetTokenizer:
    tokens = [*word_pieces(texts, size, ("<s>", "<pad>", "</s>", "[UNK]")), "<mask>"]
    return MPNetTokenizer(vocab={token: index for index, token in enumerate(tokens)})


def _spread(model: nn.Module, size: Size) -> None:
    """Draw the matrices of a tiny model anew, so that tokens and texts come out different."""
    if size is Size.TINY:
        for weight in model.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=SPREAD)


def _centre(model: DebertaV2ForTokenClassification, tokenizer: DebertaV2Tokenizer) -> None:
    """Shift the scores of the labels so that, over the invented sentences, each is given."""
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    model.eval()
    with torch.no_grad():
        logits_TL = model(**batch).logits[batch["attention_mask"].bool()]
        model.classifier.bias -= logits_TL.mean(dim=0)
