"""GREEN as a metric: pairs of reports in, counts and scores out."""

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.memo import Memo, Stored
from editgrpo.clinical.store import open_store
from editgrpo.config import ClinicalConfig
from editgrpo.metrics.green.endpoint import EndpointBackend
from editgrpo.metrics.green.local import LocalBackend
from editgrpo.metrics.green.parse import GreenResult, parse_answer
from editgrpo.metrics.green.prompt import build_prompt

_LOG = logging.getLogger(__name__)

_PER_CALL = 256
"""Questions put together: what is answered is remembered when a later one fails."""


FORMAT_VERSION = 1
"""Version of the answers that are kept on disk; to be raised when a question is put differently."""


class Backend(Protocol):
    """Whatever answers the judge's questions."""

    @property
    def identity(self) -> str:
        """What answers depend on besides the question."""
        ...

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the answer to each question, in order."""
        ...


class GreenJudge:
    """The share of matched findings among matched findings and significant errors.

    Evaluation only. Equal pairs are asked once; with a store (`clinical.store`), once for all runs.

    Attributes:
        name: `green@radllama2-7b`.
        incomplete: Answers so far that lacked a section that counts; see `GreenResult`.
    """

    name = "green@radllama2-7b"

    def __init__(self, config: ClinicalConfig, *, backend: Backend | None = None) -> None:
        """Choose where the judge runs; nothing is loaded or sent yet.

        Args:
            config: `green_endpoint` asks a server, else the model runs in this process.
            backend: Answers in place of both.
        """
        if backend is None:
            is_local = config.green_endpoint is None
            backend = LocalBackend(config) if is_local else EndpointBackend(config)
        self.incomplete = 0
        self._config = config
        self._backend = backend
        self._memo: Memo[str] | None = None

    def read(self, texts: Sequence[str]) -> Sequence[str]:
        """Return the texts: the judge reads both reports of a pair together."""
        return list(texts)

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs, in [0, 1]; errors are those of `judge`.

        An answer in another form than the one asked for has the score that the published parser
        gives it (0 in nearly all cases). Such answers are counted in `incomplete` and their number
        is logged, once a call.
        """
        results = self.judge(list(zip(candidates, references, strict=True)))
        return np.array([result.score for result in results], dtype=np.float64)

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[GreenResult]:
        """Judge pairs of reports, with counts by kind of error.

        Args:
            pairs: N pairs (candidate, reference).

        Returns:
            N results, in order.

        Raises:
            RewardError: the server failed, or a question is too long or does not fit into memory.
            ModelError: the model is missing.
        """
        prompts = [build_prompt(reference, candidate) for candidate, reference in pairs]
        distinct = list(dict.fromkeys(prompts))
        memo = self._remembered()
        results: dict[str, GreenResult] = {}
        for start in range(0, len(distinct), _PER_CALL):
            chunk = distinct[start : start + _PER_CALL]
            results.update(zip(chunk, map(parse_answer, memo(chunk)), strict=True))
        incomplete = sum(not results[prompt].is_complete for prompt in prompts)
        if incomplete:
            self.incomplete += incomplete
            _LOG.warning(
                "%s: %d of %d answers lack a section and have the score that the published parser "
                "gives them (docs/metrics.md)",
                self.name,
                incomplete,
                len(prompts),
            )
        return [results[prompt] for prompt in prompts]

    def _remembered(self) -> Memo[str]:
        """Return the memory of answers by question, made on first use: it hashes the weights."""
        if self._memo is None:
            store = open_store(self._config)
            stored = (
                None
                if store is None
                else Stored(
                    store=store,
                    namespace=f"{self.name}/{FORMAT_VERSION}/{self._backend.identity}",
                    encode=lambda answer: answer.encode("utf-8", "surrogatepass"),
                    decode=lambda value: value.decode("utf-8", "surrogatepass"),
                )
            )
            self._memo = Memo(self._backend.answer, stored=stored)
        return self._memo
