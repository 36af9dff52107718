"""Sampling with a shared prompt: the right distribution, whoever else is in the batch."""

from typing import Any

import pytest
import torch

from editgrpo.training.models import generation_tokens
from editgrpo.training.rollouts import SamplingSettings, sample_responses
from editgrpo.training.seeds import uniform_draws
from tests.training.tiny_run import Tiny

EOS, PAD = 2, 0


@pytest.fixture(scope="module")
def model(tiny: Tiny) -> Any:
    return tiny.load().eval()


def settings(**changes: Any) -> SamplingSettings:
    return SamplingSettings(
        **{"max_tokens": 16, "eos_token_ids": (EOS,), "pad_token_id": PAD, **changes}
    )


def draws(prompts: int, samples: int, tokens: int) -> torch.Tensor:
    rows = [[uniform_draws(0, p, k, count=tokens) for k in range(samples)] for p in range(prompts)]
    return torch.stack([torch.stack(row) for row in rows])


def test_first_tokens_follow_the_models_distribution(tiny: Tiny, model: Any) -> None:
    """4,000 equally spaced draws: the share of a token is its probability, to 1 in 4,000."""
    (prompt,) = tiny.prompts(1)
    count, temperature = 4000, 1.7
    uniforms = ((torch.arange(count, dtype=torch.float64) + 0.5) / count).reshape(1, count, 1)
    sampled = sample_responses(
        model, [prompt], uniforms, settings(max_tokens=1, temperature=temperature)
    )
    tokens = torch.tensor(sampled[0])[:, 0]
    with torch.no_grad():
        logits = model(
            input_ids=prompt.input_ids_T[None],
            pixel_values=prompt.pixel_values,
            image_grid_thw=prompt.image_grid_thw,
            mm_token_type_ids=prompt.is_image_token_T[None].int(),
        ).logits[0, -1]
    expected = (logits / temperature).softmax(dim=-1)
    shares = torch.bincount(tokens, minlength=expected.shape[0]) / count
    assert float((shares - expected).abs().max()) < 1.01 / count + 1e-6
    assert int((shares > 0).sum()) > 10, "a distribution of a few tokens would test little"


def test_random_draws_pass_a_chi_square_test(tiny: Tiny, model: Any) -> None:
    (prompt,) = tiny.prompts(1)
    hot = settings(max_tokens=1, temperature=2.0)
    even = ((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000).reshape(1, -1, 1)
    exact = torch.tensor(sample_responses(model, [prompt], even, hot)[0])[:, 0]
    drawn = torch.tensor(sample_responses(model, [prompt], draws(1, 4000, 1), hot)[0])[:, 0]
    expected = torch.bincount(exact, minlength=400).double()
    found = torch.bincount(drawn, minlength=400).double()
    common = expected >= 20
    chi2 = float(((found - expected)[common] ** 2 / expected[common]).sum())
    degrees = int(common.sum())
    # Mean `degrees`, variance twice that; five standard deviations.
    assert chi2 < degrees + 5 * (2 * degrees) ** 0.5


def test_a_row_does_not_depend_on_the_rest_of_the_batch(tiny: Tiny, model: Any) -> None:
    prompts, uniforms = tiny.prompts(4), draws(4, 3, 16)
    together = sample_responses(model, prompts, uniforms, settings())
    for number, prompt in enumerate(prompts):
        alone = sample_responses(model, [prompt], uniforms[number][None], settings())
        assert alone[0] == together[number]
    turned = sample_responses(model, prompts[::-1], uniforms.flip(0).flip(1), settings())
    assert [group[::-1] for group in turned[::-1]] == together
    assert len({tuple(response) for group in together for response in group}) > 6


def test_temperature_zero_equals_stock_greedy_generation(tiny: Tiny, model: Any) -> None:
    prompts = tiny.prompts(4)
    tokens = generation_tokens(model, tiny.encoder()[1].processor.tokenizer)
    greedy = settings(temperature=0.0, max_tokens=20, eos_token_ids=tokens.eos_token_ids)
    ours = sample_responses(model, prompts, torch.zeros(4, 1, 20), greedy)
    for prompt, (response,) in zip(prompts, ours, strict=True):
        stock = model.generate(
            input_ids=prompt.input_ids_T[None],
            attention_mask=torch.ones_like(prompt.input_ids_T)[None],
            pixel_values=prompt.pixel_values,
            image_grid_thw=prompt.image_grid_thw,
            mm_token_type_ids=prompt.is_image_token_T[None].int(),
            max_new_tokens=20,
            do_sample=False,
        )
        assert response == stock[0, prompt.input_ids_T.shape[0] :].tolist()


def test_responses_end_with_the_end_token_or_at_the_limit(tiny: Tiny, model: Any) -> None:
    sampled = sample_responses(model, tiny.prompts(4), draws(4, 6, 16), settings())
    responses = [response for group in sampled for response in group]
    assert all(EOS not in response[:-1] for response in responses)
    assert all(response[-1] == EOS or len(response) == 16 for response in responses)
    ended = {response[-1] == EOS for response in responses}
    assert ended == {True, False}, "the batch should hold both"
    one_token = sample_responses(model, tiny.prompts(1), draws(1, 3, 1), settings(max_tokens=1))
    assert [len(response) for response in one_token[0]] == [1, 1, 1]


def test_forbidden_tokens_are_never_drawn(tiny: Tiny, model: Any) -> None:
    free = sample_responses(model, tiny.prompts(2), draws(2, 8, 16), settings())
    common = sorted({t for group in free for response in group for t in response} - {EOS})[:5]
    bound = settings(forbidden_token_ids=tuple(common))
    kept = sample_responses(model, tiny.prompts(2), draws(2, 8, 16), bound)
    assert not {t for group in kept for response in group for t in response} & set(common)
    # Even the largest draw below 1 takes a token that may be drawn.
    top = torch.full((2, 1, 16), 1 - 2.0**-53, dtype=torch.float64)
    last = sample_responses(model, tiny.prompts(2), top, settings(forbidden_token_ids=(399, 398)))
    assert not {t for group in last for response in group for t in response} & {398, 399}


def test_image_tokens_are_forbidden_by_default(tiny: Tiny, model: Any) -> None:
    tokenizer = tiny.encoder()[1].processor.tokenizer
    found = generation_tokens(model, tokenizer)
    visual = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    assert set(visual) == set(found.forbidden_token_ids)
    assert found.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>") == EOS
