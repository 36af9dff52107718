"""The model of the benchmarks of training in each family that is packed: one shape, random weights.

All have the tokenizer of the small Qwen2.5-VL with further tokens where a family needs them, a
language model of one width and depth, and a vision tower of two layers. Heads of Qwen3-VL and of
Gemma 3 are wider than their share of the hidden size, as published.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from editgrpo.training.policy.tiny import TinyModelConfig, train_tokenizer, write_tiny_checkpoint

QWEN2_5_VL, QWEN3_VL, GEMMA3 = "qwen2_5_vl", "qwen3_vl", "gemma3"
GEMMA_SIDE = 12
"""Image tokens along a side of an image that Gemma's tower reads; published: 16."""
GEMMA_TOKENS = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_checkpoint(
    family: str, folder: Path, texts: Sequence[str], shape: TinyModelConfig, *, seed: int
) -> None:
    """Write a complete checkpoint.

    Args:
        family: One of `FAMILIES`.
        folder: Where; made if missing.
        texts: What the tokenizer learns from.
        shape: Of the model.
        seed: Of its weights.
    """
    FAMILIES[family](folder, texts, shape, seed)


def _qwen2_5_vl(folder: Path, texts: Sequence[str], shape: TinyModelConfig, seed: int) -> None:
    write_tiny_checkpoint(folder, texts, shape, seed=seed)


def _qwen3_vl(folder: Path, texts: Sequence[str], shape: TinyModelConfig, seed: int) -> None:
    from transformers import AutoConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    write_tiny_checkpoint(folder, texts, shape, seed=seed)  # for its tokenizer and its ids
    like = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    text = _text_shape(like.text_config.vocab_size, shape) | {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.hidden_size,
        "intermediate_size": 3 * shape.hidden_size,
        "num_heads": shape.heads,
        "out_hidden_size": shape.hidden_size,
        "patch_size": shape.patch_size,
        "num_position_embeddings": 48**2,
        "deepstack_visual_indexes": list(range(shape.vision_layers)),
    }
    ids = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        **{name: getattr(like, name) for name in ids},
    )
    _save(
        Qwen3VLForConditionalGeneration,
        config,
        folder,
        seed,
        end=like.text_config.eos_token_id,
    )


def _gemma3(folder: Path, texts: Sequence[str], shape: TinyModelConfig, seed: int) -> None:
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessorPil,
        Gemma3Processor,
        PreTrainedTokenizerFast,
    )

    start, end, soft = GEMMA_TOKENS
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(texts, shape.vocabulary).backend_tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|vision_end|>",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"boi_token": start, "eoi_token": end, "image_token": soft},
    )
    side = GEMMA_SIDE * 2 * shape.patch_size  # the projector pools 2 x 2 patches to a token
    images = Gemma3ImageProcessorPil(
        size={"height": side, "width": side}, image_seq_length=GEMMA_SIDE**2
    )
    processor = Gemma3Processor(
        images, tokenizer, chat_template=_GEMMA_TEMPLATE, image_seq_length=GEMMA_SIDE**2
    )
    text = _text_shape(len(tokenizer), shape) | {"query_pre_attn_scalar": 128}
    text |= {"sliding_window": 1024, "sliding_window_pattern": 6}
    config = Gemma3Config(
        text_config=text,
        vision_config={
            "hidden_size": shape.hidden_size,
            "intermediate_size": 3 * shape.hidden_size,
            "num_hidden_layers": shape.vision_layers,
            "num_attention_heads": shape.heads,
            "image_size": side,
            "patch_size": shape.patch_size,
            "vision_use_head": False,
        },
        mm_tokens_per_image=GEMMA_SIDE**2,
        boi_token_index=tokenizer.convert_tokens_to_ids(start),
        eoi_token_index=tokenizer.convert_tokens_to_ids(end),
        image_token_index=tokenizer.convert_tokens_to_ids(soft),
        eos_token_id=tokenizer.eos_token_id,
    )
    _save(Gemma3ForConditionalGeneration, config, folder, seed, end=tokenizer.eos_token_id)
    processor.save_pretrained(folder)


def _text_shape(vocabulary: int, shape: TinyModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden_size,
        "intermediate_size": 3 * shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": max(1, shape.heads // 2),
        "head_dim": 128,
        "max_position_embeddings": 4096,
    }


def _save(architecture: Any, config: Any, folder: Path, seed: int, *, end: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = architecture(config)
        for name, parameter in model.named_parameters():
            if name.endswith("mm_input_projection_weight"):  # zeros: images would not be seen
                parameter.data.normal_(std=0.02)
        # A row of zeros, which Gemma's default takes for padding and this tokenizer for the start
        # of a text: each norm would multiply the gradient of such a token by a thousand.
        embedding = model.get_input_embeddings()
        if embedding.padding_idx is not None:
            embedding.weight.data[embedding.padding_idx].normal_(std=0.02)
    model.generation_config.eos_token_id = end
    model.save_pretrained(folder)


FAMILIES: dict[str, Callable[[Path, Sequence[str], TinyModelConfig, int], None]] = {
    QWEN2_5_VL: _qwen2_5_vl,
    QWEN3_VL: _qwen3_vl,
    GEMMA3: _gemma3,
}
"""How each writes its checkpoint, by `model_type`."""
