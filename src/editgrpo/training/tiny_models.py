"""Small models of each family with random weights, for a run that only shows that everything works.

Their classes, files and keys are those of the published models. They know nothing: their reports
are noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.errors import ConfigError
from editgrpo.training.policy.families import family_named
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.tiny import TinyModelConfig, write_tiny_checkpoint
from editgrpo.training.policy.tiny_gemma3 import write_gemma3
from editgrpo.training.run.saving import publish_config

_QWEN3_PATCH = 16
"""Pixels along a patch of Qwen3-VL and Qwen3.5; the other Qwen families have 14."""


def write_tiny_model(folder: Path, family: str, *, seed: int = 0) -> None:
    """Write a small model of a family as its models are published.

    Args:
        folder: Where; made if absent.
        family: A `model_type` of `TINY_FAMILIES`.
        seed: Of its weights.

    Raises:
        ConfigError: there is no small model of this family.
    """
    if family not in TINY_FAMILIES:
        known = ", ".join(TINY_FAMILIES)
        raise ConfigError(f"no small model of family {family!r}; take one of {known}")
    folder.mkdir(parents=True, exist_ok=True)
    words = resources.files("editgrpo.reports") / "ontology.yaml"
    prompt = resources.files("editgrpo.data") / "templates" / "findings.jinja"
    texts = [source.read_text(encoding="utf-8") for source in (prompt, words)]
    TINY_FAMILIES[family](folder, texts, seed=seed)
    publish_config(folder, torch.float32)
    known_family = family_named(family)
    assert known_family is not None  # tests compare the tables
    processor = load_processor(folder)
    known_family.publish_files(folder, processor, PixelBudget(multiple_of=multiple_of(family)))


def multiple_of(family: str) -> int:
    """Return what the sides of images must be multiples of for a family, in pixels."""
    is_newer = family in ("qwen3_vl", "qwen3_5")
    return 2 * (_QWEN3_PATCH if is_newer else TinyModelConfig().patch_size)


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


def build_qwen2_vl(like: Any, shape: TinyModelConfig) -> Any:
    """Build a Qwen2-VL with the text layers and tokens of a small Qwen2.5-VL.

    Args:
        like: That model.
        shape: Its shape.

    Returns:
        A float32 `Qwen2VLForConditionalGeneration`, its weights drawn from torch's generator.
    """
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {
        "depth": shape.vision_layers,
        "embed_dim": shape.hidden_size,
        "hidden_size": shape.hidden_size,
        "num_heads": shape.heads,
        "patch_size": shape.patch_size,
    }
    return Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(
            text_config={name: getattr(like.config.text_config, name) for name in _TEXT},
            vision_config=vision,
            **{name: getattr(like.config, name) for name in _SPECIAL},
        )
    )


def build_qwen3_vl(like: Any, shape: TinyModelConfig) -> Any:
    """Build a Qwen3-VL with the tokens of a small Qwen2.5-VL.

    Args:
        like: That model.
        shape: Its shape; text and vision layers are three, so that DeepStack has two to read.

    Returns:
        A float32 `Qwen3VLForConditionalGeneration`, its weights drawn from torch's generator.
    """
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    # As published: heads wider than their share of the hidden size.
    text = {"num_hidden_layers": 3, "head_dim": 24, "rope_parameters": _rope([4, 4, 4])}
    config = Qwen3VLConfig(**_settings(like, shape, text, deepstack_visual_indexes=[0, 1]))
    return Qwen3VLForConditionalGeneration(config)


def build_qwen3_5(like: Any, shape: TinyModelConfig) -> Any:
    """Build a Qwen3.5 with the tokens of a small Qwen2.5-VL.

    Args:
        like: That model.
        shape: Its shape; of four text layers, as published, all but the last are linear attention.

    Returns:
        A float32 `Qwen3_5ForConditionalGeneration`, its weights drawn from torch's generator.
    """
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    text = {
        "num_hidden_layers": 4,
        "layer_types": [*["linear_attention"] * 3, "full_attention"],
        "head_dim": 32,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "rope_parameters": _rope([2, 1, 1], partial_rotary_factor=0.25),
    }
    return Qwen3_5ForConditionalGeneration(Qwen3_5Config(**_settings(like, shape, text)))


def _rope(sections: list[int], **more: float) -> dict[str, Any]:
    """Return positions of three axes, their frequencies interleaved as published."""
    return {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": sections,
        "mrope_interleaved": True,
        **more,
    }


def _settings(
    like: Any, shape: TinyModelConfig, text: Mapping[str, Any], **vision: Any
) -> dict[str, Any]:
    """Return the configuration that small models of Qwen3-VL and Qwen3.5 share."""
    shared = {name: getattr(like.config.text_config, name) for name in _TEXT}
    return {
        "text_config": {**shared, "tie_word_embeddings": True, **text},
        "vision_config": {
            "depth": 3,
            "hidden_size": shape.hidden_size,
            "intermediate_size": 2 * shape.hidden_size,
            "num_heads": shape.heads,
            "out_hidden_size": like.config.text_config.hidden_size,
            "patch_size": shape.patch_size,
            "num_position_embeddings": 36,
            **vision,
        },
        "tie_word_embeddings": True,
        **{name: getattr(like.config, name) for name in _SPECIAL},
    }


_SHAPE = TinyModelConfig()
TINY_FAMILIES: Mapping[str, Callable[..., object]] = {
    "qwen2_5_vl": partial(write_tiny_checkpoint, config=_SHAPE),
    "qwen2_vl": partial(write_tiny_checkpoint, config=_SHAPE, build=build_qwen2_vl),
    "qwen3_vl": partial(
        write_tiny_checkpoint,
        config=replace(_SHAPE, patch_size=_QWEN3_PATCH),
        build=build_qwen3_vl,
    ),
    "qwen3_5": partial(
        write_tiny_checkpoint,
        config=replace(_SHAPE, patch_size=_QWEN3_PATCH),
        build=build_qwen3_5,
    ),
    "gemma3": write_gemma3,
}
"""`model_type` of each family to what writes a small model of it: folder, texts, and a seed."""
