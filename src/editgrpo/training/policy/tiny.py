"""A vision-language model small enough for a laptop CPU, built from a configuration: the demo's and
the tests' model.

It is a true Qwen2.5-VL (same classes, same checkpoint format, same chat markers) with random
weights and a byte-level BPE tokenizer trained on the texts it is given. Nothing is downloaded.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editgrpo.training.policy.model import Tokenizer

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TinyModelConfig:
    """Shape of the small model."""

    hidden_size: int = 192
    """Width of the language model; the vision tower has the same."""
    layers: int = 4
    """Layers of the language model."""
    vision_layers: int = 4
    """Layers of the vision tower."""
    heads: int = 4
    """Attention heads of both."""
    vocabulary: int = 640
    """Entries of the tokenizer, special tokens included."""
    patch_size: int = 14
    """Pixels along a patch; an image token covers 2 x 2 patches."""


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer in Qwen2's file format with its chat markers.

    Args:
        texts: Reports and prompts to learn merges from; the result depends on nothing else.
        vocabulary: Entries, special tokens included.

    Returns:
        A `Qwen2TokenizerFast`-like transformers tokenizer; `<|im_end|>` ends a sequence.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL_TOKENS),
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_tiny_model(tokenizer: Tokenizer, config: TinyModelConfig, *, seed: int) -> Any:
    """Build a Qwen2.5-VL of the given shape with random weights.

    Args:
        tokenizer: The tokenizer that the model will read.
        config: Its shape.
        seed: Decides the weights; the global generator is left as it was.

    Returns:
        A float32 `Qwen2_5_VLForConditionalGeneration` on the CPU.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    head_size = config.hidden_size // config.heads
    text = {
        "hidden_size": config.hidden_size,
        "intermediate_size": config.hidden_size * 3,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": max(1, config.heads // 2),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": _mrope_section(head_size),
        },
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "bos_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": config.vision_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.hidden_size * 3,
        "num_heads": config.heads,
        "out_hidden_size": config.hidden_size,
        "patch_size": config.patch_size,
        "fullatt_block_indexes": list(range(config.vision_layers)),
        "window_size": config.patch_size * 8,
    }
    model_config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(model_config)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model.float()


def _mrope_section(head_size: int) -> list[int]:
    # Qwen2.5-VL gives time a quarter of the rotary frequencies, height and width three eighths
    # each.
    half = head_size // 2
    spatial = 3 * half // 8
    return [half - 2 * spatial, spatial, spatial]


def write_tiny_checkpoint(
    folder: Path,
    texts: Iterable[str],
    config: TinyModelConfig,
    *,
    seed: int,
    build: Callable[[Any, TinyModelConfig], Any] | None = None,
) -> None:
    """Write a complete checkpoint of the small model: weights, tokenizer and image processor.

    Args:
        folder: Where to write; made if absent.
        texts: What the tokenizer learns from.
        config: The shape.
        seed: Decides the weights.
        build: Builds a model of another family with the tokens of this one, given it and its shape;
            its weights are drawn from torch's generator.
    """
    from transformers import Qwen2VLImageProcessorPil

    tokenizer = train_tokenizer(texts, config.vocabulary)
    like = model = build_tiny_model(tokenizer, config, seed=seed)
    if build is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build(like, config)
        model.generation_config = like.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=config.patch_size).save_pretrained(folder)
