"""Small models of the families that the packed pass supports, with the vocabulary of the small
checkpoint of tiny_run.py."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from editgrpo.data.prompt import Prompt
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import EncodedPrompt, StudyProcessor
from editgrpo.training.policy.tiny import TinyModelConfig
from editgrpo.training.tiny_models import build_qwen2_vl, build_qwen3_vl
from tests.training.tiny_run import SHAPE, Tiny, teach

_TEXT = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "vocab_size",
    "num_attention_heads",
    "num_key_value_heads",
)
WITH_IMAGES = ("qwen2.5-vl", "qwen2-vl", "qwen3-vl")
FAMILIES = (*WITH_IMAGES, "qwen2")


def small_model(family: str, tiny: Tiny) -> Any:
    """Build a float32 model of one of `FAMILIES`; qwen2 is of text alone."""
    like = tiny.load()
    if family == "qwen2.5-vl":
        return like
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        built = _BUILDERS[family](like, SHAPE)
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


def _qwen2(like: Any, _: TinyModelConfig) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    text = {name: getattr(like.config.text_config, name) for name in _TEXT}
    return Qwen2ForCausalLM(Qwen2Config(**text, tie_word_embeddings=True))


def encoded_by(
    processor: StudyProcessor, study_id: str, prompt: Prompt, images: Sequence[NDArray[np.uint8]]
) -> EncodedPrompt:
    """Encode a prompt with (H, W, 3) images, in the order shown."""
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    return processor.assemble(study_id, prompt, sizes, [processor.patches(one) for one in images])


def stock_features(model: Any, prompt: EncodedPrompt) -> Tensor:
    """Return what the stock backbone makes of a prompt's images, (N, D (1 + K)): the features that
    stand for embeddings, and beside them those of DeepStack."""
    encoded = model.model.get_image_features(prompt.pixel_values, prompt.image_grid_thw)
    levels = [encoded.pooler_output, *getattr(encoded, "deepstack_features", ())]
    return torch.cat([torch.cat(list(level)) for level in levels], dim=1)


_BUILDERS = {"qwen2-vl": build_qwen2_vl, "qwen3-vl": build_qwen3_vl, "qwen2": _qwen2}


def look_closely(model: Any, *, language: float) -> None:
    """Let a model look around and at its films: one so small hardly does, unlike a true one."""
    for name, parameter in model.model.language_model.layers.named_parameters():
        if "self_attn" in name:
            parameter.data.mul_(language)
    for name, parameter in model.model.visual.named_parameters():
        if "attn" in name or "merger" in name:
            parameter.data.mul_(3)
