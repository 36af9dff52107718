"""Small models of the families that the packed pass supports, with the vocabulary of the small
checkpoint of tiny_run.py."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.tiny_run import SHAPE, Tiny, teach

_TEXT = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "vocab_size",
    "num_attention_heads",
    "num_key_value_heads",
    "rope_parameters",
)
_SPECIAL = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
WITH_IMAGES = ("qwen2.5-vl", "qwen2-vl", "qwen3-vl")
FAMILIES = (*WITH_IMAGES, "qwen2")


def small_model(family: str, tiny: Tiny) -> Any:
    """Build a float32 model of one of `FAMILIES`; qwen2 is of text alone."""
    like = tiny.load()
    if family == "qwen2.5-vl":
        return like
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        built = _BUILDERS[family](like.config)
        for parameter in built.parameters():  # a fresh model hardly looks at its input
            if parameter.dim() > 1:
                parameter.data.mul_(4)
    return built


def small_checkpoint(family: str, tiny: Tiny, folder: Path) -> Tiny:
    """Save a small model of a family that has seen the training reports for a few steps."""
    model = small_model(family, tiny)
    teach(model, tiny, steps=40)
    model.save_pretrained(folder)
    load_processor(tiny.checkpoint).save(folder)
    return replace(tiny, checkpoint=folder)


def _qwen2_vl(like: Any) -> Any:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {
        "depth": SHAPE.vision_layers,
        "embed_dim": SHAPE.hidden_size,
        "hidden_size": SHAPE.hidden_size,
        "num_heads": SHAPE.heads,
        "patch_size": SHAPE.patch_size,
    }
    return Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(
            text_config={name: getattr(like.text_config, name) for name in _TEXT},
            vision_config=vision,
            **{name: getattr(like, name) for name in _SPECIAL},
        )
    )


def _qwen2(like: Any) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    text = {name: getattr(like.text_config, name) for name in _TEXT[:-1]}
    return Qwen2ForCausalLM(Qwen2Config(**text, tie_word_embeddings=True))


def _qwen3_vl(like: Any) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {name: getattr(like.text_config, name) for name in _TEXT}
    # As published: heads wider than their share of the hidden size, frequencies interleaved.
    text |= {"num_hidden_layers": 3, "head_dim": 24, "tie_word_embeddings": True}
    text["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [4, 4, 4],
        "mrope_interleaved": True,
    }
    vision = {
        "depth": 3,
        "hidden_size": SHAPE.hidden_size,
        "intermediate_size": 2 * SHAPE.hidden_size,
        "num_heads": SHAPE.heads,
        "out_hidden_size": like.text_config.hidden_size,
        "patch_size": SHAPE.patch_size,
        "num_position_embeddings": 36,
        "deepstack_visual_indexes": [0, 1],
    }
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=text,
            vision_config=vision,
            tie_word_embeddings=True,
            **{name: getattr(like, name) for name in _SPECIAL},
        )
    )


def stock_features(model: Any, prompt: EncodedPrompt) -> Tensor:
    """Return what the stock backbone makes of a prompt's images, (N, D (1 + K)): the features that
    stand for embeddings, and beside them those of DeepStack."""
    encoded = model.model.get_image_features(prompt.pixel_values, prompt.image_grid_thw)
    levels = [encoded.pooler_output, *getattr(encoded, "deepstack_features", ())]
    return torch.cat([torch.cat(list(level)) for level in levels], dim=1)


_BUILDERS = {"qwen2-vl": _qwen2_vl, "qwen3-vl": _qwen3_vl, "qwen2": _qwen2}


def look_closely(model: Any, *, language: float) -> None:
    """Let a model look around and at its films: one so small hardly does, unlike a true one."""
    for name, parameter in model.model.language_model.layers.named_parameters():
        if "self_attn" in name:
            parameter.data.mul_(language)
    for name, parameter in model.model.visual.named_parameters():
        if "attn" in name or "merger" in name:
            parameter.data.mul_(3)
