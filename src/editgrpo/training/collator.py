"""Batches for teacher forcing: what the model reads and which tokens it is scored on."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editgrpo.data.study import Study
from editgrpo.errors import ConfigError
from editgrpo.training.policy.generation_tokens import padding_token
from editgrpo.training.policy.processor import stands_for_tokens
from editgrpo.training.policy.prompts import PromptEncoder

IGNORED_LABEL = -100  # what transformers and TRL take for a token that is not scored


class FindingsCollator:
    """Batches studies for teacher forcing: prompt, reference (findings, unless another target is
    asked for) and end token, scored on the last two only.

    Args:
        studies: The studies that the rows' indices count.
        encoder: Encodes prompts.
    """

    def __init__(self, studies: Sequence[Study], encoder: PromptEncoder) -> None:
        self._studies = studies
        self._encoder = encoder
        self._tokenizer = encoder.processor.tokenizer

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Collate rows that name studies by `index`.

        Args:
            rows: One for each study of the batch.

        Returns:
            input_ids, labels and attention_mask (B, L), padded on the right, and what the model
            takes besides: what stands for tokens likewise, what stands for images of all prompts.
        """
        studies = [self._studies[row["index"]] for row in rows]
        prompts = self._encoder.encode_all(studies)
        targets = [self.target_tokens(study) for study in studies]
        length = max(p.input_ids_T.shape[0] + len(t) for p, t in zip(prompts, targets, strict=True))
        shape = (len(rows), length)
        pad = padding_token(self._tokenizer)
        batch = {
            "input_ids": torch.full(shape, pad),
            "labels": torch.full(shape, IGNORED_LABEL),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
        }
        stock = [prompt.stock_inputs() for prompt in prompts]
        for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
            start = prompt.input_ids_T.shape[0]
            end = start + len(target)
            batch["input_ids"][row, :start] = prompt.input_ids_T
            batch["input_ids"][row, start:end] = torch.tensor(target)
            batch["labels"][row, start:end] = torch.tensor(target)
            batch["attention_mask"][row, :end] = 1
        return batch | join_rows(stock, [p.input_ids_T.shape[0] for p in prompts], length)

    def target_tokens(self, study: Study) -> list[int]:
        """Return the reference's token ids with the end-of-sequence token."""
        ids: list[int] = self._tokenizer(study.reference, add_special_tokens=False)["input_ids"]
        return [*ids, self._tokenizer.eos_token_id]


def join_rows(
    rows: Sequence[Mapping[str, Tensor]], tokens: Sequence[int], length: int
) -> dict[str, Tensor]:
    """Join what a stock forward takes of each row besides its token ids.

    Args:
        rows: For each of B rows, from `EncodedPrompt.stock_inputs`.
        tokens: For each how many tokens it stands for.
        length: L, of the batch.

    Returns:
        What stands for tokens as (B, L), 0 at padding and where a row has none; what stands for
        images one after another.

    Raises:
        ConfigError: rows have images of other shapes, such as other numbers of them on an axis of
            its own.
    """
    joined: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        present = {k: row[name] for k, row in enumerate(rows) if name in row}
        if any(stands_for_tokens(value, tokens[k]) for k, value in present.items()):
            joined[name] = torch.zeros(len(rows), length, dtype=next(iter(present.values())).dtype)
            for k, value in present.items():
                joined[name][k, : value.shape[1]] = value[0]
        else:
            if len({value.shape[1:] for value in present.values()}) > 1:
                raise ConfigError(
                    f"{name} of several studies cannot be joined: "
                    f"{sorted({tuple(value.shape) for value in present.values()})}; "
                    "set micro_batch_size=1"
                )
            joined[name] = torch.cat([*present.values()])
    return joined
