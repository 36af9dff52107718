"""Writing reports of one study token by token, for whoever reads along.

Sampling itself runs in a thread of its own (sampling/rollouts.py); what it draws is decoded here.
"""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from editgrpo.training.generate import GenerationConfig
from editgrpo.training.policy.generation_tokens import generation_tokens
from editgrpo.training.policy.model import Policy, Tokenizer
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.seeds import uniform_draws

# What a decoder puts in place of a character of which a token is still missing.
_PART_OF_A_CHARACTER = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A report as far as it is written.

    Attributes:
        text: The report, or its beginning.
        is_finished: Whether nothing will be added.
        is_truncated: Whether it reached the length limit before its end.
    """

    text: str = ""
    is_finished: bool = False
    is_truncated: bool = False


_Tokens = queue.SimpleQueue[tuple[int, int] | None]
"""Row and id of each token as it is drawn, None behind the last."""


class _StoppedError(Exception):
    """Nobody reads along any more."""


@dataclass(slots=True)
class _Row:
    """The tokens of one report so far."""

    tokens: list[int]
    is_finished: bool = False

    def draft(self, tokenizer: Tokenizer, end_ids: tuple[int, ...], limit: int) -> Draft:
        has_end = bool(self.tokens) and self.tokens[-1] in end_ids
        self.is_finished = has_end or len(self.tokens) == limit
        text = tokenizer.decode(self.tokens, skip_special_tokens=True).strip()
        if not self.is_finished:
            text = text.rstrip(_PART_OF_A_CHARACTER)
        return Draft(text, self.is_finished, self.is_finished and not has_end)


def stream_reports(
    model: Policy,
    tokenizer: Tokenizer,
    prompt: EncodedPrompt,
    config: GenerationConfig,
    *,
    rows: range = range(1),
    stop: threading.Event | None = None,
) -> Iterator[tuple[Draft, ...]]:
    """Write K reports of one study side by side.

    Number 0 is the report that `generate_reports` writes with the same settings, but for the
    rounding of larger batches; each other number has draws of its own. Where the reader stops
    (`close` of the generator), so does sampling, at its next token. A model can write for one
    reader at a time.

    Args:
        model: The policy, unwrapped, in evaluation mode.
        tokenizer: Of the model.
        prompt: The study as the model reads it, with its images.
        config: How to write; `batch_size` does not matter.
        rows: Numbers of the K reports.
        stop: Set in another thread, it ends sampling as if the reader stopped; for a reader who
            may never ask again, as where a server is shut down.

    Yields:
        K drafts each time that something was added; all of the last are finished, unless `stop`
        was set.

    Raises:
        DataError: the prompt's image tokens do not match its images (the message names the study).
    """
    tokens = generation_tokens(model, tokenizer)
    limit = config.max_completion_tokens
    settings = tokens.sampling(max_tokens=limit, temperature=config.temperature)
    uniforms_KT = torch.stack(
        [
            uniform_draws(
                config.seed, "generate", prompt.study_id, *([k] if k else []), count=limit
            )
            for k in rows
        ]
    )
    written: _Tokens = queue.SimpleQueue()
    is_stopped = threading.Event()

    def is_told() -> bool:
        return stop is not None and stop.is_set()

    def tell(row: int, token: int) -> None:
        if is_stopped.is_set() or is_told():
            raise _StoppedError
        written.put((row, token))

    def sample() -> None:
        try:
            sample_responses(model, [prompt], uniforms_KT[None], settings, listener=tell)
        finally:
            written.put(None)

    reports = [_Row([]) for _ in rows]
    with ThreadPoolExecutor(1, thread_name_prefix="sampling") as pool:
        sampling = pool.submit(sample)
        try:
            while _add(reports, written):
                yield tuple(row.draft(tokenizer, tokens.eos_token_ids, limit) for row in reports)
        finally:
            is_stopped.set()
        if not is_told():
            sampling.result()


def _add(reports: list[_Row], written: _Tokens) -> bool:
    """Wait for a token, and add all that are there; return False after the last."""
    found = written.get()
    if found is None:
        return False
    while found is not None:
        row, token = found
        reports[row].tokens.append(token)
        if written.empty():
            return True
        found = written.get()
    written.put(None)  # for the next call
    return True
