"""A random CheXbert in the form of the original: `chexbert.pth` and `tokenizer/`."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.checkpoints import Size
from tests.checkpoints.corpus import SENTENCES, word_pieces

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
HEAD_CLASSES = (*[4] * 13, 2)
GAIN = 1.4
"""How much a layer's random weights stretch what comes in; with the initial weights of BERT all
reports look alike to a random model, and with much larger ones rounding decides what it says."""

_DIMENSIONS = {
    Size.TINY: {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 300,
    },
    Size.TRUE: {},  # BertConfig's own defaults are those of bert-base-uncased
}


def build_chexbert(
    folder: Path, *, size: Size = Size.TINY, seed: int = 0, texts: Iterable[str] = SENTENCES
) -> Path:
    """Write a random CheXbert.

    The heads are centred on the embeddings of the invented sentences, so that over a handful of
    reports every head gives each of its classes.

    Args:
        folder: The model's folder; made if it is not there.
        size: How large the model is.
        seed: Seed of the weights.
        texts: What the vocabulary is made from.

    Returns:
        The folder.
    """
    config = BertConfig(**_DIMENSIONS[size])
    write_wordpiece_tokenizer(folder / "tokenizer", config.vocab_size, texts)
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bert = BertModel(config).eval()
        spread(bert)
        embedding_BD = _embed(bert, folder / "tokenizer")
        heads = nn.ModuleList(nn.Linear(config.hidden_size, n) for n in HEAD_CLASSES)
        for head in heads:
            nn.init.normal_(head.weight)
            head.bias.data = -head.weight.data @ embedding_BD.mean(dim=0)
    state = nn.ModuleDict({"bert": bert, "linear_heads": heads}).state_dict()
    saved = {f"module.{name}": weight for name, weight in state.items()}
    torch.save({"epoch": 7, "model_state_dict": saved}, folder / "chexbert.pth")
    return folder


def write_wordpiece_tokenizer(folder: Path, vocab_size: int, texts: Iterable[str]) -> None:
    """Write a lower-casing WordPiece tokenizer as bert-base-uncased has it.

    Args:
        folder: Where to write; made if it is not there.
        vocab_size: Size of the vocabulary, filled up with unused tokens.
        texts: What its words are taken from.
    """
    tokens = word_pieces(texts, vocab_size, SPECIAL_TOKENS)
    tokens += [f"[unused{number}]" for number in range(vocab_size - len(tokens))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    settings = {"do_lower_case": True, "model_max_length": 512, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    backend: Tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    backend.save(str(folder / "tokenizer.json"))


def spread(model: nn.Module) -> None:
    """Draw all matrices anew, so large that texts come out different."""
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=GAIN / weight.shape[1] ** 0.5)


def _embed(bert: BertModel, tokenizer_folder: Path) -> torch.Tensor:
    """Return the (B, D) states at [CLS] of the invented sentences."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    with torch.no_grad():
        states_BTD: torch.Tensor = bert(**batch).last_hidden_state
    return states_BTD[:, 0]
