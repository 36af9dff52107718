"""The judge on a server: a real one on this machine that answers as vLLM does, well and badly."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from editgrpo.config import ClinicalConfig
from editgrpo.errors import RewardError
from editgrpo.metrics.green.endpoint import green_backend
from editgrpo.metrics.green.prompt import chat_text
from editgrpo.metrics.judges.costs import take_costs

MODEL = "judge"
KEY_VARIABLE = "EDITGRPO_GREEN_KEY"
SECRET_REPORT = "a report that no message may show"


class Server(ThreadingHTTPServer):
    """Answers the k-th request with the k-th reply; the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Any] = [200]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            reply = self.server.replies[
                min(len(self.server.requests), len(self.server.replies) - 1)
            ]
            self.server.requests.append(content)
            self.server.headers.append(dict(self.headers))
            self.server.times.append(time.monotonic())
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        time.sleep(0.02)
        with self.server.lock:
            self.server.at_once -= 1
        if self.path != "/v1/completions" or content["model"] != MODEL:
            self.send(404, {"error": {"message": f"no model for {content['prompt']}"}})
        elif reply == "slow":
            time.sleep(1.5)
        elif reply == "closed":
            self.close_connection = True
        elif isinstance(reply, bytes):
            self.send(200, reply)
        elif reply == 200:
            question = content["prompt"].splitlines()[1].removesuffix("</s>")
            text = f" answer to {question}"
            usage = {"prompt_tokens": 40, "completion_tokens": 9}
            choices = [{"index": 0, "text": text}]
            self.send(200, {"model": MODEL, "choices": choices, "usage": usage})
        else:
            status, headers = reply if isinstance(reply, tuple) else (reply, {})
            self.send(status, {"error": {"message": content["prompt"]}}, headers)

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server: Server, prompts: list[str], **settings: Any) -> list[str]:
    config = ClinicalConfig(
        **{
            "green_endpoint": server.url,
            "green_model": MODEL,
            "green_retries": 2,
            "green_timeout_s": 5.0,
            **settings,
        }
    )
    return green_backend(config, first_wait_s=0.01).answer(prompts)


def failure(server: Server, **settings: Any) -> str:
    with pytest.raises(RewardError) as error:
        ask(server, [SECRET_REPORT], **settings)
    message = str(error.value)
    assert "\n" not in message
    assert SECRET_REPORT not in message
    return message


def test_answers_come_in_order_whole_text_sent_greedily(server: Server) -> None:
    prompts = [f"question {k}" for k in range(20)]
    assert ask(server, prompts) == [f" answer to {prompt}" for prompt in prompts]
    assert {one["prompt"] for one in server.requests} == {chat_text(one) for one in prompts}
    assert {(one["temperature"], one["max_tokens"]) for one in server.requests} == {(0, 1024)}
    assert "Authorization" not in server.headers[0]


def test_at_most_so_many_questions_are_under_way(server: Server) -> None:
    ask(server, [f"question {k}" for k in range(12)], green_concurrency=3)
    assert 1 < server.most_at_once <= 3


def test_the_key_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k3y")
    ask(server, ["q"])
    assert server.headers[0]["Authorization"] == "Bearer k3y"
    server.replies = [401]
    assert "k3y" not in failure(server)


@pytest.mark.parametrize("trouble", [429, 500, 503, "closed"])
def test_trouble_that_passes_is_waited_for(server: Server, trouble: object) -> None:
    server.replies = [trouble, trouble, 200]
    assert ask(server, ["q"]) == [" answer to q"]
    assert len(server.requests) == 3


def test_tokens_are_counted_as_the_server_says(server: Server) -> None:
    take_costs()
    server.replies = [503, 200]
    ask(server, ["q"])
    costs = take_costs()
    assert costs.pop("judge/green/seconds") >= 0.02
    assert costs == {
        "judge/green/calls": 1,
        "judge/green/retries": 1,
        "judge/green/prompt_tokens": 40,
        "judge/green/answer_tokens": 9,
    }


def test_the_wait_doubles(server: Server) -> None:
    server.replies = [503, 503, 200]
    config = ClinicalConfig(green_endpoint=server.url, green_model=MODEL)
    green_backend(config, first_wait_s=0.15).answer(["q"])
    first, second, third = server.times
    assert second - first >= 0.15
    assert third - second >= 0.3


def test_the_server_says_how_long_to_wait(server: Server) -> None:
    server.replies = [(429, {"Retry-After": "1"}), 200]
    ask(server, ["q"])
    assert server.times[1] - server.times[0] >= 1


@pytest.mark.parametrize("status", [429, 500])
def test_trouble_for_ever_names_the_endpoint_and_the_retries(server: Server, status: int) -> None:
    server.replies = [status]
    message = failure(server)
    assert server.url in message
    assert f"answered {status}" in message
    assert len(server.requests) == 3  # the first attempt and two retries


def test_a_slow_server_times_out(server: Server) -> None:
    server.replies = ["slow"]
    assert "no answer in 0.1 s" in failure(server, green_timeout_s=0.1, green_retries=1)
    assert len(server.requests) == 2


def test_no_server_is_said_plainly(server: Server) -> None:
    message = failure(server, green_endpoint="http://127.0.0.1:9/v1", green_retries=1)
    assert "http://127.0.0.1:9/v1: cannot be reached (ConnectionRefusedError)" in message


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b"[]", b'{"choices": []}', b'{"choices": [{"text": null}]}', b"\xff"]
)
def test_what_is_no_completion_is_refused_without_a_retry(server: Server, body: bytes) -> None:
    server.replies = [body]
    assert "not a completion" in failure(server)
    assert len(server.requests) == 1


def test_a_wrong_model_or_path_is_refused_without_a_retry(server: Server) -> None:
    assert "clinical.green_model" in failure(server, green_model="another")
    assert "/v1" in failure(server, green_endpoint=server.url.removesuffix("/v1"))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "4096"), (403, KEY_VARIABLE), (418, "OpenAI")]
)
def test_other_refusals_say_what_to_do(server: Server, status: int, remedy: str) -> None:
    server.replies = [status]
    assert remedy in failure(server)
    assert len(server.requests) == 1


def test_the_first_failure_ends_the_rest(server: Server) -> None:
    server.replies = [400]
    with pytest.raises(RewardError, match="answered 400"):
        ask(server, [f"question {k}" for k in range(200)], green_concurrency=2)
    assert len(server.requests) < 20


def test_the_hub_switched_off_does_not_switch_off_the_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert ask(server, ["q"]) == [" answer to q"]
