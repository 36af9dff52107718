"""vLLM behind TRL: TRL's own code runs here, against a vLLM that is played (played_vllm.py).

vLLM itself needs a GPU. In the training process its `LLM` class is played, over HTTP its server;
what is between, `VLLMGeneration` and `VLLMClient`, is TRL's.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from trl import GRPOTrainer
from trl.generation import vllm_client, vllm_generation
from trl.generation.vllm_generation import VLLMGeneration

from editgrpo.data.prompt import Prompt
from editgrpo.errors import DataError, TrainingError
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.processor import EncodedPrompt, StudyProcessor
from editgrpo.training.policy.tiny import train_tokenizer
from editgrpo.training.sampling.sampler import SampledResponse
from editgrpo.training.sampling.vllm_engine import VLLMSampler, collapse_runs
from tests.training.sampling.played_vllm import (
    END,
    PlayedLLM,
    PlayedServer,
    alone,
    pictures_of,
    play_vllm,
)
from tests.training.small_models import encoded_by
from tests.training.test_trl_seams import HINT, parameters, source

IMAGE = 5
VIDEO = 6
SETTINGS = SamplingSettings(
    max_tokens=4, eos_token_ids=(END,), pad_token_id=0, forbidden_token_ids=(IMAGE, VIDEO)
)
SIZES = ((56, 84), (84, 56))
Images = list[NDArray[np.uint8]]


# Prompts and images as vLLM takes them --------------------------------------------------------


@pytest.fixture(scope="module")
def processor() -> StudyProcessor:
    from transformers import Qwen2VLImageProcessorPil

    tokenizer = train_tokenizer(["Describe the heart of the patient."], 300)
    return StudyProcessor(tokenizer, Qwen2VLImageProcessorPil(patch_size=14))


@pytest.fixture(scope="module")
def images() -> Images:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def prompts(processor: StudyProcessor, images: Images) -> list[EncodedPrompt]:
    """Two studies, one with two images of 2 x 3 and 3 x 2 tokens, one without."""
    return [encode(processor, "s1", images), encode(processor, "s2", [])]


def encode(processor: StudyProcessor, study_id: str, images: Images) -> EncodedPrompt:
    parts = [{"type": "image"} for _ in images] + [{"type": "text", "text": "heart?"}]
    prompt = Prompt(messages=({"role": "user", "content": parts},), images=())
    return encoded_by(processor, study_id, prompt, images)


def test_a_run_of_image_tokens_becomes_one() -> None:
    assert collapse_runs([5, 5, 1, 3, 5, 4, 5, 5, 5], 5) == [5, 1, 3, 5, 4, 5]
    assert collapse_runs([1, 1, 2], 5) == [1, 1, 2]
    assert collapse_runs([], 5) == []


# vLLM in the training process -----------------------------------------------------------------


def generation(**arguments: Any) -> VLLMGeneration:
    model = torch.nn.Linear(2, 1)
    model.name_or_path = "folder"
    settings = {"max_completion_length": 4, "temperature": 0.7, **arguments}
    return VLLMGeneration(model, alone(), SimpleNamespace(), **settings)


def sampler_of(connected: VLLMGeneration, processor: StudyProcessor) -> VLLMSampler:
    """Return a sampler; `sample` below gives it its images."""
    return VLLMSampler(connected, processor, SETTINGS, pixels=lambda prompt: [], importance_cap=3.0)


def sample(
    sampler: VLLMSampler,
    step: int,
    prompts: Sequence[EncodedPrompt],
    images_P: Sequence[Images],
    samples: int,
) -> list[list[SampledResponse]]:
    """Sample for prompts whose images are at hand."""
    at_hand = {prompt.study_id: shown for prompt, shown in zip(prompts, images_P, strict=True)}
    sampler._pixels = lambda prompt: at_hand[prompt.study_id]
    asked = [SimpleNamespace(prompt=prompt, features=None) for prompt in prompts]
    return sampler.sample(step, asked, range(samples))


@pytest.fixture
def colocate(monkeypatch: pytest.MonkeyPatch, processor: StudyProcessor) -> Iterator[VLLMSampler]:
    play_vllm(monkeypatch)
    yield sampler_of(generation(enable_sleep_mode=True), processor)


def llm(sampler: VLLMSampler) -> PlayedLLM:
    played: PlayedLLM = sampler._generation.llm
    return played


def test_colocated_vllm_gets_one_placeholder_an_image_and_the_very_pixels(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], images: Images
) -> None:
    sample(colocate, 0, prompts, [images, []], 2)
    told = llm(colocate).prompts
    assert len(told) == 4
    # vLLM would expand each of the 12 image tokens; it must find one for each of the two images.
    assert [row["prompt_token_ids"].count(IMAGE) for row in told] == [2, 2, 0, 0]
    assert told[0]["prompt_token_ids"] == collapse_runs(prompts[0].input_ids_T.tolist(), IMAGE)
    assert told[2] == {"prompt_token_ids": prompts[1].input_ids_T.tolist()}
    shown = told[1]["multi_modal_data"]["image"]
    for picture, pixels in zip(shown, images, strict=True):
        assert np.array_equal(np.asarray(picture), pixels)


def test_colocated_vllm_gets_the_weights_once_a_step_and_forgets_its_prefixes(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], images: Images
) -> None:
    played = llm(colocate)
    assert played.calls == ["sleep 2"]
    sample(colocate, 3, prompts, [images, []], 1)
    once = ["wake weights", "reset", "wake kv_cache", "generate", "sleep 2"]
    assert played.calls[1:] == once
    assert torch.equal(played.weights["weight"], colocate._generation.model.weight)
    with torch.no_grad():
        colocate._generation.model.weight.add_(1)
    sample(colocate, 4, prompts, [images, []], 1)
    assert played.calls[6:] == once
    assert torch.equal(played.weights["weight"], colocate._generation.model.weight)


def test_without_sleep_a_second_part_of_a_step_needs_no_weights(
    monkeypatch: pytest.MonkeyPatch, processor: StudyProcessor, prompts: list[EncodedPrompt]
) -> None:
    play_vllm(monkeypatch)
    sampler = sampler_of(generation(), processor)
    for step in (0, 0, 1):
        sample(sampler, step, prompts[1:], [[]], 1)
    assert llm(sampler).calls == ["reset", "generate", "generate", "reset", "generate"]


def test_sampling_is_told_to_vllm(colocate: VLLMSampler, prompts: list[EncodedPrompt]) -> None:
    sample(colocate, 0, prompts[1:], [[]], 2)
    told = llm(colocate).sampling
    assert told["logit_bias"] == {IMAGE: -100.0, VIDEO: -100.0}
    assert (told["temperature"], told["max_tokens"], told["n"]) == (0.7, 4, 1)
    assert told["logprobs"] == 0  # that of the sampled token alone
    assert (told["top_p"], told["top_k"], told["min_p"], told["repetition_penalty"]) == (1, 0, 0, 1)
    assert llm(colocate).arguments["logprobs_mode"] == "processed_logprobs"


def test_responses_come_back_by_prompt_with_their_log_probs(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], images: Images
) -> None:
    answers = iter([[(7, -0.5), (END, -1.0)], [(END, -2.0)], [(8, -3.0)] * 4, [(9, math.nan)] * 4])
    llm(colocate).answer = lambda _: next(answers)
    sampled = sample(colocate, 0, prompts, [images, []], 2)
    assert sampled[0] == [
        SampledResponse((7, END), (-0.5, -1.0)),
        SampledResponse((END,), (-2.0,)),
    ]
    assert sampled[1][0] == SampledResponse((8, 8, 8, 8), (-3.0,) * 4)  # cut at the length limit
    assert all(math.isnan(value) for value in sampled[1][1].log_probs)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "study s2: vLLM gave 0 tokens"),
        ([(7, -1.0)], "cut at 1 tokens; raise rollout.vllm.max_model_length"),
        ([(END, -1.0), (7, -1.0)], "goes on after its end"),
        ([(7, -1.0)] * 5, "goes on after its end"),
        ([(IMAGE, -1.0), (END, -1.0)], "with an image token"),
    ],
)
def test_an_answer_that_cannot_be_trained_on_ends_the_run(
    colocate: VLLMSampler,
    prompts: list[EncodedPrompt],
    answer: list[tuple[int, float]],
    message: str,
) -> None:
    llm(colocate).answer = lambda _: answer
    with pytest.raises(TrainingError, match=message):
        sample(colocate, 0, prompts[1:], [[]], 1)


def test_missing_log_probs_end_the_run(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_generation, "extract_logprobs", lambda _: (None, None))
    with pytest.raises(TrainingError, match="asked for 2 responses with log-prob"):
        sample(colocate, 0, prompts[1:], [[]], 2)


def test_of_several_log_probs_that_of_the_token_counts(
    colocate: VLLMSampler, prompts: list[EncodedPrompt]
) -> None:
    """If asked for likelier tokens too, vLLM ranks them before the one that was drawn."""
    checked = colocate._response("s", [8, END], [[-0.1, -2.5], [-0.3]], [[7, 8], [END]])
    assert checked.log_probs == (-2.5, -0.3)
    with pytest.raises(TrainingError, match="of other tokens"):
        colocate._response("s", [8, END], [[-0.1], [-0.3]], [[7], [END]])


# Images that vLLM would change ----------------------------------------------------------------


def test_images_that_do_not_belong_to_the_prompt_are_named(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], images: Images
) -> None:
    with pytest.raises(DataError, match="study s1: 1 images are at hand for a prompt of 2"):
        sample(colocate, 0, prompts[:1], [images[:1]], 1)
    with pytest.raises(DataError, match="study s1: an image of 56 x 84 pixels is at hand for one"):
        sample(colocate, 0, prompts[:1], [images[::-1]], 1)


def test_an_image_that_vllm_would_resize_is_named(
    colocate: VLLMSampler, processor: StudyProcessor
) -> None:
    small = [np.zeros((28, 28, 3), dtype=np.uint8)]  # 784 pixels; the processor's least is 3,136
    with pytest.raises(DataError, match="study s3: vLLM would resize an image of 28 x 28"):
        sample(colocate, 0, [encode(processor, "s3", small)], [small], 1)


def test_images_side_by_side_are_refused(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], images: Images
) -> None:
    ids = prompts[0].input_ids_T
    is_apart = (ids != 3) & (ids != 4)  # the markers before and behind an image
    joined = EncodedPrompt(
        study_id="s1",
        input_ids_T=ids[is_apart],
        is_image_token_T=prompts[0].is_image_token_T[is_apart],
        pixel_values=prompts[0].pixel_values,
        image_grid_thw=prompts[0].image_grid_thw,
    )
    with pytest.raises(DataError, match="study s1: its images are side by side"):
        sample(colocate, 0, [joined], [images], 1)


# A server -------------------------------------------------------------------------------------


@pytest.fixture
def remote(server: PlayedServer, processor: StudyProcessor) -> VLLMSampler:
    connected = generation(mode="server", server_base_url=server.url, server_timeout=0)
    return sampler_of(connected, processor)


def test_the_server_gets_the_very_pixels_and_finds_them_at_the_image_tokens(
    remote: VLLMSampler, server: PlayedServer, prompts: list[EncodedPrompt], images: Images
) -> None:
    sampled = sample(remote, 0, prompts, [images, []], 2)
    (rendered,) = server.told("/v1/chat/completions/render")  # once, not once a sample
    for received, pixels in zip(pictures_of(rendered), images, strict=True):
        assert np.array_equal(received, pixels)
    asked = {len(body["token_ids"]): body for body in server.told("/inference/v1/generate")}
    ids = prompts[0].input_ids_T.tolist()
    body = asked[len(ids)]
    assert body["token_ids"] == ids
    places = body["features"]["mm_placeholders"]["image"]
    assert [place["length"] for place in places] == [6, 6]
    for place in places:
        run = ids[place["offset"] : place["offset"] + place["length"]]
        assert run == [IMAGE] * 6
    assert body["sampling_params"]["n"] == 2
    assert body["sampling_params"]["temperature"] == 0.7
    assert body["sampling_params"]["logit_bias"] == {str(IMAGE): -100.0, str(VIDEO): -100.0}
    assert asked[len(prompts[1].input_ids_T)]["features"] is None
    both = [SampledResponse((10, END), (-0.5, -0.25)), SampledResponse((11, END), (-1.5, -0.25))]
    assert sampled == [both, both]


def test_prompts_without_images_go_to_the_server_in_one_request(
    remote: VLLMSampler, server: PlayedServer, prompts: list[EncodedPrompt]
) -> None:
    sampled = sample(remote, 0, [prompts[1], prompts[1]], [[], []], 3)
    (body,) = server.told("/v1/completions")
    assert body["prompt"] == [prompts[1].input_ids_T.tolist()] * 2
    assert [one.token_ids for one in sampled[1]] == [(10, END), (11, END), (12, END)]


def test_the_server_gets_the_weights_once_a_step_and_forgets_its_prefixes(
    remote: VLLMSampler, server: PlayedServer, prompts: list[EncodedPrompt]
) -> None:
    for step in (0, 0, 1):
        sample(remote, step, prompts[1:], [[]], 1)
    update = ["/start_weight_update", "/update_weights", "/finish_weight_update"]
    once = [*update, "/reset_prefix_cache", "/v1/completions"]
    assert [path for path, _ in server.requests] == [*once, "/v1/completions", *once]
    (first, _) = server.told("/update_weights")
    assert first["update_info"]["names"] == ["weight", "bias"]


def test_a_server_that_dies_is_one_line(
    remote: VLLMSampler, prompts: list[EncodedPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise vllm_client.ConnectionError("refused\nby the other side")

    monkeypatch.setattr(remote._generation.vllm_client, "generate", fail)
    with pytest.raises(TrainingError, match="does not answer any more") as caught:
        sample(remote, 0, prompts[1:], [[]], 1)
    assert "\n" not in str(caught.value)


def test_the_connection_is_made_and_used_as_we_assume() -> None:
    text = source(GRPOTrainer.__init__)
    assert "self.vllm_generation = VLLMGeneration(" in text, HINT
    assert "logprobs=0" in text, HINT
    names = ["self", "prompts", "images", "num_generations", "profiler"]
    assert parameters(VLLMGeneration.generate) == names, HINT
    assert parameters(VLLMGeneration.sync_weights) == ["self"], HINT
    assert "self.processing_class.image_token_id" in source(VLLMGeneration._place_features), HINT
    generate = source(VLLMGeneration.generate)
    assert "generation_kwargs.update(self.generation_kwargs)" in generate, HINT
    assert "ordered_set_of_prompt_ids = all_prompts[::num_generations]" in generate, HINT
    assert "reset_prefix_cache()" in source(VLLMGeneration.sync_weights), HINT
    made = inspect.getsource(VLLMGeneration._init_vllm)
    assert 'logprobs_mode="processed_logprobs"' in made, HINT
    assert "enable_prefix_caching" not in made, f"vLLM's own default, on, is relied upon; {HINT}"
