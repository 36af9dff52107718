"""A vLLM that is played: its class in the training process, and its server over HTTP."""

import base64
import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from trl.generation import vllm_client, vllm_generation

END = 2  # <|im_end|>, by its place in SPECIAL_TOKENS
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
