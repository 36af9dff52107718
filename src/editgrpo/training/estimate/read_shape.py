"""The shape of a model, read from its configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.model_files import CONFIG, read_json_object
from editgrpo.training.estimate.shapes import ModelShape, TextShape, VisionShape
from editgrpo.training.policy.families import packed_family

_GEMMA = "gemma3"


def read_shape(folder: Path) -> ModelShape:
    """Read a shape from a model folder.

    Args:
        folder: Holds `config.json`; nothing else of it is read.

    Returns:
        The shape.

    Raises:
        ModelError: the file cannot be read, or is of a family whose counts are not known.
    """
    from transformers import AutoConfig

    path = folder / CONFIG
    fields = read_json_object(path)
    with reading(str(path), "give the folder of a saved model", error=ModelError):
        config = AutoConfig.for_model(**fields)
    return shape_of(config)


def shape_of(config: Any) -> ModelShape:
    """Read the shape of a model from its configuration.

    Args:
        config: A configuration of transformers, such as `Qwen2_5_VLConfig`.

    Returns:
        The shape.

    Raises:
        ModelError: it is of a family whose counts are not known.
    """
    family = config.model_type
    if family not in _TOWERS:
        raise ModelError(
            f"model_type {family!r} is not part of the estimate; it knows {', '.join(_TOWERS)}"
        )
    return ModelShape(
        text=_text_shape(config),
        vision=_TOWERS[family](config),
        is_packed=not isinstance(packed_family(config.to_dict()), str),
        masks_prompts=family == _GEMMA,
    )


def _text_shape(config: Any) -> TextShape:
    text, family = config.text_config, config.model_type
    layer_types = list(getattr(text, "layer_types", None) or ())
    windows = layer_types.count("sliding_attention")
    return TextShape(
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        key_heads=text.num_key_value_heads,
        head_width=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        vocabulary=text.vocab_size,
        is_tied=bool(config.tie_word_embeddings),
        has_biases=family in ("qwen2_vl", "qwen2_5_vl"),
        has_head_norms=family in ("qwen3_vl", _GEMMA),
        norms=4 if family == _GEMMA else 2,
        window=text.sliding_window if windows else 0,
        window_layers=windows,
    )


def _qwen_tower(config: Any, **more: Any) -> VisionShape:
    """Read what the Qwen families name alike; `more` is what differs."""
    vision = config.vision_config
    common = {
        "layers": vision.depth,
        "hidden": vision.hidden_size,
        "patch": vision.patch_size,
        "frames": vision.temporal_patch_size,
        "merge": vision.spatial_merge_size,
    }
    return VisionShape(**(common | more))


def _qwen2_tower(config: Any) -> VisionShape:
    vision = config.vision_config
    width = vision.embed_dim  # its `hidden_size` is the width of what comes out
    intermediate = int(width * vision.mlp_ratio)
    return _qwen_tower(config, hidden=width, intermediate=intermediate, out=vision.hidden_size)


def _qwen2_5_tower(config: Any) -> VisionShape:
    vision = config.vision_config
    return _qwen_tower(
        config,
        window_layers=vision.depth - len(vision.fullatt_block_indexes),
        intermediate=vision.intermediate_size,
        out=vision.out_hidden_size,
        window=vision.window_size,
        is_gated=True,
        has_mean_norms=False,
    )


def _qwen3_tower(config: Any) -> VisionShape:
    vision = config.vision_config
    return _qwen_tower(
        config,
        intermediate=vision.intermediate_size,
        out=vision.out_hidden_size,
        has_patch_bias=True,
        positions=vision.num_position_embeddings,
        levels=1 + len(vision.deepstack_visual_indexes),
    )


def _gemma_tower(config: Any) -> VisionShape:
    vision = config.vision_config
    side = vision.image_size // vision.patch_size
    return VisionShape(
        layers=vision.num_hidden_layers,
        hidden=vision.hidden_size,
        intermediate=vision.intermediate_size,
        out=config.text_config.hidden_size,
        patch=vision.patch_size,
        frames=1,
        merge=side // int(config.mm_tokens_per_image**0.5),
        has_patch_bias=True,
        positions=side**2,
        is_pooled=True,
    )


_TOWERS: dict[str, Callable[[Any], VisionShape]] = {
    "qwen2_vl": _qwen2_tower,
    "qwen2_5_vl": _qwen2_5_tower,
    "qwen3_vl": _qwen3_tower,
    _GEMMA: _gemma_tower,
}
