"""Shapes of known models, from the `config.json` of the repository of the Hub that bears the name.

Shapes are facts that do not change under a name; tests/training/estimate/test_shapes.py builds each
of these models without memory (torch's meta device) and compares every count.
"""

from collections.abc import Mapping
from dataclasses import replace

from editgrpo.training.estimate.shapes import ModelShape, TextShape, VisionShape

_QWEN2_5_TOWER = VisionShape(
    layers=32,
    window_layers=28,  # all but 7, 15, 23 and 31
    hidden=1280,
    intermediate=3420,
    out=2048,
    patch=14,
    frames=2,
    merge=2,
    window=112,
    is_gated=True,
    has_mean_norms=False,
)
QWEN2_5_VL_3B = ModelShape(
    text=TextShape(
        hidden=2048,
        intermediate=11_008,
        layers=36,
        heads=16,
        key_heads=2,
        head_width=128,
        vocabulary=151_936,
        is_tied=True,
        has_biases=True,
    ),
    vision=_QWEN2_5_TOWER,
)
_QWEN2_5_VL_7B = ModelShape(
    text=replace(
        QWEN2_5_VL_3B.text,
        hidden=3584,
        intermediate=18_944,
        layers=28,
        heads=28,
        key_heads=4,
        vocabulary=152_064,
        is_tied=False,
    ),
    vision=replace(_QWEN2_5_TOWER, out=3584),
)
_QWEN2_TOWER = VisionShape(
    layers=32,
    hidden=1280,
    intermediate=5120,
    out=1536,
    patch=14,
    frames=2,
    merge=2,
)
_QWEN2_VL_2B = ModelShape(
    text=replace(QWEN2_5_VL_3B.text, hidden=1536, intermediate=8960, layers=28, heads=12),
    vision=_QWEN2_TOWER,
)
_QWEN2_VL_7B = ModelShape(text=_QWEN2_5_VL_7B.text, vision=replace(_QWEN2_TOWER, out=3584))
_QWEN3_TOWER = VisionShape(
    layers=24,
    hidden=1024,
    intermediate=4096,
    out=2048,
    patch=16,
    frames=2,
    merge=2,
    has_patch_bias=True,
    positions=2304,
    levels=4,
)
_QWEN3_VL_2B = ModelShape(
    text=TextShape(
        hidden=2048,
        intermediate=6144,
        layers=28,
        heads=16,
        key_heads=8,
        head_width=128,
        vocabulary=151_936,
        is_tied=True,
        has_head_norms=True,
    ),
    vision=_QWEN3_TOWER,
)
_QWEN3_VL_4B = ModelShape(
    text=replace(_QWEN3_VL_2B.text, hidden=2560, intermediate=9728, layers=36, heads=32),
    vision=replace(_QWEN3_TOWER, out=2560),
)
_QWEN3_VL_8B = ModelShape(
    text=replace(_QWEN3_VL_4B.text, hidden=4096, intermediate=12_288, is_tied=False),
    vision=replace(_QWEN3_TOWER, layers=27, hidden=1152, intermediate=4304, out=4096),
)
_GEMMA_3_4B = ModelShape(
    text=TextShape(
        hidden=2560,
        intermediate=10_240,
        layers=34,
        heads=8,
        key_heads=4,
        head_width=256,
        vocabulary=262_208,
        is_tied=True,
        has_head_norms=True,
        norms=4,
        window=1024,
        window_layers=29,  # all but every sixth
    ),
    vision=VisionShape(
        layers=27,
        hidden=1152,
        intermediate=4304,
        out=2560,
        patch=14,
        frames=1,
        merge=4,
        has_patch_bias=True,
        positions=4096,  # 896 x 896 pixels
        is_pooled=True,
    ),
    masks_prompts=True,
)

PUBLISHED: Mapping[str, ModelShape] = {
    "Qwen/Qwen2-VL-2B-Instruct": _QWEN2_VL_2B,
    "Qwen/Qwen2-VL-7B-Instruct": _QWEN2_VL_7B,
    "Qwen/Qwen2.5-VL-3B-Instruct": QWEN2_5_VL_3B,
    "Qwen/Qwen2.5-VL-7B-Instruct": _QWEN2_5_VL_7B,
    "Qwen/Qwen3-VL-2B-Instruct": _QWEN3_VL_2B,
    "Qwen/Qwen3-VL-4B-Instruct": _QWEN3_VL_4B,
    "Qwen/Qwen3-VL-8B-Instruct": _QWEN3_VL_8B,
    "google/gemma-3-4b-it": _GEMMA_3_4B,
    "google/medgemma-4b-it": _GEMMA_3_4B,
}
"""Id on the Hub, and the shape."""
