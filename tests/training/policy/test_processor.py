"""Ids and pixels against the stock processor, and images that do not match their placeholders."""

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from editgrpo.data.prompt import Prompt
from editgrpo.errors import DataError, ModelError
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import StudyProcessor, check_image_tokens
from tests.training.small_models import encoded_by
from tests.training.tiny_run import Tiny

SIZES = ((56, 28), (28, 84), (28, 28))


@pytest.fixture
def processor(tiny: Tiny) -> StudyProcessor:
    return load_processor(tiny.checkpoint)


def images() -> list[NDArray[np.uint8]]:
    draw = np.random.default_rng(4)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def prompt_of(count: int) -> Prompt:
    parts: list[dict[str, Any]] = []
    for number in range(count):
        parts += [{"type": "text", "text": f"Image {number}: "}, {"type": "image"}]
    parts.append({"type": "text", "text": "Describe the lungs."})
    return Prompt([{"role": "user", "content": parts}], ())


def stock_processor(processor: StudyProcessor, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Build transformers' own processor; where torchvision is absent, without a video part."""
    from transformers import ProcessorMixin, Qwen2_5_VLProcessor

    if importlib.util.find_spec("torchvision") is not None:
        from transformers import Qwen2VLVideoProcessor

        video = Qwen2VLVideoProcessor(patch_size=processor.image_processor.patch_size)
        return Qwen2_5_VLProcessor(processor.image_processor, processor.tokenizer, video)
    monkeypatch.setattr(ProcessorMixin, "check_argument_for_proper_class", lambda *_: None)
    return Qwen2_5_VLProcessor(processor.image_processor, processor.tokenizer, None)


def test_ids_and_pixels_equal_those_of_the_stock_processor(
    processor: StudyProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = prompt_of(len(SIZES))
    ours = encoded_by(processor, "s", prompt, images())
    stock = stock_processor(processor, monkeypatch)
    text = processor.tokenizer.apply_chat_template(
        prompt.messages, tokenize=False, add_generation_prompt=True
    )
    theirs = stock(
        text=[text],
        images=[Image.fromarray(pixels) for pixels in images()],
        do_resize=False,
        return_tensors="pt",
    )
    assert torch.equal(ours.input_ids_T, theirs["input_ids"][0])
    assert ours.pixel_values is not None and ours.image_grid_thw is not None
    assert torch.equal(ours.pixel_values, theirs["pixel_values"])
    assert torch.equal(ours.image_grid_thw, theirs["image_grid_thw"])
    # 56 x 28, 28 x 84 and 28 x 28 pixels are 2, 3 and 1 tokens of 28 x 28.
    assert int(ours.is_image_token_T.sum()) == 6


def test_a_prompt_without_images_has_no_patches(processor: StudyProcessor) -> None:
    encoded = encoded_by(processor, "s", prompt_of(0), [])
    assert encoded.pixel_values is None and encoded.image_grid_thw is None
    assert not bool(encoded.is_image_token_T.any())
    check_image_tokens(encoded, features=0)


def test_a_template_that_loses_an_image_is_named(processor: StudyProcessor) -> None:
    with pytest.raises(DataError, match="study s9: the prompt has 2 image placeholders for 3"):
        encoded_by(processor, "s9", prompt_of(2), images())


def test_image_tokens_that_do_not_match_features_name_the_study(
    processor: StudyProcessor,
) -> None:
    encoded = encoded_by(processor, "s9", prompt_of(3), images())
    check_image_tokens(encoded, features=6)
    is_first = encoded.is_image_token_T.int().cumsum(0) == 1
    lost = encoded.is_image_token_T & ~is_first
    with pytest.raises(DataError, match="study s9: the prompt holds 5 image tokens for 6"):
        check_image_tokens(replace(encoded, is_image_token_T=lost), features=6)


def test_a_tokenizer_of_another_family_is_refused(processor: StudyProcessor) -> None:
    class Other:
        unk_token_id = None

        def convert_tokens_to_ids(self, _: str) -> None:
            return None

    with pytest.raises(ModelError, match="use a model of the Qwen2-VL family"):
        StudyProcessor(Other(), processor.image_processor)
