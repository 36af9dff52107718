"""A judge on a server that speaks OpenAI's protocol, such as vLLM's.

The standard library's client is used because the Hub's refuses every server when the Hub is
switched off, and sends the Hub's token to it when it is not.
"""

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from editgrpo.errors import RewardError
from editgrpo.metrics.judges.costs import count, timed

LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeServer:
    """Where a judge is asked, and how patiently.

    Attributes:
        judge: `green` or `crimson`; the settings are `clinical.<judge>_...`.
        url: Base URL of the server, such as `http://localhost:8000/v1`.
        model: What the server calls the judge.
        concurrency: Questions that it is asked at the same time.
        timeout_s: Seconds after which a question without an answer is put again.
        retries: How often a question is put again.
        first_wait_s: Wait before a question is first put again; it doubles with each further time.
    """

    judge: str
    url: str
    model: str
    concurrency: int
    timeout_s: float
    retries: int
    first_wait_s: float = 1.0

    @property
    def key_variable(self) -> str:
        """Environment variable with the server's key, if it wants one."""
        return f"EDITGRPO_{self.judge.upper()}_KEY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How a question is put to a server and its answer read.

    Attributes:
        path: What is asked, behind the base URL.
        content: Maps a question and how often it was put before to what is sent besides the model.
        text_of: Takes the text out of the server's answer; LookupError or TypeError if it is none.
        is_readable: Whether a text is an answer at all; one that is not is asked for again.
        bad_request: What may be wrong where the server refuses a question (400).
    """

    path: str
    content: Callable[[str, int], Mapping[str, Any]]
    text_of: Callable[[Any], Any]
    is_readable: Callable[[str], bool] = lambda _: True
    bad_request: str = "does it take questions of this length?"


class _UnavailableError(Exception):
    """The server did not answer this time; it may the next.

    Args:
        reason: What happened, without text of a report.
        wait_s: How long the server asked to be left alone; None if it did not say.
        is_up: Whether it did answer, only not in the form asked for.
    """

    def __init__(self, reason: str, wait_s: float | None = None, *, is_up: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.is_up = is_up


class ServerBackend:
    """Answers questions by asking a server, several at a time.

    Attributes:
        identity: What answers depend on besides the question: the model, by the name that the
            server knows it by. Its address is left out, so that a server that has moved is not
            paid twice. Nor would it tell weights apart: other weights can be served at the same
            address, and the same ones at another. `scores.json` names a judge in the same way, so
            weights that differ need names that differ.

    Args:
        server: Where.
        form: How.
    """

    def __init__(self, server: JudgeServer, form: Form) -> None:
        self.identity = f"served {server.model}"
        self._server = server
        self._form = form
        self._url = f"{server.url.rstrip('/')}/{form.path}"
        self._rescued: dict[str, str] = {}

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the judge's answer to each question, in order.

        Args:
            prompts: The questions.

        Returns:
            The answers' texts.

        Raises:
            RewardError: the server refuses, answers something else, or stays away after all
                retries. The first failure ends the rest; what was answered until then is not asked
                again.
        """
        stop = threading.Event()
        judge = self._server.judge
        pool = ThreadPoolExecutor(self._server.concurrency, thread_name_prefix=judge)
        rescued = {one: self._rescued.pop(one) for one in prompts if one in self._rescued}
        futures = {one: pool.submit(self._ask, one, stop) for one in prompts if one not in rescued}
        try:
            with timed(judge):
                for future in as_completed(futures.values()):
                    future.result()
            return [rescued[one] if one in rescued else futures[one].result() for one in prompts]
        except RewardError:
            # It is paid for. Whoever asked tries again in smaller parts, study by study.
            self._rescued |= rescued | {
                one: future.result() for one, future in futures.items() if _is_answered(future)
            }
            raise
        finally:  # also when interrupted: what has not begun is not begun any more
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, prompt: str, stop: threading.Event) -> str:
        """Ask until the server answers or the retries are used up."""
        server, wait_s = self._server, self._server.first_wait_s
        for attempt in range(server.retries + 1):
            try:
                return self._answer(prompt, attempt)
            except _UnavailableError as error:
                if attempt == server.retries or stop.is_set():
                    raise RewardError(
                        f"{server.url}: {error}, {server.retries} retries included; "
                        f"{self._remedy(error)}"
                    ) from error
                count(server.judge, retries=1)
                stop.wait(min(wait_s if error.wait_s is None else error.wait_s, LONGEST_WAIT_S))
                wait_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _remedy(self, error: _UnavailableError) -> str:
        judge = self._server.judge
        if error.is_up:
            return f"does clinical.{judge}_model name a model that can judge?"
        settings = f"clinical.{judge}_timeout_s, {judge}_concurrency and {judge}_retries"
        return f"is the server up? See {settings}"

    def _answer(self, prompt: str, attempt: int) -> str:
        """Ask once."""
        timeout_s = self._server.timeout_s
        request = self._request(prompt, attempt)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                body = response.read()
        except urllib.error.HTTPError as error:
            self._raise_for(error)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _UnavailableError(f"no answer in {timeout_s:g} s") from error
            raise _UnavailableError(f"cannot be reached ({type(reason).__name__})") from error
        return self._text_of(body)

    def _request(self, prompt: str, attempt: int) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(self._server.key_variable)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        content = {"model": self._server.model, **self._form.content(prompt, attempt)}
        return urllib.request.Request(
            self._url, data=json.dumps(content).encode(), headers=headers, method="POST"
        )

    def _raise_for(self, error: urllib.error.HTTPError) -> NoReturn:
        """Sort a status into worth a retry and not. The body is not shown: it may quote us."""
        with error:
            if error.code == HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500:
                raise _UnavailableError(f"answered {error.code}", _retry_after(error)) from error
        remedy = self._remedies().get(error.code, "is it a server of OpenAI's protocol?")
        raise RewardError(f"{self._server.url}: answered {error.code}; {remedy}")

    def _remedies(self) -> dict[int, str]:
        judge = self._server.judge
        key = f"put its key into the environment variable {self._server.key_variable}"
        return {
            HTTPStatus.BAD_REQUEST: self._form.bad_request,
            HTTPStatus.UNAUTHORIZED: key,
            HTTPStatus.FORBIDDEN: key,
            HTTPStatus.NOT_FOUND: f"does clinical.{judge}_model name what it serves, "
            f"and does clinical.{judge}_endpoint end in /v1?",
        }

    def _text_of(self, body: bytes) -> str:
        answer: Any = None
        try:
            answer = json.loads(body)
            text = self._form.text_of(answer)
        except (ValueError, LookupError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise RewardError(
                f"{self._server.url}: answered something that is not a completion; "
                "is it a server of OpenAI's protocol, and does the URL end in /v1?"
            )
        count(self._server.judge, calls=1, **_tokens(answer))
        if not self._form.is_readable(text):
            reason = "gave an answer that is not in the form asked for"
            raise _UnavailableError(reason, wait_s=0.0, is_up=True)
        return text


def _is_answered(future: Future[str]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _tokens(answer: Any) -> dict[str, float]:
    """Return the tokens that the server counted; 0 of a server that does not say."""
    usage = answer.get("usage")
    found = usage if isinstance(usage, dict) else {}
    names = {"prompt_tokens": "prompt_tokens", "answer_tokens": "completion_tokens"}
    counts = {ours: found.get(theirs) for ours, theirs in names.items()}
    return {name: value if isinstance(value, int) else 0 for name, value in counts.items()}


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that the server asked for, if it did."""
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
