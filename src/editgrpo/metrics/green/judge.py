"""GREEN as a metric: pairs of reports in, counts and scores out."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.config import ClinicalConfig
from editgrpo.errors import RewardError
from editgrpo.metrics.green.endpoint import green_backend
from editgrpo.metrics.green.local import LocalBackend
from editgrpo.metrics.green.parse import GreenResult, parse_answer
from editgrpo.metrics.green.prompt import build_prompt
from editgrpo.metrics.judges.memory import Backend, RememberedAnswers

_LOG = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Version of the answers that are kept on disk; to be raised when a question is put differently."""


class GreenJudge:
    """The share of matched findings among matched findings and significant errors.

    Equal pairs are asked once; with a store (`clinical.store`), once for all runs. Nothing is
    loaded or sent before that.

    Attributes:
        name: `green@radllama2-7b`, with `-guarded` in the form in which it is paid.
        incomplete: Answers so far that lacked a section that counts; see `GreenResult`.

    Args:
        config: `green_endpoint` asks a server, else the model runs in this process.
        backend: Answers in place of both.
        guarded: Whether an answer that lacks a section is an error; else it has the score that
            the published parser gives it, mostly 0.
    """

    def __init__(
        self, config: ClinicalConfig, *, backend: Backend | None = None, guarded: bool = False
    ) -> None:
        if backend is None:
            is_local = config.green_endpoint is None
            backend = LocalBackend(config) if is_local else green_backend(config)
        self.name = "green@radllama2-7b" + ("-guarded" if guarded else "")
        self.incomplete = 0
        self._guarded = guarded
        # Both forms ask the same questions, and share what is kept of the answers.
        self._answers = RememberedAnswers(backend, config, f"green@radllama2-7b/{FORMAT_VERSION}")

    def read(self, texts: Sequence[str]) -> Sequence[str]:
        """Return the texts: the judge reads both reports of a pair together."""
        return list(texts)

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs, in [0, 1]; errors are those of `judge`.

        An answer in another form than the one asked for has the score that the published parser
        gives it (0 in nearly all cases). Such answers are counted in `incomplete` and their number
        is logged, once a call. Guarded, the first of them is a RewardError: as a reward a made-up 0
        would teach.
        """
        results = self.judge(list(zip(candidates, references, strict=True)))
        wrong = next((k for k, result in enumerate(results) if not result.is_complete), None)
        if self._guarded and wrong is not None:
            raise RewardError(
                f"{self.name}: the judge's answer at index {wrong} lacks a section that counts, so "
                "it says nothing of the report; is clinical.green_model the published judge?"
            )
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
        results = {
            prompt: parse_answer(answer) for prompt, answer in self._answers(prompts).items()
        }
        incomplete = sum(not results[prompt].is_complete for prompt in prompts)
        if incomplete and not self._guarded:
            self.incomplete += incomplete
            _LOG.warning(
                "%s: %d of %d answers lack a section and have the score that the published parser "
                "gives them (docs/metrics.md)",
                self.name,
                incomplete,
                len(prompts),
            )
        return [results[prompt] for prompt in prompts]
