"""Keys and values of sampling: each prompt once, however many rows continue it.

Left out on purpose: who computes them and reads them (decoding.py).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

# Kernels that take a bias want rows of a multiple of 8 elements, and would copy it otherwise.
_ALIGNMENT = 8


class SharedKeyValues:
    """Keys and values of P prompts and, after them, of the K rows that continue each.

    One tensor a layer, (P, H', T + K*C, D): the prompts padded to T columns, then C columns for
    each row. All rows of a prompt are queries of one product with all of its columns; a row's own
    columns are hidden from the other rows.

    Args:
        lengths: Tokens of each prompt.
        rows: K.
        device: Where keys and values are.
    """

    def __init__(self, lengths: Sequence[int], rows: int, device: torch.device) -> None:
        self._prompt_columns = _aligned(max(lengths))
        self._lengths_P = torch.tensor(lengths, device=device)
        self._row_columns = 0
        self._rows = rows
        # A tensor, so that a recorded step can be run again at the next column.
        self._next_column = torch.zeros((), dtype=torch.long, device=device)
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """P and K."""
        return self._lengths_P.shape[0], self._rows

    @property
    def device(self) -> torch.device:
        """Where keys and values are."""
        return self._lengths_P.device

    @property
    def row_columns(self) -> int:
        """C, tokens that there is room for after each prompt."""
        return self._row_columns

    def write_prompt(self, layer: int, number: int, key: Tensor, value: Tensor) -> None:
        """Keep one layer's keys and values of one prompt.

        Args:
            layer: The layer.
            number: Of the prompt.
            key: (H', T, D), rotary positions applied.
            value: (H', T, D).
        """
        if layer not in self._layers:
            heads, _, width = value.shape
            shape = (self.shape[0], heads, self._prompt_columns, width)
            # Zeros: padding is multiplied by a weight of zero, which NaN would survive. Under
            # autocast keys come wider than values.
            self._layers[layer] = value.new_zeros(shape), value.new_zeros(shape)
        for kept, new in zip(self._layers[layer], (key, value), strict=True):
            kept[number, :, : new.shape[1]] = new

    def next_columns(self) -> Tensor:
        """Return (K,) int64, the column of each row's next token: the same in every layer."""
        first_K = torch.arange(self._rows, device=self.device) * self._row_columns
        return self._prompt_columns + first_K + self._next_column

    def write_rows(
        self, layer: int, columns_K: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Keep one layer's keys and values of the next token of every row.

        Args:
            layer: The layer.
            columns_K: From `next_columns`.
            key: (P, H', K, D), rotary positions applied.
            value: (P, H', K, D).

        Returns:
            All keys and all values, (P, H', T + K*C, D) each.
        """
        keys, values = self._layers[layer]
        keys.index_copy_(2, columns_K, key.to(keys.dtype))
        values.index_copy_(2, columns_K, value)
        return keys, values

    def bias(self, like: Tensor, window: int | None) -> Tensor:
        """Say what the next token of every row sees.

        Args:
            like: Has the number format of the result.
            window: How many tokens a token sees, itself included; None for all.

        Returns:
            (P, K, T + K*C): 0 where a row sees a column, the next of its own included, and -inf
            where it does not.
        """
        prompts, rows = self.shape
        device = self.device
        prompt = torch.arange(self._prompt_columns, device=device)
        sees_prompt = prompt < self._lengths_P[:, None]
        row, own = torch.arange(rows, device=device), torch.arange(self._row_columns, device=device)
        is_own = row[:, None, None] == row[None, :, None]
        sees_own = own <= self._next_column
        if window is not None:
            sees_own = sees_own & (own > self._next_column - window)
            first_P = self._lengths_P + self._next_column - window + 1
            sees_prompt = sees_prompt & (prompt >= first_P[:, None])
        sees_rows = (is_own & sees_own).flatten(1)
        sees = torch.cat(
            [
                sees_prompt[:, None].expand(-1, rows, -1),
                sees_rows[None].expand(prompts, -1, -1),
            ],
            dim=2,
        )
        return torch.zeros_like(sees, dtype=like.dtype).masked_fill_(~sees, float("-inf"))

    def advance(self) -> None:
        """Make the next column of every row the one after it."""
        self._next_column += 1

    def extend(self, columns: int) -> None:
        """Give every row room for more tokens.

        Args:
            columns: How many at least.
        """
        columns = _aligned(columns)
        self._relay(lambda own: pad(own, (0, 0, 0, columns)), slice(None))
        self._row_columns += columns

    def select(self, prompt_P: Tensor, row_PK: Tensor) -> None:
        """Keep some prompts and some rows of each.

        Args:
            prompt_P: (P',) int64, numbers of the prompts that stay.
            row_PK: (P', K') int64, for each of them the rows that stay.
        """
        prompts = torch.arange(prompt_P.shape[0], device=prompt_P.device)[:, None]
        self._relay(lambda own: own[prompts, :, row_PK].transpose(1, 2), prompt_P)
        self._lengths_P, self._rows = self._lengths_P[prompt_P], row_PK.shape[1]

    def _relay(self, change: Callable[[Tensor], Tensor], prompts: slice | Tensor) -> None:
        """Lay every layer out anew, one at a time: a prompt's columns as they are, the rows' own,
        (P, H', K, C, D), as `change` returns them."""
        first = self._prompt_columns
        for layer, (keys, values) in self._layers.items():
            changed = []
            for kept in (keys[prompts], values[prompts]):
                count, heads, _, width = kept.shape
                own = kept[:, :, first:]
                own = own.reshape(count, heads, self._rows, self._row_columns, width)
                changed.append(torch.cat([kept[:, :, :first], change(own).flatten(2, 3)], dim=2))
            self._layers[layer] = changed[0], changed[1]


def _aligned(columns: int) -> int:
    return -(-columns // _ALIGNMENT) * _ALIGNMENT
