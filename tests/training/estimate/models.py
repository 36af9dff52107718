"""Models of each family that is accounted for: small ones, and configurations as published."""

from typing import Any

from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

CLASSES = {
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
    "qwen2_vl": (Qwen2VLConfig, Qwen2VLForConditionalGeneration),
    "qwen3_vl": (Qwen3VLConfig, Qwen3VLForConditionalGeneration),
    "gemma3": (Gemma3Config, Gemma3ForConditionalGeneration),
}
QWEN = ("qwen2_5_vl", "qwen2_vl", "qwen3_vl")
FAMILIES = (*QWEN, "gemma3")

IMAGE_TOKEN, FIRST_MARK = 490, 490
MARKS = {
    "image_token_id": IMAGE_TOKEN,
    "video_token_id": 491,
    "vision_start_token_id": 492,
    "vision_end_token_id": 493,
}
SMALL_TEXT = {
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "bos_token_id": None,
    "eos_token_id": None,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [2, 3, 3],
    },
}
SMALL_VISION: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 150,
        "num_heads": 4,
        "out_hidden_size": 96,
        "fullatt_block_indexes": [1, 3],
    },
    "qwen2_vl": {"depth": 3, "embed_dim": 64, "mlp_ratio": 3, "num_heads": 4, "hidden_size": 96},
    "qwen3_vl": {
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 150,
        "num_heads": 4,
        "out_hidden_size": 96,
        "patch_size": 14,
        "num_position_embeddings": 36,
        "deepstack_visual_indexes": [0, 2],
    },
    "gemma3": {
        "hidden_size": 64,
        "intermediate_size": 150,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 112,
        "patch_size": 14,
        "vision_use_head": False,
        "model_type": "siglip_vision_model",
    },
}


def small_config(family: str, **text: Any) -> Any:
    """Configure a small model of a family.

    Args:
        family: Its `model_type`.
        **text: What differs in the language model.
    """
    layers = SMALL_TEXT | text
    if family == "gemma3":
        layers.pop("rope_parameters")
        layers |= {"head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 3}
        return Gemma3Config(
            text_config=layers,
            vision_config=SMALL_VISION[family],
            mm_tokens_per_image=16,
            image_token_index=IMAGE_TOKEN,
            boi_token_index=492,
            eoi_token_index=493,
        )
    if family == "qwen3_vl":
        rope = {**SMALL_TEXT["rope_parameters"], "mrope_interleaved": True}
        # As published, heads are wider than their share of the hidden size.
        rope["mrope_section"] = [4, 4, 4]
        layers = {
            "head_dim": 24,
            "rope_parameters": rope,
            **{name: value for name, value in layers.items() if name != "rope_parameters"},
        }
    return CLASSES[family][0](
        text_config=layers,
        vision_config=SMALL_VISION[family],
        tie_word_embeddings=True,
        **MARKS,
    )


def small_model(family: str, **text: Any) -> Any:
    """Build a small model of a family with random weights; see `small_config`."""
    return CLASSES[family][1](small_config(family, **text))


def _qwen(hidden: int, intermediate: int, layers: int, heads: int, keys: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": 151_936,
    }


def _qwen2_5_tower(out: int) -> dict[str, Any]:
    return {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": out,
    }


def _qwen2_tower(out: int) -> dict[str, Any]:
    return {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": out}


def _qwen3_tower(out: int) -> dict[str, Any]:
    return {
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "out_hidden_size": out,
        "patch_size": 16,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [5, 11, 17],
    }


_LARGE_QWEN3_TOWER = _qwen3_tower(4096) | {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "deepstack_visual_indexes": [8, 16, 24],
}
_SEVEN = _qwen(3584, 18_944, 28, 28, 4) | {"vocab_size": 152_064}
_WIDE_HEADS = {"head_dim": 128}
_GEMMA_TEXT = {
    "hidden_size": 2560,
    "intermediate_size": 10_240,
    "num_hidden_layers": 34,
    "sliding_window": 1024,
}
_SIGLIP = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
    "model_type": "siglip_vision_model",
}


def _both(family: str, text: Any, vision: Any, *, tied: bool) -> tuple[str, dict[str, Any]]:
    return family, {
        "text_config": text,
        "vision_config": vision,
        "tie_word_embeddings": tied,
    }


# What config.json of the repositories says; what is not named is the configuration's default.
PUBLISHED_CONFIGS = {
    "Qwen/Qwen2-VL-2B-Instruct": _both(
        "qwen2_vl", _qwen(1536, 8960, 28, 12, 2), _qwen2_tower(1536), tied=True
    ),
    "Qwen/Qwen2-VL-7B-Instruct": _both("qwen2_vl", _SEVEN, _qwen2_tower(3584), tied=False),
    "Qwen/Qwen2.5-VL-3B-Instruct": _both(
        "qwen2_5_vl", _qwen(2048, 11_008, 36, 16, 2), _qwen2_5_tower(2048), tied=True
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": _both("qwen2_5_vl", _SEVEN, _qwen2_5_tower(3584), tied=False),
    "Qwen/Qwen3-VL-2B-Instruct": _both(
        "qwen3_vl", _qwen(2048, 6144, 28, 16, 8) | _WIDE_HEADS, _qwen3_tower(2048), tied=True
    ),
    "Qwen/Qwen3-VL-4B-Instruct": _both(
        "qwen3_vl", _qwen(2560, 9728, 36, 32, 8) | _WIDE_HEADS, _qwen3_tower(2560), tied=True
    ),
    "Qwen/Qwen3-VL-8B-Instruct": _both(
        "qwen3_vl", _qwen(4096, 12_288, 36, 32, 8) | _WIDE_HEADS, _LARGE_QWEN3_TOWER, tied=False
    ),
    "google/gemma-3-4b-it": _both("gemma3", _GEMMA_TEXT, _SIGLIP, tied=True),
    "google/medgemma-4b-it": _both("gemma3", _GEMMA_TEXT, _SIGLIP, tied=True),
}


def published_config(name: str) -> Any:
    """Configure a model as it is published."""
    family, fields = PUBLISHED_CONFIGS[name]
    return CLASSES[family][0](**fields)
