"""Questions that were answered, remembered: in this process, and on disk where there is a store."""

from collections.abc import Sequence
from typing import Protocol

from editgrpo.clinical.memo import Memo, Stored
from editgrpo.clinical.store import open_store
from editgrpo.config import ClinicalConfig

_PER_CALL = 256
"""Questions put together: what is answered is remembered when a later one fails."""


class Backend(Protocol):
    """Whatever answers a judge's questions."""

    @property
    def identity(self) -> str:
        """What answers depend on besides the question."""
        ...

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the answer to each question, in order."""
        ...


class RememberedAnswers:
    """Asks a backend each question once; with a store (`clinical.store`), once for all runs.

    Args:
        backend: Answers.
        config: Names the store, if there is one.
        name: The metric and the version of how its questions are put.
    """

    def __init__(self, backend: Backend, config: ClinicalConfig, name: str) -> None:
        self._backend = backend
        self._config = config
        self._name = name
        self._memo: Memo[str] | None = None

    def __call__(self, prompts: Sequence[str]) -> dict[str, str]:
        """Return the answer to each distinct question.

        Args:
            prompts: The questions.

        Returns:
            Question to answer.

        Raises:
            RewardError: the backend failed; what it answered before is remembered.
        """
        distinct = list(dict.fromkeys(prompts))
        memo = self._opened() if distinct else None
        answers: dict[str, str] = {}
        for start in range(0, len(distinct), _PER_CALL):
            assert memo is not None
            chunk = distinct[start : start + _PER_CALL]
            answers.update(zip(chunk, memo(chunk), strict=True))
        return answers

    def _opened(self) -> Memo[str]:
        """Return the memory, made on first use: a model's identity hashes its weights."""
        if self._memo is None:
            store = open_store(self._config)
            stored = (
                None
                if store is None
                else Stored(
                    store=store,
                    namespace=f"{self._name}/{self._backend.identity}",
                    encode=lambda answer: answer.encode("utf-8", "surrogatepass"),
                    decode=lambda value: value.decode("utf-8", "surrogatepass"),
                )
            )
            self._memo = Memo(self._backend.answer, stored=stored)
        return self._memo
