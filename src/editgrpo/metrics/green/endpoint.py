"""The judge on a server that speaks OpenAI's protocol, such as vLLM's.

Asked through `/completions`, not `/chat/completions`: the whole text is ours, so that the server's
chat template (the published checkpoint's own fits no such server) changes nothing. The standard
library's client is used because the Hub's refuses every server when the Hub is switched off, and
sends the Hub's token to it when it is not.
"""

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from http import HTTPStatus
from typing import Any, NoReturn

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, RewardError
from editgrpo.metrics.green.prompt import chat_text

KEY_VARIABLE = "EDITGRPO_GREEN_KEY"
"""Environment variable with the server's key, if it wants one."""

MAX_ANSWER_TOKENS = 1024
"""The server counts an answer's tokens by themselves; an answer of the judge has 200 to 500."""

LONGEST_WAIT_S = 60.0

_REMEDY: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "does it take prompts of 2048 and answers of 1024 tokens "
    "(vLLM: --max-model-len 4096)?",
    HTTPStatus.UNAUTHORIZED: f"put its key into the environment variable {KEY_VARIABLE}",
    HTTPStatus.FORBIDDEN: f"put its key into the environment variable {KEY_VARIABLE}",
    HTTPStatus.NOT_FOUND: "does clinical.green_model name what it serves, "
    "and does clinical.green_endpoint end in /v1?",
}


class _UnavailableError(Exception):
    """The server did not answer this time; it may the next.

    Args:
        reason: What happened, without text of a report.
        wait_s: How long the server asked to be left alone; None if it did not say.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class EndpointBackend:
    """Answers questions by asking a server, several at a time.

    Attributes:
        identity: What answers depend on besides the question.
    """

    def __init__(self, config: ClinicalConfig, *, first_wait_s: float = 1.0) -> None:
        """Keep the settings; nothing is sent yet.

        Args:
            config: Names the server in `green_endpoint`.
            first_wait_s: Wait before the first retry; it doubles with each further one.

        Raises:
            ConfigError: no endpoint is given.
        """
        if config.green_endpoint is None:
            raise ConfigError("clinical.green_endpoint is null; it must be the URL of a server")
        self.identity = f"{config.green_endpoint} {config.green_model}"
        self._url = config.green_endpoint.rstrip("/") + "/completions"
        self._config = config
        self._first_wait_s = first_wait_s

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the judge's answer to each question, in order.

        Args:
            prompts: Questions of `build_prompt`.

        Returns:
            Generated texts, without the questions.

        Raises:
            RewardError: the server refuses, answers something else, or stays away after all
                retries. The first failure ends the rest.
        """
        stop = threading.Event()
        pool = ThreadPoolExecutor(self._config.green_concurrency, thread_name_prefix="green")
        try:
            futures = [pool.submit(self._ask, prompt, stop) for prompt in prompts]
            for future in as_completed(futures):
                future.result()
            return [future.result() for future in futures]
        finally:  # also when interrupted: what has not begun is not begun any more
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, prompt: str, stop: threading.Event) -> str:
        """Ask until the server answers or the retries are used up."""
        wait_s = self._first_wait_s
        for attempts_left in range(self._config.green_retries, -1, -1):
            try:
                return self._completion(prompt)
            except _UnavailableError as error:
                if not attempts_left or stop.is_set():
                    raise RewardError(
                        f"{self._config.green_endpoint}: {error}, "
                        f"{self._config.green_retries} retries included; is the server up? See "
                        "clinical.green_timeout_s, green_concurrency and green_retries"
                    ) from error
                stop.wait(min(error.wait_s or wait_s, LONGEST_WAIT_S))
                wait_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _completion(self, prompt: str) -> str:
        """Ask once."""
        try:
            with urllib.request.urlopen(
                self._request(prompt), timeout=self._config.green_timeout_s
            ) as response:
                body = response.read()
        except urllib.error.HTTPError as error:
            self._raise_for(error)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _UnavailableError(
                    f"no answer in {self._config.green_timeout_s:g} s"
                ) from error
            raise _UnavailableError(f"cannot be reached ({type(reason).__name__})") from error
        return self._text_of(body)

    def _request(self, prompt: str) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(KEY_VARIABLE)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        content = {
            "model": self._config.green_model,
            "prompt": chat_text(prompt),
            "max_tokens": MAX_ANSWER_TOKENS,
            "temperature": 0,
        }
        return urllib.request.Request(
            self._url, data=json.dumps(content).encode(), headers=headers, method="POST"
        )

    def _raise_for(self, error: urllib.error.HTTPError) -> NoReturn:
        """Sort a status into worth a retry and not. The body is not shown: it may quote us."""
        with error:
            if error.code == HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500:
                raise _UnavailableError(f"answered {error.code}", _retry_after(error)) from error
        remedy = _REMEDY.get(error.code, "is it a server of OpenAI's protocol?")
        raise RewardError(f"{self._config.green_endpoint}: answered {error.code}; {remedy}")

    def _text_of(self, body: bytes) -> str:
        try:
            answer: Any = json.loads(body)
            text = answer["choices"][0]["text"]
        except (ValueError, LookupError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise RewardError(
                f"{self._config.green_endpoint}: answered something that is not a completion; "
                "is it a server of OpenAI's protocol, and does the URL end in /v1?"
            )
        return text


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that the server asked for, if it did."""
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
