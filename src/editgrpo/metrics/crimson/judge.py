"""CRIMSON as a metric: pairs of reports in, judgements and scores out.

The judge is asked through `/chat/completions`, with the temperature 0 and the seed of the authors'
package. It knows both reports and nothing of the patient: `crimson-score` may be given age and
indication, which a metric of two texts does not have, and without them it asks the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, RewardError
from editgrpo.metrics.crimson.prompt import CrimsonPrompt, load_prompt
from editgrpo.metrics.crimson.score import CrimsonResult, read_judgement, score_judgement
from editgrpo.metrics.judges.memory import Backend, RememberedAnswers
from editgrpo.metrics.judges.server import Form, JudgeServer, ServerBackend

FORMAT_VERSION = 1
"""Version of the answers that are kept on disk; to be raised when a question is put differently."""

SEED = 42
"""Of crimson-score 0.2.0; a question that is put again because of its answer has the next one."""


def require_endpoint(config: ClinicalConfig) -> str:
    """Return the URL of CRIMSON's server; ConfigError, with the remedy, if there is none."""
    if config.crimson_endpoint is None:
        raise ConfigError(
            "crimson@judge needs a server: set clinical.crimson_endpoint (--crimson-endpoint) to "
            "the URL of one of OpenAI's protocol (docs/metrics.md)"
        )
    return config.crimson_endpoint


def crimson_identity(config: ClinicalConfig) -> str:
    """Return what CRIMSON's numbers depend on besides the texts: the judge and the wording.

    Args:
        config: Names both.

    Returns:
        The name of the served model and that of the wording.

    Raises:
        ConfigError: there is no server, or the wording cannot be read.
    """
    require_endpoint(config)
    return f"{config.crimson_model}, prompt {load_prompt(config.crimson_prompt).name}"


def crimson_backend(config: ClinicalConfig, *, first_wait_s: float = 1.0) -> ServerBackend:
    """Return what asks the server of CRIMSON's judge; nothing is sent yet.

    Args:
        config: Names the server in `crimson_endpoint`.
        first_wait_s: Wait before a question is first put again; it doubles with each further time.

    Returns:
        The backend. An answer without a judgement is asked for again.

    Raises:
        ConfigError: no endpoint is given, or the wording cannot be read.
    """
    server = JudgeServer(
        judge="crimson",
        url=require_endpoint(config),
        model=config.crimson_model,
        concurrency=config.crimson_concurrency,
        timeout_s=config.crimson_timeout_s,
        retries=config.crimson_retries,
        first_wait_s=first_wait_s,
    )
    return ServerBackend(server, _form(load_prompt(config.crimson_prompt)))


def _form(prompt: CrimsonPrompt) -> Form:
    def content(question: str, attempt: int) -> Mapping[str, Any]:
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        return {
            "messages": [*system, {"role": "user", "content": question}],
            "temperature": 0,
            "seed": SEED + attempt,
            "response_format": {"type": "json_object"},
        }

    return Form(
        path="chat/completions",
        content=content,
        text_of=lambda answer: answer["choices"][0]["message"]["content"],
        is_readable=lambda text: read_judgement(text) is not None,
        bad_request="does it take questions of 4096 tokens and answers in JSON "
        "(vLLM: --max-model-len 8192)?",
    )


class CrimsonJudge:
    """CRIMSON's score of one report.

    Equal pairs are asked once; with a store (`clinical.store`), once for all runs. Nothing is read
    or sent before that.

    Attributes:
        name: `crimson@judge`.

    Args:
        config: Names server, model and wording.
        backend: Answers in place of the server.
    """

    name = "crimson@judge"

    def __init__(self, config: ClinicalConfig, *, backend: Backend | None = None) -> None:
        self._config = config
        self._backend = backend
        self._answers: RememberedAnswers | None = None

    def read(self, texts: Sequence[str]) -> Sequence[str]:
        """Return the texts: the judge reads both reports of a pair together."""
        return list(texts)

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs, in (-1, 1]; errors are those of `judge`."""
        results = self.judge(list(zip(candidates, references, strict=True)))
        return np.array([result.score for result in results], dtype=np.float64)

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[CrimsonResult]:
        """Judge pairs of reports.

        Args:
            pairs: N pairs (candidate, reference).

        Returns:
            N results, in order.

        Raises:
            ConfigError: there is no server, or the wording cannot be read.
            RewardError: the server failed, or gave no judgement after all retries. There is no
                score for such an answer: crimson-score leaves the report out.
        """
        wording = load_prompt(self._config.crimson_prompt)
        prompts = [wording.question(reference, candidate) for candidate, reference in pairs]
        judgements = {
            prompt: read_judgement(answer) for prompt, answer in self._asked(prompts).items()
        }
        found = [judgements[prompt] for prompt in prompts]
        results = [score_judgement(one) for one in found if one is not None]
        if len(results) < len(found):
            wrong = found.index(None)
            raise RewardError(
                f"{self.name}: the judge's answer at index {wrong} is no judgement in the form "
                "asked for; is clinical.crimson_model able to answer in JSON?"
            )
        return results

    def _asked(self, prompts: Sequence[str]) -> dict[str, str]:
        if self._answers is None:
            name = load_prompt(self._config.crimson_prompt).name
            self._answers = RememberedAnswers(
                self._backend or crimson_backend(self._config),
                self._config,
                f"{self.name}/{FORMAT_VERSION}/{name}",
            )
        return self._answers(prompts)
