"""A random judge in the format of StanfordAIMI/GREEN-RadLlama2-7b: a Llama with Llama 2's
tokenizer (byte-pair merges with bytes to fall back on, no token for the chat markers)."""

import json
from pathlib import Path
from string import Template

import torch

from tests.builders import REPOSITORY
from tests.checkpoints import Size

_SHAPES = {
    Size.TINY: {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 4},
    Size.TRUE: {"hidden_size": 4096, "intermediate_size": 11008, "layers": 32, "heads": 32},
}
_VOCABULARY = {Size.TINY: 1200, Size.TRUE: 32_000}
_MARKERS = "<|user|>\n<|assistant|>\n"
_REPORTS = "The heart is enlarged. No pleural effusion. The lungs are clear. 0. 1. 2. 3."


def build_green(folder: Path, *, size: Size = Size.TINY, seed: int = 0) -> Path:
    """Write a complete checkpoint; weights in float16, as published.

    Args:
        folder: Where to write; made if absent.
        size: Its dimensions.
        seed: Decides the weights.

    Returns:
        The folder.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, _VOCABULARY[size])
    shape = _SHAPES[size]
    config = LlamaConfig(
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        vocab_size=_VOCABULARY[size],
        max_position_embeddings=4096,
        initializer_range=0.2 if size is Size.TINY else 0.02,  # so that answers differ
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float16)
        try:
            model = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(default)
    model.save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    specials = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    question = REPOSITORY / "src/editgrpo/metrics/green/prompt.txt"
    text = Template(question.read_text(encoding="utf-8"))
    tokenizer.train_from_iterator(
        [_MARKERS, text.substitute(reference=_REPORTS, candidate=_REPORTS)] * 4, trainer
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<unk>",
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "legacy": False,
        "model_max_length": 8192,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
