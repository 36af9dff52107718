"""Parameters of every known model, held to the real one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.errors import ModelError
from editgrpo.training.estimate.published import PUBLISHED
from editgrpo.training.estimate.read_shape import read_shape, shape_of
from editgrpo.training.estimate.workload import Studies
from editgrpo.training.policy.families import family_of
from tests.training.estimate.models import (
    CLASSES,
    FAMILIES,
    PUBLISHED_CONFIGS,
    published_config,
    small_config,
    small_model,
)

# Numbers in the weight files of the repositories, a tied head once.
IN_WEIGHT_FILES = {
    "Qwen/Qwen2-VL-2B-Instruct": 2_208_985_600,
    "Qwen/Qwen2-VL-7B-Instruct": 8_291_375_616,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen3-VL-2B-Instruct": 2_127_532_032,
    "Qwen/Qwen3-VL-4B-Instruct": 4_437_815_808,
    "Qwen/Qwen3-VL-8B-Instruct": 8_767_123_696,
    "google/gemma-3-4b-it": 4_300_079_472,
}


def without_memory(config: Any) -> Any:
    """Build a model on the meta device."""
    with torch.device("meta"):
        model = CLASSES[config.model_type][1](config)
    model.tie_weights()
    return model


def tower_parameters(model: Any) -> int:
    """Count what `model.freeze_vision_tower` freezes."""
    tower = family_of(model).tower(model.model)
    assert tower is not None
    return sum(parameter.numel() for parameter in tower.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_known_model_has_the_parameters_of_the_real_one(name: str) -> None:
    config = published_config(name)
    shape, model = PUBLISHED[name], without_memory(config)
    assert shape_of(config) == shape
    assert shape.parameters == model.num_parameters()
    head = 0 if shape.text.is_tied else model.get_output_embeddings().weight.numel()
    assert shape.text.parameters == model.model.language_model.num_parameters() + head
    assert shape.vision.parameters == tower_parameters(model)
    assert IN_WEIGHT_FILES.get(name, shape.parameters) == shape.parameters


def test_every_known_model_is_compared() -> None:
    assert set(PUBLISHED) == set(PUBLISHED_CONFIGS)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_small_model_has_the_parameters_of_the_real_one(family: str) -> None:
    model = small_model(family)
    shape = shape_of(model.config)
    assert shape.parameters == model.num_parameters()
    assert shape.vision.parameters == tower_parameters(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_is_read_from_a_folder(family: str, tmp_path: Path) -> None:
    config = small_config(family)
    config.save_pretrained(tmp_path)
    assert read_shape(tmp_path) == shape_of(config)


def test_another_family_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "idefics3"}))
    with pytest.raises(ModelError, match="model_type 'idefics3' is not part of the estimate"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "none"}))
    with pytest.raises(ModelError, match=r"config\.json: .*give the folder of a saved model"):
        read_shape(tmp_path)


def test_images_have_the_tokens_that_their_pixels_give() -> None:
    assert Studies().pixels == PixelBudget().max_pixels
    # 401,408 pixels: 512 tokens of 28 x 28, 392 of 32 x 32; Gemma resizes all to 896 x 896, which
    # are 64 x 64 patches of 14 in tokens of 4 x 4.
    found = {
        name: PUBLISHED[name].vision.image_tokens(401_408)
        for name in ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen3-VL-2B-Instruct",
                     "google/medgemma-4b-it")
    }  # fmt: skip
    assert list(found.values()) == [512, 392, 256]
    # 1,000 pixels are one token of 784 and a rest; of its patches only whole tokens count.
    assert PUBLISHED["Qwen/Qwen2.5-VL-3B-Instruct"].vision.image_patches(1000) == 4


def test_what_the_families_refuse_to_pack_is_not_packed() -> None:
    config = small_config("gemma3")
    assert shape_of(config).is_packed
    config.text_config.final_logit_softcapping = 30.0
    assert not shape_of(config).is_packed
