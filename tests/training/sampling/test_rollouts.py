"""Sampling with a shared prompt: the right distribution, whoever else is in the batch."""

import shutil
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from editgrpo.errors import DataError, ModelError
from editgrpo.training.policy.generation_tokens import SamplingSettings, generation_tokens
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling import rollouts
from editgrpo.training.sampling.key_values import SharedKeyValues
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.seeds import uniform_draws
from tests.training.sampling.test_decoding import stock_log_probs, text_prompt
from tests.training.small_models import (
    FAMILIES,
    WITH_IMAGES,
    small_model,
    stock_features,
)
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


@pytest.mark.slow
def test_a_row_does_not_depend_on_the_rest_of_the_batch(tiny: Tiny, model: Any) -> None:
    prompts, uniforms = tiny.prompts(4), draws(4, 3, 16)
    together = sample_responses(model, prompts, uniforms, settings())
    for number, prompt in enumerate(prompts):
        alone = sample_responses(model, [prompt], uniforms[number][None], settings())
        assert alone[0] == together[number]
    turned = sample_responses(model, prompts[::-1], uniforms.flip(0).flip(1), settings())
    assert [group[::-1] for group in turned[::-1]] == together
    assert len({tuple(response) for group in together for response in group}) > 6


@pytest.mark.slow
@pytest.mark.parametrize("limit", [50, 16_384])
def test_every_token_is_the_one_its_draw_stands_for(tiny: Tiny, model: Any, limit: int) -> None:
    """The draw lies between the stock model's probability of all tokens before it and with it."""
    prompts, uniforms = [*tiny.prompts(3), text_prompt(7)], draws(4, 3, 16)
    sampled = sample_responses(model, prompts, uniforms, settings(), tokens_per_pass=limit)
    stock = tiny.load().eval()
    for prompt, group, rows in zip(prompts, sampled, uniforms, strict=True):
        for response, row in zip(group, rows, strict=True):
            tokens = torch.tensor(response)
            log_probs = stock_log_probs(stock, prompt, tokens)[:-1]
            below = log_probs.double().exp().cumsum(dim=-1)
            upper = below.gather(1, tokens[:, None])[:, 0]
            lower = upper - log_probs.exp().gather(1, tokens[:, None])[:, 0]
            drawn = row[: len(response)]
            assert ((lower - 1e-5 <= drawn) & (drawn <= upper + 1e-5)).all()


@pytest.mark.slow
def test_tokens_do_not_depend_on_the_layout_of_the_grid(
    tiny: Tiny, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of many lengths: with a grid that shrinks and grows often, and one that never does."""
    prompts, uniforms = tiny.prompts(10), draws(10, 3, 16)
    ending = settings(eos_token_ids=tuple(range(0, 400, 6)))
    shrunk = []
    select = SharedKeyValues.select

    def counted(self: Any, prompt_P: torch.Tensor, row_PK: torch.Tensor) -> None:
        shrunk.append(tuple(row_PK.shape))
        select(self, prompt_P, row_PK)

    monkeypatch.setattr(SharedKeyValues, "select", counted)
    monkeypatch.setattr(rollouts, "_BLOCK", 3)
    expected = sample_responses(model, prompts, uniforms, ending)
    sizes = [p * k for p, k in [(10, 3), *shrunk]]
    assert len(sizes) > 2 and all(2 * b <= a for a, b in pairwise(sizes))
    monkeypatch.setattr(rollouts, "_BLOCK", 16)
    monkeypatch.setattr(rollouts._Grid, "_shrink", lambda _, tokens_PK: tokens_PK)
    assert sample_responses(model, prompts, uniforms, ending) == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_decoding_draws_the_same_tokens(tiny: Tiny, model: Any) -> None:
    """Grids of other sizes and other prompts go through the code that the first call compiled."""
    torch.compiler.reset()  # of what earlier tests compiled
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]
    for first, last in ((0, 4), (4, 9)):
        prompts, uniforms = tiny.prompts(9)[first:last], draws(9, 3, 16)[first:last]
        long = settings(eos_token_ids=())
        expected = sample_responses(model, prompts, uniforms, long)
        assert sample_responses(model, prompts, uniforms, long, compiled=True) == expected
    assert counters["unique_graphs"] == before + 1


@pytest.mark.slow
@pytest.mark.parametrize("family", WITH_IMAGES)
def test_features_are_used_in_place_of_pixels(tiny: Tiny, family: str) -> None:
    model = small_model(family, tiny).eval()
    prompts, uniforms = [*tiny.prompts(2), text_prompt(7, 9)], draws(3, 2, 16)
    features = [stock_features(model, prompt) for prompt in prompts[:2]]
    given = sample_responses(model, prompts, uniforms, settings(), features=[*features, None])
    assert given == sample_responses(model, prompts, uniforms, settings())
    wrong = [-features[0], -features[1], None]
    other = sample_responses(model, prompts, uniforms, settings(), features=wrong)
    assert other[:2] != given[:2] and other[2] == given[2]


def test_image_tokens_without_their_images_are_an_error(tiny: Tiny, model: Any) -> None:
    (prompt,) = tiny.prompts(1)
    cut = replace(prompt, pixel_values=None, image_grid_thw=None)
    with pytest.raises(DataError, match=f"study {prompt.study_id}"):
        sample_responses(model, [cut], draws(1, 1, 16), settings())


def test_all_rows_may_end_at_their_first_token(tiny: Tiny, model: Any) -> None:
    anything = tuple(range(400))
    ended = sample_responses(
        model, tiny.prompts(2), draws(2, 3, 16), settings(eos_token_ids=anything)
    )
    free = sample_responses(model, tiny.prompts(2), draws(2, 3, 16), settings())
    assert ended == [[response[:1] for response in group] for group in free]


def stock_greedy(model: Any, prompt: EncodedPrompt, tokens: int, eos: list[int]) -> list[int]:
    images: dict[str, Any] = {}
    if prompt.pixel_values is not None:
        images = {
            "pixel_values": prompt.pixel_values,
            "image_grid_thw": prompt.image_grid_thw,
            "mm_token_type_ids": prompt.is_image_token_T[None].int(),
        }
    generated = model.generate(
        input_ids=prompt.input_ids_T[None],
        attention_mask=torch.ones_like(prompt.input_ids_T)[None],
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=PAD,
        **images,
    )
    return generated[0, prompt.input_ids_T.shape[0] :].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_temperature_zero_equals_stock_greedy_generation(tiny: Tiny, family: str) -> None:
    """What ends a response are tokens that the model likes, so that responses differ in length."""
    model, stock = small_model(family, tiny).eval(), small_model(family, tiny).eval()
    if family == "qwen2":  # its head is its embedding, and says the last token again and again
        weight = torch.randn(400, 32, generator=torch.Generator().manual_seed(1))
        model.lm_head.weight = stock.lm_head.weight = torch.nn.Parameter(weight)
    prompts = [text_prompt(7), text_prompt(100, 42, 17, 300, 5)]
    prompts += [] if family == "qwen2" else tiny.prompts(4)
    endless = [stock_greedy(stock, prompt, 20, [399]) for prompt in prompts]
    eos = sorted({endless[0][5], endless[-1][9]})
    greedy = settings(temperature=0.0, max_tokens=20, eos_token_ids=tuple(eos))
    ours = sample_responses(model, prompts, torch.zeros(len(prompts), 1, 20), greedy)
    expected = [stock_greedy(stock, prompt, 20, eos) for prompt in prompts]
    assert [group[0] for group in ours] == expected
    assert len({len(response) for response in expected}) > 1


@pytest.mark.slow
def test_responses_end_with_the_end_token_or_at_the_limit(tiny: Tiny, model: Any) -> None:
    sampled = sample_responses(model, tiny.prompts(4), draws(4, 6, 16), settings())
    responses = [response for group in sampled for response in group]
    assert all(EOS not in response[:-1] for response in responses)
    assert all(response[-1] == EOS or len(response) == 16 for response in responses)
    ended = {response[-1] == EOS for response in responses}
    assert ended == {True, False}, "the batch should hold both"
    one_token = sample_responses(model, tiny.prompts(1), draws(1, 3, 1), settings(max_tokens=1))
    assert [len(response) for response in one_token[0]] == [1, 1, 1]


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("named", [{"a": 1}, [[7]], ["7"], [7, None], -1, True])
def test_an_end_token_that_is_none_is_refused(
    tiny: Tiny, model: Any, monkeypatch: pytest.MonkeyPatch, named: Any
) -> None:
    """Of a damaged generation_config.json; taken as it is, a report would never end there."""
    monkeypatch.setattr(model.generation_config, "eos_token_id", named)
    with pytest.raises(
        ModelError, match=r"generation_config\.json: eos_token_id is .*; it must be"
    ):
        generation_tokens(model, tiny.encoder()[1].processor.tokenizer)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_draws_the_same_tokens(tiny: Tiny, model: Any, compiled: bool) -> None:
    prompts, uniforms = tiny.prompts(4), draws(4, 3, 16)
    expected = sample_responses(model, prompts, uniforms, settings())
    there = tiny.load().eval().cuda()
    found = sample_responses(there, prompts, uniforms, settings(), compiled=compiled)
    assert found == expected
