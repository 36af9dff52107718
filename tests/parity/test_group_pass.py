"""One packed pass for groups against the stock model on every response alone behind its prompt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from editgrpo.config import AttentionKernel, LoraConfig
from editgrpo.data.prompt import Prompt
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups, pack_groups
from editgrpo.training.policy.load import load_processor, peft_config
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.small_models import FAMILIES, encoded_by, small_model, stock_features
from tests.training.tiny_run import Tiny, gradients, largest_difference

pytestmark = pytest.mark.parity

# (height, width) of the images of three prompts, in pixels; a patch is 14, an image token 28.
IMAGES = (((56, 28), (28, 84)), ((28, 28),), ())
QUESTIONS = ("Describe the heart.", "Compare the lungs with the prior study, both views.", "Why?")
Groups = list[list[list[int]]]


@pytest.fixture(params=FAMILIES)
def model(tiny: Tiny, request: pytest.FixtureRequest) -> Any:
    loaded = small_model(request.param, tiny)
    add_group_pass(loaded, temperature=1.0)
    return loaded.train()


@pytest.fixture(params=["qwen2.5-vl", "qwen3-vl"])
def vision_model(tiny: Tiny, request: pytest.FixtureRequest) -> Any:
    loaded = small_model(request.param, tiny)
    add_group_pass(loaded, temperature=1.0)
    return loaded.train()


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
        encoded.append(encoded_by(processor, f"study-{number}", prompt, pixels))
    return encoded


def readable(model: Any, prompts: list[EncodedPrompt]) -> list[EncodedPrompt]:
    """Take the images out of the prompts for a model of text alone; their tokens stay, as text."""
    if hasattr(model.model, "get_rope_index"):
        return prompts
    return [
        replace(
            prompt,
            is_image_token_T=torch.zeros_like(prompt.is_image_token_T),
            pixel_values=None,
            image_grid_thw=None,
        )
        for prompt in prompts
    ]


@pytest.fixture
def responses() -> Groups:
    """Three groups of four; responses of one token, equal ones, and an edited one that shares its
    beginning with the rollout that it was made from."""
    draw = np.random.default_rng(1)
    groups = [
        [draw.integers(10, 300, length).tolist() for length in lengths]
        for lengths in ((5, 1, 9, 3), (1, 2, 1, 2), (7, 7, 4, 12))
    ]
    groups[2][1] = list(groups[2][0])
    groups[0][3] = [*groups[0][2][:4], *draw.integers(10, 300, 3).tolist(), groups[0][2][-1]]
    return groups


def stock_log_probs(model: Any, prompt: EncodedPrompt, response: Sequence[int]) -> torch.Tensor:
    """Score one response with the model's own forward pass, logits and all."""
    ids = torch.cat([prompt.input_ids_T, torch.tensor(response)])[None]
    inputs: dict[str, Any] = {}
    if prompt.pixel_values is not None:
        inputs = {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
    if hasattr(model.model, "get_rope_index"):
        is_image = torch.zeros_like(ids)
        is_image[0, : prompt.input_ids_T.shape[0]] = prompt.is_image_token_T
        inputs["mm_token_type_ids"] = is_image.int()
    logits = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **inputs
    ).logits[0]
    predicted = logits[prompt.input_ids_T.shape[0] - 1 : -1].float().log_softmax(dim=-1)
    return predicted.gather(1, torch.tensor(response)[:, None])[:, 0]


def weights_of(groups: Groups) -> list[torch.Tensor]:
    """Draw one weight a token, so that a gradient cannot come out right by symmetry."""
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(len(r), generator=generator) for group in groups for r in group]


def stock(
    model: Any, prompts: list[EncodedPrompt], groups: Groups
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return log-probabilities of all response tokens and the gradients of their weighted sum."""
    pairs = [(p, r) for p, group in zip(prompts, groups, strict=True) for r in group]
    separate = [
        stock_log_probs(without_adapter_wrapper(model), prompt, response)
        for prompt, response in pairs
    ]
    sum((w * s).sum() for w, s in zip(weights_of(groups), separate, strict=True)).backward()
    return torch.cat(separate), gradients(model)


def ours(
    model: Any, packed: PackedGroups, groups: Groups
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the same by packed passes."""
    log_probs, _ = packed_log_probs(model, packed)
    weights = weights_of(groups)
    rows = [row[: len(w)] for row, w in zip(log_probs, weights, strict=True)]
    sum((w * row).sum() for w, row in zip(weights, rows, strict=True)).backward()
    return torch.cat(rows), gradients(model)


def assert_same(
    found: tuple[torch.Tensor, dict[str, torch.Tensor]],
    expected: tuple[torch.Tensor, dict[str, torch.Tensor]],
) -> None:
    """Compare log-probabilities to 1e-5, gradients to 1e-5 of the largest."""
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)
    scale = max(float(value.abs().max()) for value in expected[1].values())
    difference, name = largest_difference(found[1], expected[1])
    assert scale > 1e-2, "gradients of zero would compare nothing"
    assert difference < 1e-5 * scale, f"{name}: {difference} of {scale}"


@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
def test_log_probs_and_gradients_equal_those_of_separate_rows(
    model: Any, prompts: list[EncodedPrompt], responses: Groups, kernel: AttentionKernel
) -> None:
    prompts = readable(model, prompts)
    expected = stock(model, prompts, responses)
    packed = pack_groups(model, prompts, responses, kernel=kernel)
    assert_same(ours(model, packed, responses), expected)
    vision = [value for name, value in expected[1].items() if "visual" in name]
    assert not vision or max(float(value.abs().max()) for value in vision) > 1e-3


def test_padding_is_zero_and_entropies_are_those_of_the_logits(
    model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    prompts = readable(model, prompts)
    packed = pack_groups(model, prompts, responses)
    log_probs, entropies = packed_log_probs(model, packed)
    assert bool((log_probs[~packed.is_response_BC] == 0).all())
    assert bool((entropies[~packed.is_response_BC] == 0).all())
    ids = prompts[1].input_ids_T[None]
    images = {"pixel_values": prompts[1].pixel_values, "image_grid_thw": prompts[1].image_grid_thw}
    if prompts[1].pixel_values is not None:
        images["mm_token_type_ids"] = prompts[1].is_image_token_T[None].int()
    known = {name: value for name, value in images.items() if value is not None}
    logits = model(input_ids=ids, use_cache=False, **known).logits[0, -1]
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(entropies[4, 0], expected.detach(), rtol=0, atol=1e-5)


def test_gradient_checkpointing_changes_nothing(
    vision_model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    packed = pack_groups(vision_model, prompts, responses)
    expected = ours(vision_model, packed, responses)
    vision_model.gradient_checkpointing_enable()
    assert_same(ours(vision_model, packed, responses), expected)


def test_adapters_train_alike_and_the_reference_shares_the_weights(
    vision_model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    import peft

    base = vision_model.eval()
    packed = pack_groups(base, prompts, responses)
    with torch.no_grad():
        reference, _ = packed_log_probs(base, packed)
    model = peft.get_peft_model(base, peft_config(LoraConfig(rank=4), base))
    generator = torch.Generator().manual_seed(4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first: the adapters would do nothing
            parameter.data.normal_(std=0.3, generator=generator)
    expected = stock(model, prompts, responses)
    assert_same(ours(model, packed, responses), expected)
    with torch.no_grad(), model.disable_adapter():
        without, _ = packed_log_probs(model, packed)
    torch.testing.assert_close(without, reference, rtol=0, atol=1e-6)
    with torch.no_grad():
        assert float((packed_log_probs(model, packed)[0] - reference).abs().max()) > 1e-2


def test_bfloat16_is_as_near_to_float32_as_stock_rows_are(
    vision_model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    packed = pack_groups(vision_model, prompts, responses)
    exact, _ = stock(vision_model, prompts, responses)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs, _ = stock(vision_model, prompts, responses)
        found, _ = ours(vision_model, packed, responses)
    error = float((theirs - exact).detach().abs().mean())
    assert error > 1e-4, "nothing was rounded"
    assert float((found - exact).detach().abs().mean()) < 1.5 * error


def test_a_response_is_scored_the_same_in_whatever_company(
    vision_model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    shuffled = [[group[k] for k in (2, 0, 3, 1)] for group in reversed(responses)]
    one, _ = packed_log_probs(vision_model, pack_groups(vision_model, prompts, responses))
    two, _ = packed_log_probs(vision_model, pack_groups(vision_model, prompts[::-1], shuffled))
    restored = two.view(3, 4, -1).flip(0)[:, [1, 3, 0, 2]].reshape(one.shape)
    torch.testing.assert_close(one, restored, rtol=0, atol=1e-5)
    # Rows 8 and 9 are the same response twice.
    torch.testing.assert_close(one[8], one[9], rtol=0, atol=1e-5)


def test_a_response_of_weight_zero_leaves_no_gradient(
    vision_model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    weights = weights_of([responses[0]])

    def gradient(group: list[list[int]]) -> dict[str, torch.Tensor]:
        packed = pack_groups(vision_model, prompts[:1], [group])
        log_probs, _ = packed_log_probs(vision_model, packed)
        kept = [k for k in range(4) if k != 2]
        sum(weights[k] @ log_probs[k, : len(weights[k])] for k in kept).backward()
        return gradients(vision_model)

    other = [r if k != 2 else [300 - t for t in r] for k, r in enumerate(responses[0])]
    with_other = gradient(other)
    difference, name = largest_difference(gradient(responses[0]), with_other)
    scale = max(float(value.abs().max()) for value in with_other.values())
    assert difference < 1e-5 * scale, name


def test_features_computed_before_give_the_same(
    vision_model: Any, prompts: list[EncodedPrompt], responses: Groups
) -> None:
    vision_model.model.visual.requires_grad_(False)
    with torch.no_grad():
        features = [
            None if p.pixel_values is None else stock_features(vision_model, p) for p in prompts
        ]
    expected = ours(vision_model, pack_groups(vision_model, prompts, responses), responses)
    packed = pack_groups(vision_model, prompts, responses, features=features)
    assert packed.pixel_values is None
    assert_same(ours(vision_model, packed, responses), expected)
