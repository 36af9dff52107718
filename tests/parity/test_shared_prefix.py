"""One packed pass for a group against the stock model on every response alone behind its prompt."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from editgrpo.data.prompt import Prompt
from editgrpo.errors import DataError, TrainingError
from editgrpo.training.models import load_processor
from editgrpo.training.processor import EncodedPrompt
from editgrpo.training.shared_prefix import pack_groups, packed_log_probs
from tests.training.tiny_run import SHAPE, Tiny, gradients, largest_difference

pytestmark = pytest.mark.parity

# (height, width) of the images of three prompts, in pixels; a patch is 14, an image token 28.
IMAGES = (((56, 28), (28, 84)), ((28, 28),), ())
QUESTIONS = ("Describe the heart.", "Compare the lungs with the prior study, both views.", "Why?")


@pytest.fixture(params=["qwen2.5-vl", "qwen2-vl"])
def model(tiny: Tiny, request: pytest.FixtureRequest) -> Any:
    loaded = tiny.load() if request.param == "qwen2.5-vl" else qwen2_vl(tiny.load().config)
    add_fused_lm_head(loaded, outputs=("log_probs", "entropy"))
    return loaded.train()


def qwen2_vl(like: Any) -> Any:
    """Build a Qwen2-VL with the vocabulary and shape of the small Qwen2.5-VL."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    text = {
        name: getattr(like.text_config, name)
        for name in (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "vocab_size",
            "num_attention_heads",
            "num_key_value_heads",
            "rope_parameters",
        )
    }
    vision = {
        "depth": SHAPE.vision_layers,
        "embed_dim": SHAPE.hidden_size,
        "hidden_size": SHAPE.hidden_size,
        "num_heads": SHAPE.heads,
        "patch_size": SHAPE.patch_size,
    }
    special = {
        name: getattr(like, name)
        for name in (
            "image_token_id",
            "video_token_id",
            "vision_start_token_id",
            "vision_end_token_id",
        )
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        built = Qwen2VLForConditionalGeneration(
            Qwen2VLConfig(text_config=text, vision_config=vision, **special)
        )
        for parameter in built.parameters():  # a fresh model hardly looks at its input
            if parameter.dim() > 1:
                parameter.data.mul_(4)
    return built


@pytest.fixture
def prompts(tiny: Tiny) -> list[EncodedPrompt]:
    processor = load_processor(tiny.checkpoint)
    draw = np.random.default_rng(0)
    encoded = []
    for number, (sizes, question) in enumerate(zip(IMAGES, QUESTIONS, strict=True)):
        parts = [{"type": "image"} for _ in sizes] + [{"type": "text", "text": question}]
        pixels = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        images: tuple[Any, ...] = tuple(sizes)
        prompt = Prompt([{"role": "user", "content": parts}], images)
        encoded.append(processor.encode(f"study-{number}", prompt, pixels))
    return encoded


@pytest.fixture
def responses() -> list[list[list[int]]]:
    """Three groups of four; one response is a single token, two of a group are equal."""
    draw = np.random.default_rng(1)
    groups = [
        [draw.integers(10, 300, length).tolist() for length in lengths]
        for lengths in ((5, 1, 9, 3), (1, 2, 1, 2), (7, 7, 4, 12))
    ]
    groups[2][1] = list(groups[2][0])
    return groups


def stock_log_probs(model: Any, prompt: EncodedPrompt, response: Sequence[int]) -> torch.Tensor:
    """Score one response with the model's own forward pass, logits and all."""
    ids = torch.cat([prompt.input_ids_T, torch.tensor(response)])[None]
    images = {}
    if prompt.pixel_values is not None:
        images = {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
    is_image = torch.zeros_like(ids)
    is_image[0, : prompt.input_ids_T.shape[0]] = prompt.is_image_token_T
    logits = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=is_image.int(),
        use_cache=False,
        **images,
    ).logits[0]
    predicted = logits[prompt.input_ids_T.shape[0] - 1 : -1].log_softmax(dim=-1)
    return predicted.gather(1, torch.tensor(response)[:, None])[:, 0]


def weights_of(groups: list[list[list[int]]]) -> list[torch.Tensor]:
    """Draw one weight a token, so that a gradient cannot come out right by symmetry."""
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(len(r), generator=generator) for group in groups for r in group]


def test_log_probs_and_gradients_equal_those_of_separate_rows(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    weights = weights_of(responses)
    pairs = [(p, r) for p, group in zip(prompts, responses, strict=True) for r in group]
    separate = [stock_log_probs(model, prompt, response) for prompt, response in pairs]
    sum((w * s).sum() for w, s in zip(weights, separate, strict=True)).backward()
    expected = gradients(model)
    packed = pack_groups(model, prompts, responses, pad_token_id=0)
    log_probs, entropies = packed_log_probs(model, packed)
    rows = [row[: len(w)] for row, w in zip(log_probs, weights, strict=True)]
    sum((w * row).sum() for w, row in zip(weights, rows, strict=True)).backward()

    torch.testing.assert_close(torch.cat(rows), torch.cat(separate), rtol=0, atol=1e-5)
    assert bool((log_probs[~packed.is_response_BC] == 0).all())
    assert entropies is not None and bool((entropies[packed.is_response_BC] > 0).all())
    scale = max(float(value.abs().max()) for value in expected.values())
    difference, name = largest_difference(gradients(model), expected)
    assert difference < 1e-5 * scale, name
    vision = [value for name, value in expected.items() if "visual" in name]
    assert max(float(value.abs().max()) for value in vision) > 1e-3, "images had no influence"


def test_a_response_is_scored_the_same_in_whatever_company(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    shuffled = [[group[k] for k in (2, 0, 3, 1)] for group in reversed(responses)]
    one, _ = packed_log_probs(model, pack_groups(model, prompts, responses, pad_token_id=0))
    two, _ = packed_log_probs(model, pack_groups(model, prompts[::-1], shuffled, pad_token_id=0))
    restored = two.view(3, 4, -1).flip(0)[:, [1, 3, 0, 2]].reshape(one.shape)
    torch.testing.assert_close(one, restored, rtol=0, atol=1e-5)
    # Rows 8 and 9 are the same response twice.
    torch.testing.assert_close(one[8], one[9], rtol=0, atol=1e-5)


def test_a_response_of_weight_zero_leaves_no_gradient(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    groups, weights = [responses[0]], weights_of([responses[0]])

    def gradient(group: list[list[int]]) -> dict[str, torch.Tensor]:
        packed = pack_groups(model, prompts[:1], [group], pad_token_id=0)
        log_probs, _ = packed_log_probs(model, packed)
        for row, (weight, response) in enumerate(zip(weights, groups[0], strict=True)):
            if row != 2:
                (weight @ log_probs[row, : len(response)]).backward(retain_graph=True)
        return gradients(model)

    other = [r if k != 2 else [300 - t for t in r] for k, r in enumerate(groups[0])]
    with_other = gradient(other)
    difference, name = largest_difference(gradient(groups[0]), with_other)
    scale = max(float(value.abs().max()) for value in with_other.values())
    assert difference < 1e-5 * scale, name


def test_prompts_of_different_lengths_and_empty_images_pack(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    lengths = [p.input_ids_T.shape[0] for p in prompts]
    assert all(a != b for a, b in pairwise(lengths))
    packed = pack_groups(model, prompts, responses, pad_token_id=0)
    # Prompt without its last token, then as many columns as the group has response tokens.
    expected = [t - 1 + sum(map(len, group)) for t, group in zip(lengths, responses, strict=True)]
    assert packed.input_ids_PL.shape == (3, max(expected))
    assert packed.group_size == 4


def test_what_cannot_be_packed_is_refused(
    tiny: Tiny, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    model = tiny.load()
    with pytest.raises(TrainingError, match="same size"):
        pack_groups(model, prompts[:2], [responses[0], responses[1][:3]], pad_token_id=0)
    with pytest.raises(TrainingError, match="no token"):
        pack_groups(model, prompts[:1], [[[5], []]], pad_token_id=0)
    cut = EncodedPrompt(
        study_id="s17",
        input_ids_T=prompts[0].input_ids_T[9:],
        is_image_token_T=prompts[0].is_image_token_T[9:],
        pixel_values=prompts[0].pixel_values,
        image_grid_thw=prompts[0].image_grid_thw,
    )
    with pytest.raises(DataError, match="study s17: the prompt holds"):
        pack_groups(model, [cut], [[[5], [6]]], pad_token_id=0)
