"""A small model laid out as MedGemma 4B (Gemma 3) is published.

Keys, names and files are those of the repository, sizes and weights are not: heads wider than their
share of the hidden size, a sliding window in two of three layers that is shorter than a prompt with
two films, four tokens an image, a BPE with byte fallback, a turn that ends in another token than
the text does, and the template in a file of its own. The template is read from TRL's copy.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

SPECIAL = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
    "<end_of_image>", "<image_soft_token>",
)  # fmt: skip
IMAGE_TOKENS = 4


def gemma_tokenizer(texts: Sequence[str], entries: int = 700) -> Any:
    """Learn a vocabulary as Gemma's: pieces of characters with U+2581 for spaces, and 256 bytes.

    Args:
        texts: What it learns from.
        entries: Most entries, the added tokens left out.

    Returns:
        A transformers tokenizer.
    """
    from transformers import PreTrainedTokenizerFast

    # Pieces begin with their space, as SentencePiece learns them; spaces are cut off for that.
    words = [word for text in texts for word in words_of(text)]
    inner = byte_fallback_bpe(words, SPECIAL[:4], entries)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="left",
        add_bos_token=True,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )
    turns = [AddedToken(text, special=True) for text in SPECIAL[4:6]]
    fast.add_tokens(turns, special_tokens=True)
    fast.add_tokens([AddedToken("\n\n", special=False, normalized=False)])
    return fast


def byte_fallback_bpe(
    texts: Sequence[str], first: Sequence[str], entries: int, **limits: Any
) -> Tokenizer:
    """Learn a BPE of characters that writes a space as U+2581, and spells what it does not know.

    Args:
        texts: To learn from, spaces written so already.
        first: Special tokens, before the 256 of bytes; `<unk>` among them.
        entries: Most entries.
        **limits: Further ones, of the trainer.

    Returns:
        The tokenizer; bytes are pieces as others, as published, and no added tokens.
    """
    learner = Tokenizer(BPE(unk_token="<unk>"))
    learner.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=entries,
            special_tokens=[*first, *(f"<0x{byte:02X}>" for byte in range(256))],
            show_progress=False,
            **limits,
        ),
    )
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    inner = Tokenizer(
        BPE(model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    inner.normalizer = normalizers.Replace(" ", "\u2581")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return inner


def words_of(text: str) -> list[str]:
    """Cut a text into words that begin with their space, written as U+2581.

    Args:
        text: Any text.

    Returns:
        The words.
    """
    spaced = text.replace(" ", "\u2581").replace("\u2581", " \u2581").replace("\n", " \n ")
    return spaced.split(" ")


def write_gemma3(folder: Path, texts: Sequence[str], *, seed: int = 5) -> Path:
    """Write a small model as MedGemma is published.

    Args:
        folder: Where; made.
        texts: What the tokenizer learns from.
        seed: Of its random weights.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = gemma_tokenizer(texts)
    model = _model(tokenizer, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    template = (files("trl") / "chat_templates/gemma3.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    _write(folder / "processor_config.json", {
        "image_seq_length": IMAGE_TOKENS,
        "processor_class": "Gemma3Processor",
    })  # fmt: skip
    _write(folder / "preprocessor_config.json", {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_pan_and_scan": None,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Gemma3ImageProcessor",
        "image_seq_length": IMAGE_TOKENS,
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Gemma3Processor",
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 56, "width": 56},
    })  # fmt: skip
    return folder


def _model(tokenizer: Any, seed: int) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Gemma3Config(
        text_config={
            "vocab_size": len(tokenizer) + 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 24,
            "query_pre_attn_scalar": 24,
            "sliding_window": 16,
            "sliding_window_pattern": 3,
            "max_position_embeddings": 2048,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        eos_token_id=[ids["<eos>"], ids["<end_of_turn>"]],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Gemma3ForConditionalGeneration(config)
        for name, parameter in model.named_parameters():  # a fresh one hardly looks at its input
            if parameter.dim() > 1 and "embed" not in name:
                parameter.data.mul_(4)
        # Zeros in a new model, which would not see its images at all.
        model.model.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.3)
    model.generation_config.eos_token_id = [ids["<eos>"], ids["<end_of_turn>"]]
    model.generation_config.pad_token_id = ids["<pad>"]
    return model


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
