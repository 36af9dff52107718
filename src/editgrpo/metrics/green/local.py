"""The judge in this process, through transformers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from editgrpo.clinical.batching import run_rows
from editgrpo.clinical.device import torch_device, torch_dtype
from editgrpo.clinical.pretrained import load_model, load_tokenizer
from editgrpo.clinical.shared import shared_model
from editgrpo.clinical.weights import ClinicalModel, model_identity
from editgrpo.config import ClinicalConfig
from editgrpo.errors import RewardError
from editgrpo.metrics.green.prompt import MAX_TOKENS, chat_text
from editgrpo.metrics.judges.costs import count, timed


class LocalBackend:
    """Answers questions with a model that is loaded on first use, one copy a process.

    Args:
        config: Where the model lies and how it runs.
        max_tokens: Most tokens of question and answer together.
    """

    def __init__(self, config: ClinicalConfig, *, max_tokens: int = MAX_TOKENS) -> None:
        self._config = config
        self._max_tokens = max_tokens

    @property
    def identity(self) -> str:
        """What answers depend on besides the question."""
        return f"{model_identity(ClinicalModel.GREEN, self._config)} {self._config.dtype}"

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the judge's answer to each question, in order.

        Args:
            prompts: Questions of `build_prompt`.

        Returns:
            Generated texts, without the questions. An answer does not depend on its batch: what
            is left of `max_tokens` is counted for each question by itself.

        Raises:
            RewardError: a question leaves no room for an answer, or does not fit into memory.
            ModelError: the model is missing or damaged.
        """
        model, tokenizer = _load(self._config)
        ids = [_token_ids(tokenizer, prompt) for prompt in prompts]
        for index, length in enumerate(map(len, ids)):
            if length >= self._max_tokens:
                raise RewardError(
                    f"green: the question at index {index} has {length} tokens of "
                    f"{self._max_tokens}, no room for an answer; is the report one long word?"
                )

        with timed("green"):
            answer = partial(self._generate, model, tokenizer)
            return run_rows(ids, answer, max_tokens=self._config.batch_tokens)

    def _generate(self, model: Any, tokenizer: Any, ids: Sequence[list[int]]) -> list[str]:
        """Answer one batch greedily, padded on the left."""
        import torch

        inputs = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
        longest, end = inputs["input_ids"].shape[1], tokenizer.eos_token_id
        with torch.inference_mode():
            output_BT = model.generate(
                **inputs.to(model.device),
                max_new_tokens=self._max_tokens - min(map(len, ids)),
                do_sample=False,
                temperature=None,
                top_p=None,
                eos_token_id=end,
                pad_token_id=end,
            )
        answers = [
            row[longest : longest + self._max_tokens - len(question)]
            for row, question in zip(output_BT.tolist(), ids, strict=True)
        ]
        # Shorter answers are filled up with end tokens, which nobody generated.
        lengths = [[*row, end].index(end) for row in answers]
        count("green", calls=len(ids), prompt_tokens=sum(map(len, ids)), answer_tokens=sum(lengths))
        return list(tokenizer.batch_decode(answers, skip_special_tokens=True))


def _token_ids(tokenizer: Any, prompt: str) -> list[int]:
    """Return the tokens of a question; the markers in the text become special tokens."""
    text_ids = tokenizer.encode(chat_text(prompt), add_special_tokens=False)
    return [tokenizer.bos_token_id, *text_ids]


def _load(config: ClinicalConfig) -> tuple[Any, Any]:
    """Return model and tokenizer, loaded once for each folder, device and number format."""

    def load(folder: Path) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM

        tokenizer = load_tokenizer(folder, ClinicalModel.GREEN)
        tokenizer.pad_token = tokenizer.eos_token
        model = load_model(
            AutoModelForCausalLM, folder, ClinicalModel.GREEN, dtype=torch_dtype(config)
        )
        return model.to(torch_device(config)), tokenizer

    return shared_model(ClinicalModel.GREEN, config, load)
