"""From the words of reports to the batches that a RadGraph encoder reads."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from editgrpo.reports.radgraph.dygie import WordPieces

ReportPieces: TypeAlias = list[tuple[int, ...]]
"""The wordpiece ids of each word of a report; none for a word that the tokenizer drops."""

_MOST_WORDS = 100_000  # remembered; reports of IU X-Ray have about 5,000 different ones


class WordTokenizer:
    """Cuts words, each by itself, into wordpieces, and folds reports into segments.

    Args:
        tokenizer: A tokenizer of transformers.
        max_length: Most tokens of a segment, special tokens included.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        bare = self._ids(["a"])[0]
        whole = tuple(tokenizer("a")["input_ids"])
        start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self._before, self._after = whole[:start], whole[start + len(bare) :]
        self._room = max_length - len(self._before) - len(self._after)
        self._known: dict[str, tuple[int, ...]] = {}

    def pieces(self, reports: Sequence[Sequence[str]]) -> list[ReportPieces]:
        """Return the wordpieces of each word of each report; each distinct word is cut once."""
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        words = dict.fromkeys(word for report in reports for word in report)
        unknown = [word for word in words if word not in self._known]
        if unknown:
            self._known.update(zip(unknown, self._ids(unknown), strict=True))
        return [[self._known[word] for word in report] for report in reports]

    def length(self, report: ReportPieces) -> int:
        """Return how many tokens the encoder reads of a report, special tokens included."""
        count = sum(map(len, report))
        segments = -(-count // self._room)
        return count + segments * (len(self._before) + len(self._after))

    def batch(self, reports: Sequence[ReportPieces]) -> WordPieces:
        """Fold reports into segments and pad these to one length.

        A long report is cut every so many wordpieces, within a word if it falls so; each segment
        has special tokens of its own and is read by itself.

        Args:
            reports: At least one, each with a wordpiece.

        Returns:
            The batch, on the CPU.
        """
        segments: list[list[int]] = []
        places: list[tuple[int, int]] = []
        word_P: list[int] = []
        n_words = 0
        for report in reports:
            ids = [piece for word in report for piece in word]
            for start in range(0, len(ids), self._room):
                cut = ids[start : start + self._room]
                places += [(len(segments), len(self._before) + i) for i in range(len(cut))]
                segments.append([*self._before, *cut, *self._after])
            for word in report:
                word_P += [n_words] * len(word)
                n_words += 1
        longest = max(map(len, segments))
        padding = self._tokenizer.pad_token_id or 0
        return WordPieces(
            ids_ST=torch.tensor([row + [padding] * (longest - len(row)) for row in segments]),
            is_token_ST=torch.arange(longest) < torch.tensor([[len(row)] for row in segments]),
            place_P=torch.tensor([segment * longest + position for segment, position in places]),
            word_P=torch.tensor(word_P),
            words_R=tuple(map(len, reports)),
        )

    def _ids(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        encoded = self._tokenizer(
            list(words),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return [tuple(ids) for ids in encoded["input_ids"]]
