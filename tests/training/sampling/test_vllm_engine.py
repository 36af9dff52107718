"""vLLM behind TRL: TRL's own code runs here, against a vLLM that is played by this file.

vLLM itself needs a GPU. In the training process its `LLM` class is played, over HTTP its server;
what is between, `VLLMGeneration` and `VLLMClient`, is TRL's.
"""

import base64
import inspect
import io
import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from trl import GRPOConfig, GRPOTrainer
from trl.generation import vllm_client, vllm_generation
from trl.generation.vllm_generation import VLLMGeneration

from editgrpo.config import RolloutConfig, RolloutEngine, VLLMConfig
from editgrpo.data.prompt import Prompt
from editgrpo.errors import ConfigError, DataError, TrainingError
from editgrpo.training.policy.processor import EncodedPrompt, StudyProcessor
from editgrpo.training.policy.tiny import train_tokenizer
from editgrpo.training.sampling import vllm_engine
from editgrpo.training.sampling.rollouts import SamplingSettings
from editgrpo.training.sampling.vllm_engine import (
    SampledResponse,
    VLLMSampler,
    check_engine,
    check_server,
    collapse_runs,
    importance_ratios,
    sampled_log_prob_rows,
    sampling_gap,
    vllm_arguments,
    with_sampled_log_probs,
)
from editgrpo.training.step.groups import Group, Kind, Response
from tests.training.test_trl_seams import HINT, parameters, source

END = 2  # <|im_end|>, by its place in SPECIAL_TOKENS
IMAGE = 5
VIDEO = 6
SETTINGS = SamplingSettings(
    max_tokens=4, eos_token_ids=(END,), pad_token_id=0, forbidden_token_ids=(IMAGE, VIDEO)
)
SIZES = ((56, 84), (84, 56))
Images = list[NDArray[np.uint8]]


# Weights of sampled tokens --------------------------------------------------------------------


def test_a_ratio_is_the_quotient_of_the_probabilities_cut_at_the_cap() -> None:
    training = torch.log(torch.tensor([[0.5, 0.25, 0.8, 0.5]]))
    sampled = torch.log(torch.tensor([[0.25, 0.5, 0.1, 0.5]]))
    ratios = importance_ratios(training, sampled, torch.ones(1, 4), cap=3.0)
    # 0.5 / 0.25 = 2, 0.25 / 0.5 = 0.5, 0.8 / 0.1 = 8 cut to 3, 0.5 / 0.5 = 1.
    torch.testing.assert_close(ratios, torch.tensor([[2.0, 0.5, 3.0, 1.0]]))


def test_a_token_that_nobody_sampled_and_padding_have_ratio_one() -> None:
    training = torch.tensor([[-1.0, -2.0, -3.0], [-5.0, -5.0, -5.0]])
    sampled = torch.tensor([[math.nan, math.nan, math.nan], [-5.5, math.nan, -9.0]])
    is_response = torch.tensor([[1, 1, 1], [1, 1, 0]])
    ratios = importance_ratios(training, sampled, is_response, cap=3.0)
    # The second row's first token alone was sampled: exp(-5 + 5.5) = 1.6487; its last is padding.
    expected = torch.tensor([[1.0, 1.0, 1.0], [1.6487213, 1.0, 1.0]])
    torch.testing.assert_close(ratios, expected)


def test_ratios_carry_no_gradient_and_are_float32() -> None:
    training = torch.tensor([[-1.0]], dtype=torch.bfloat16, requires_grad=True)
    ratios = importance_ratios(training, torch.tensor([[-1.0]]), torch.ones(1, 1), cap=3.0)
    assert not ratios.requires_grad
    assert ratios.dtype == torch.float32


def test_the_gap_is_summed_over_tokens_that_can_be_compared() -> None:
    training = torch.tensor([[-1.0, -2.0, -1.0], [-1.0, -4.0, -1.0]])
    sampled = torch.tensor([[-2.5, -1.5, -9.0], [math.nan, math.nan, math.nan]])
    is_response = torch.tensor([[1, 1, 0], [1, 1, 1]])
    # Two tokens: 1.5 and 0.5 apart; e^1.5 = 4.48 is cut at 3, e^-0.5 is not.
    gap = sampling_gap(training, sampled, is_response, cap=3.0)
    torch.testing.assert_close(gap, torch.tensor([2.0, 2.0, 1.0]))
    nothing = sampling_gap(training, sampled * math.nan, is_response, cap=3.0)
    torch.testing.assert_close(nothing, torch.zeros(3))


def response(kind: Kind, *tokens: int, source_index: int | None = None) -> Response:
    return Response(kind=kind, token_ids=tokens, text="", source=source_index)


def test_log_probs_stay_with_the_tokens_that_they_were_sampled_with() -> None:
    rollouts = [
        SampledResponse((7, 8, END), (-0.1, -0.2, -0.3)),
        SampledResponse((9, END), (-1, -2)),
    ]
    group = Group(
        study_id="s",
        reference="",
        responses=(
            response(Kind.SAMPLED, 7, 8, END),
            response(Kind.SAMPLED, 9, END),
            response(Kind.EDITED, 7, 4, END, source_index=0),
            response(Kind.EDITED, 9, END, source_index=1),  # nothing to edit: it stands twice
        ),
    )
    noted = with_sampled_log_probs([group], [rollouts])
    assert [one.sampled_log_probs for one in noted[0].responses] == [
        (-0.1, -0.2, -0.3),
        (-1, -2),
        None,
        (-1, -2),
    ]
    rows = sampled_log_prob_rows(noted, columns=4)
    nan = math.nan
    expected = torch.tensor(
        [[-0.1, -0.2, -0.3, nan], [-1, -2, nan, nan], [nan] * 4, [-1, -2, nan, nan]]
    )
    torch.testing.assert_close(rows, expected, equal_nan=True)


def test_a_reference_report_has_no_sampled_log_probs() -> None:
    group = Group(
        study_id="s",
        reference="",
        responses=(response(Kind.SAMPLED, 7, END), response(Kind.REFERENCE, 7, END)),
    )
    noted = with_sampled_log_probs([group], [[SampledResponse((7, END), (-1.0, -2.0))]])
    assert noted[0].responses[1].sampled_log_probs is None


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
    return processor.encode(study_id, prompt, images)


def test_a_run_of_image_tokens_becomes_one() -> None:
    assert collapse_runs([5, 5, 1, 3, 5, 4, 5, 5, 5], 5) == [5, 1, 3, 5, 4, 5]
    assert collapse_runs([1, 1, 2], 5) == [1, 1, 2]
    assert collapse_runs([], 5) == []


# vLLM in the training process -----------------------------------------------------------------

Answer = Callable[[list[int]], list[tuple[int, float]]]


class PlayedLLM:
    """Plays `vllm.LLM` as far as TRL uses it; remembers what it was told."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.calls: list[str] = []
        self.prompts: list[dict[str, Any]] = []
        self.sampling: dict[str, Any] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.answer: Answer = lambda _: [(7, -0.5), (END, -0.25)]
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self._load))
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))

    def _load(self, weights: list[tuple[str, torch.Tensor]]) -> None:
        self.weights |= dict(weights)

    def wake_up(self, tags: list[str]) -> None:
        self.calls.append(f"wake {tags[0]}")

    def sleep(self, level: int) -> None:
        self.calls.append(f"sleep {level}")

    def reset_prefix_cache(self) -> None:
        self.calls.append("reset")

    def generate(self, prompts: list[dict[str, Any]], *, sampling_params: Any, **_: Any) -> Any:
        self.calls.append("generate")
        self.prompts, self.sampling = prompts, sampling_params
        return [self._output(prompt["prompt_token_ids"]) for prompt in prompts]

    def _output(self, ids: list[int]) -> Any:
        answer = self.answer(ids)
        log_probs = [{token: SimpleNamespace(logprob=value, rank=1)} for token, value in answer]
        output = SimpleNamespace(token_ids=[token for token, _ in answer], logprobs=log_probs)
        return SimpleNamespace(prompt_token_ids=ids, outputs=[output])


def alone() -> Any:
    """Stand in for an Accelerator with one process on the CPU."""
    return SimpleNamespace(
        is_main_process=True,
        num_processes=1,
        process_index=0,
        local_process_index=0,
        device=torch.device("cpu"),
        wait_for_everyone=lambda: None,
        state=SimpleNamespace(deepspeed_plugin=None),
    )


def play_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TRL believe that vLLM is installed."""
    monkeypatch.setattr(vllm_generation, "is_vllm_available", lambda: True)
    monkeypatch.setattr(vllm_client, "is_vllm_available", lambda *_, **__: True)
    monkeypatch.setattr(vllm_generation, "LLM", PlayedLLM, raising=False)
    monkeypatch.setattr(vllm_generation, "SamplingParams", dict, raising=False)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # TRL sets them; this has them taken back
        monkeypatch.delenv(name)


def generation(**arguments: Any) -> VLLMGeneration:
    model = torch.nn.Linear(2, 1)
    model.name_or_path = "folder"
    settings = {"max_completion_length": 4, "temperature": 0.7, **arguments}
    return VLLMGeneration(model, alone(), SimpleNamespace(), **settings)


@pytest.fixture
def colocate(monkeypatch: pytest.MonkeyPatch, processor: StudyProcessor) -> Iterator[VLLMSampler]:
    play_vllm(monkeypatch)
    yield VLLMSampler(generation(enable_sleep_mode=True), processor, SETTINGS)


def llm(sampler: VLLMSampler) -> PlayedLLM:
    played: PlayedLLM = sampler._generation.llm
    return played


def test_colocated_vllm_gets_one_placeholder_an_image_and_the_very_pixels(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], images: Images
) -> None:
    colocate.sample(0, prompts, [images, []], 2)
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
    colocate.sample(3, prompts, [images, []], 1)
    once = ["wake weights", "reset", "wake kv_cache", "generate", "sleep 2"]
    assert played.calls[1:] == once
    assert torch.equal(played.weights["weight"], colocate._generation.model.weight)
    with torch.no_grad():
        colocate._generation.model.weight.add_(1)
    colocate.sample(4, prompts, [images, []], 1)
    assert played.calls[6:] == once
    assert torch.equal(played.weights["weight"], colocate._generation.model.weight)


def test_without_sleep_a_second_part_of_a_step_needs_no_weights(
    monkeypatch: pytest.MonkeyPatch, processor: StudyProcessor, prompts: list[EncodedPrompt]
) -> None:
    play_vllm(monkeypatch)
    sampler = VLLMSampler(generation(), processor, SETTINGS)
    for step in (0, 0, 1):
        sampler.sample(step, prompts[1:], [[]], 1)
    assert llm(sampler).calls == ["reset", "generate", "generate", "reset", "generate"]


def test_sampling_is_told_to_vllm(colocate: VLLMSampler, prompts: list[EncodedPrompt]) -> None:
    colocate.sample(0, prompts[1:], [[]], 2)
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
    sampled = colocate.sample(0, prompts, [images, []], 2)
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
        ([(END, -1.0), (7, -1.0)], "goes on behind its end"),
        ([(7, -1.0)] * 5, "goes on behind its end"),
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
        colocate.sample(0, prompts[1:], [[]], 1)


def test_missing_log_probs_end_the_run(
    colocate: VLLMSampler, prompts: list[EncodedPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_generation, "extract_logprobs", lambda _: (None, None))
    with pytest.raises(TrainingError, match="asked for 2 responses with log-prob"):
        colocate.sample(0, prompts[1:], [[]], 2)


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
        colocate.sample(0, prompts[:1], [images[:1]], 1)
    with pytest.raises(DataError, match="study s1: an image of 56 x 84 pixels is at hand for one"):
        colocate.sample(0, prompts[:1], [images[::-1]], 1)


def test_an_image_that_vllm_would_resize_is_named(
    colocate: VLLMSampler, processor: StudyProcessor
) -> None:
    small = [np.zeros((28, 28, 3), dtype=np.uint8)]  # 784 pixels; the processor's least is 3,136
    with pytest.raises(DataError, match="study s3: vLLM would resize an image of 28 x 28"):
        colocate.sample(0, [encode(processor, "s3", small)], [small], 1)


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
    with pytest.raises(DataError, match="study s1: its images stand side by side"):
        colocate.sample(0, [joined], [images], 1)


# A server -------------------------------------------------------------------------------------

INFO = {
    "model_config": {"logprobs_mode": "processed_logprobs"},
    "cache_config": {"enable_prefix_caching": True},
    "weight_transfer_config": {"backend": "nccl"},
}


class PlayedServer(ThreadingHTTPServer):
    """Plays `vllm serve`: the endpoints that TRL's client calls, by their paths."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.info: Any = INFO
        self.requests: list[tuple[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def told(self, path: str) -> list[Any]:
        return [body for asked, body in self.requests if asked == path]


class Handler(BaseHTTPRequestHandler):
    server: PlayedServer

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        answers = {
            "/health": {},
            "/v1/models": {"data": [{"id": "model"}]},
            "/server_info?config_format=json": self.server.info
            and {"vllm_config": self.server.info},
        }
        answer = answers.get(self.path)
        self._answer(404 if answer is None else 200, answer or {})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "{}")
        self.server.requests.append((self.path, body))
        if self.path == "/v1/chat/completions/render":
            self._answer(200, {"features": features_of(body)})
        elif self.path == "/inference/v1/generate":
            self._answer(200, {"choices": choices_of(body)})
        elif self.path == "/v1/completions":
            self._answer(200, {"choices": text_choices_of(body)})
        else:
            self._answer(200, {})

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def pictures_of(body: dict[str, Any]) -> list[NDArray[np.uint8]]:
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"]]
    data = [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls]
    return [np.asarray(Image.open(io.BytesIO(one))) for one in data]


def features_of(body: dict[str, Any]) -> dict[str, Any]:
    """Place the images as in a conversation of their own, with a hash of their pixels."""
    hashes = [str(int(pixels.astype(np.int64).sum())) for pixels in pictures_of(body)]
    places = [{"offset": 4 + 9 * k, "length": 6} for k in range(len(hashes))]
    return {"mm_hashes": {"image": hashes}, "mm_placeholders": {"image": places}}


def answer_number(k: int) -> list[tuple[int, float]]:
    return [(10 + k, -0.5 - k), (END, -0.25)]


def choices_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "token_ids": [token for token, _ in answer_number(k)],
            "logprobs": {
                "content": [
                    {"token": f"token_id:{token}", "logprob": value, "top_logprobs": []}
                    for token, value in answer_number(k)
                ]
            },
        }
        for k in range(body["sampling_params"]["n"])
    ]


def text_choices_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "prompt_token_ids": prompt,
            "token_ids": [token for token, _ in answer_number(k)],
            "logprobs": {
                "tokens": [f"token_id:{token}" for token, _ in answer_number(k)],
                "token_logprobs": [value for _, value in answer_number(k)],
                "top_logprobs": [None, None],
            },
        }
        for prompt in body["prompt"]
        for k in range(body["n"])
    ]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedServer]:
    play_vllm(monkeypatch)
    # Weights go over NCCL, from GPU to GPU; what is said about them over HTTP is played as it is.
    monkeypatch.setattr(vllm_client.VLLMClient, "init_communicator", lambda *_, **__: None)
    sender = SimpleNamespace(trainer_send_weights=lambda iterator, trainer_args: list(iterator))
    monkeypatch.setattr(vllm_client, "NCCLWeightTransferEngine", sender, raising=False)
    monkeypatch.setattr(vllm_client, "NCCLTrainerSendWeightsArgs", dict, raising=False)
    played = PlayedServer()
    thread = threading.Thread(target=played.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield played
    played.shutdown()
    played.server_close()
    thread.join()


@pytest.fixture
def remote(server: PlayedServer, processor: StudyProcessor) -> VLLMSampler:
    connected = generation(mode="server", server_base_url=server.url, server_timeout=0)
    return VLLMSampler(connected, processor, SETTINGS)


def test_the_server_gets_the_very_pixels_and_finds_them_at_the_image_tokens(
    remote: VLLMSampler, server: PlayedServer, prompts: list[EncodedPrompt], images: Images
) -> None:
    sampled = remote.sample(0, prompts, [images, []], 2)
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
    sampled = remote.sample(0, [prompts[1], prompts[1]], [[], []], 3)
    (body,) = server.told("/v1/completions")
    assert body["prompt"] == [prompts[1].input_ids_T.tolist()] * 2
    assert [one.token_ids for one in sampled[1]] == [(10, END), (11, END), (12, END)]


def test_the_server_gets_the_weights_once_a_step_and_forgets_its_prefixes(
    remote: VLLMSampler, server: PlayedServer, prompts: list[EncodedPrompt]
) -> None:
    for step in (0, 0, 1):
        remote.sample(step, prompts[1:], [[]], 1)
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
        remote.sample(0, prompts[1:], [[]], 1)
    assert "\n" not in str(caught.value)


# Checks before anything is loaded --------------------------------------------------------------


def test_a_server_as_documented_passes(server: PlayedServer) -> None:
    check_server(VLLMConfig(server_url=server.url, server_timeout_s=0))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "start it with VLLM_SERVER_DEV_MODE=1"),
        (INFO | {"model_config": {"logprobs_mode": "raw_logprobs"}}, "--logprobs-mode processed"),
        (INFO | {"weight_transfer_config": None}, "--weight-transfer-config"),
        (INFO | {"cache_config": {"enable_prefix_caching": False}}, "--enable-prefix-caching"),
    ],
)
def test_a_server_with_other_settings_is_refused(
    server: PlayedServer, info: Any, message: str
) -> None:
    server.info = info
    with pytest.raises(ConfigError, match=message) as caught:
        check_server(VLLMConfig(server_url=server.url, server_timeout_s=0))
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    play_vllm(monkeypatch)
    with pytest.raises(ConfigError, match="no vLLM server answers at http") as caught:
        check_server(VLLMConfig(server_url="http://127.0.0.1:9", server_timeout_s=0))
    assert "\n" not in str(caught.value)


def test_the_policy_itself_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "is_vllm_available", lambda: False)
    check_engine(RolloutConfig())


@pytest.mark.parametrize("engine", [RolloutEngine.VLLM_COLOCATE, RolloutEngine.VLLM_SERVER])
def test_what_is_missing_is_named(engine: RolloutEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = RolloutConfig(engine=engine)
    monkeypatch.setattr(vllm_engine, "is_vllm_available", lambda: False)
    with pytest.raises(ConfigError, match=f"{engine.value}.*not installed; pip install"):
        check_engine(rollout)
    monkeypatch.setattr(vllm_engine, "is_vllm_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"{engine.value}.*no CUDA device"):
        check_engine(rollout)


def test_a_copy_of_the_model_is_split_over_whole_shares_of_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm_engine, "is_vllm_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(vllm_engine, "PartialState", lambda: SimpleNamespace(num_processes=6))
    split = [
        RolloutConfig(
            engine=RolloutEngine.VLLM_COLOCATE, vllm=VLLMConfig(tensor_parallel_size=parts)
        )
        for parts in (3, 4)
    ]
    check_engine(split[0])
    with pytest.raises(ConfigError, match=r"is 4; it must divide the number of processes \(6\)"):
        check_engine(split[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"importance_cap": 0.9},
        {"gpu_memory_utilization": 1.0},
        {"tensor_parallel_size": 0},
        {"max_model_length": 0},
        {"server_url": "localhost:8000"},
        {"server_timeout_s": -1.0},
        {"group_port": 0},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=rf"rollout\.vllm\.{name} is"):
        VLLMConfig(**changes)


# What TRL is told, and what is relied upon ------------------------------------------------------


def arguments(tmp_path: Path, rollout: RolloutConfig) -> GRPOConfig:
    return GRPOConfig(output_dir=str(tmp_path), bf16=False, **vllm_arguments(rollout))


def test_the_policy_itself_sets_nothing_of_vllm() -> None:
    assert vllm_arguments(RolloutConfig()) == {"use_vllm": False}


def test_colocate_is_told_to_trl(tmp_path: Path) -> None:
    settings = VLLMConfig(
        importance_cap=2.5, gpu_memory_utilization=0.4, tensor_parallel_size=2, max_model_length=900
    )
    told = arguments(tmp_path, RolloutConfig(engine=RolloutEngine.VLLM_COLOCATE, vllm=settings))
    assert (told.use_vllm, told.vllm_mode, told.vllm_enable_sleep_mode) == (True, "colocate", True)
    assert (told.vllm_gpu_memory_utilization, told.vllm_tensor_parallel_size) == (0.4, 2)
    assert told.vllm_max_model_length == 900
    assert told.vllm_importance_sampling_mode == "token_truncate"
    assert told.vllm_importance_sampling_clip_max == 2.5
    assert told.vllm_importance_sampling_clip_min is None


def test_a_server_is_told_to_trl(tmp_path: Path) -> None:
    settings = VLLMConfig(server_url="http://node2:8123", server_timeout_s=7, group_port=4000)
    told = arguments(tmp_path, RolloutConfig(engine=RolloutEngine.VLLM_SERVER, vllm=settings))
    assert (told.use_vllm, told.vllm_mode) == (True, "server")
    assert told.vllm_server_base_url == "http://node2:8123"
    assert (told.vllm_server_timeout, told.vllm_group_port) == (7, 4000)
    assert told.vllm_importance_sampling_correction


def test_the_loss_weighs_the_policy_term_alone_by_the_ratio() -> None:
    text = source(GRPOTrainer._compute_loss)
    weighed = 'per_token_loss = per_token_loss * inputs["importance_sampling_ratio"]'
    assert "self.use_vllm and self.vllm_importance_sampling_correction" in text, HINT
    asked = text.index("self._get_per_token_logps_and_entropies(")
    assert asked < text.index(weighed) < text.index("self.beta * per_token_kl"), HINT


def test_trl_computes_the_same_ratio() -> None:
    text = source(GRPOTrainer._generate_and_score_completions)
    assert "(old_per_token_logps - sampling_per_token_logps) * mask" in text, HINT
    assert "torch.nan_to_num(per_token_logps_diff, nan=0.0)" in text, HINT
    assert "torch.exp(logps_diff)" in text, HINT
    assert "max=self.vllm_importance_sampling_clip_max" in text, HINT


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
