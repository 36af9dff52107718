"""Who sees whom in a packed row: the columns of groups, their blocks, and sliding windows.

Left out on purpose: the kernels that compute attention (attention.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class GroupSpan:
    """Where one group is in a packed row.

    Attributes:
        start: Column of the first prompt token.
        prefix: Prompt tokens that stand once, before the responses.
        lengths: Columns of each response's segment, in order; empty for a bare prompt.
        blocks: First token and the one after the last of what sees each other both ways in the
            prompt, counted from its start.
    """

    start: int
    prefix: int
    lengths: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()

    @property
    def end(self) -> int:
        """The column after the group."""
        return self.start + self.prefix + sum(self.lengths)


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a row are, (L,) int64 each.

    Attributes:
        group_L: The number of the group.
        segment_L: The number of the response in its group, from 1; 0 in the prompt.
        place_L: How many tokens are before it in its prompt and its response.
        block_L: The number of the block, from 1; 0 outside of any.
    """

    group_L: Tensor
    segment_L: Tensor
    place_L: Tensor
    block_L: Tensor

    @classmethod
    def of(cls, groups: Sequence[GroupSpan], device: torch.device) -> "Columns":
        """Number the columns of groups."""
        parts: list[tuple[Tensor, ...]] = []
        for number, span in enumerate(groups):
            block = torch.zeros(span.prefix, dtype=torch.long)
            for k, (first, end) in enumerate(span.blocks, start=1):
                block[first:end] = k
            parts.append(_numbered(number, 0, 0, block))
            for k, length in enumerate(span.lengths, start=1):
                no_block = torch.zeros(length, dtype=torch.long)
                parts.append(_numbered(number, k, span.prefix, no_block))
        return cls(*(torch.cat(one).to(device) for one in zip(*parts, strict=True)))

    def sees(self, q: Tensor, k: Tensor, window: int | None) -> Tensor:
        """Say which columns see which.

        Args:
            q: int64 columns that see, of a shape that broadcasts with `k`.
            k: int64 columns that may be seen.
            window: How many tokens a token sees, itself included; None for all.

        Returns:
            bool, of the common shape.
        """
        segment_L, block_L = self.segment_L, self.block_L
        is_group = self.group_L[k] == self.group_L[q]
        is_before = (k <= q) & ((segment_L[k] == 0) | (segment_L[k] == segment_L[q]))
        seen = is_group & (is_before | ((block_L[q] > 0) & (block_L[k] == block_L[q])))
        return seen if window is None else seen & (self.place_L[k] > self.place_L[q] - window)


def _numbered(group: int, segment: int, first: int, block: Tensor) -> tuple[Tensor, ...]:
    """Number columns one after another, in the order of the attributes of `Columns`."""
    same = torch.ones_like(block)
    return group * same, segment * same, first + torch.arange(block.shape[0]), block


def prompt_mask(span: GroupSpan, window: int | None, device: torch.device) -> Tensor | None:
    """Say what the tokens of a prompt see.

    Args:
        span: The group.
        window: How many tokens a token sees, itself included; None for all.
        device: Of the result.

    Returns:
        (prefix, prefix) bool; None if each sees all before it, and nothing else.
    """
    if not span.blocks and (window is None or window >= span.prefix):
        return None
    bare = GroupSpan(0, span.prefix, (), blocks=span.blocks)
    all_L = torch.arange(span.prefix, device=device)
    return Columns.of([bare], device).sees(all_L[:, None], all_L[None, :], window)


@dataclass(frozen=True, slots=True)
class ResponseColumns:
    """Columns of a group's responses, padded to the longest.

    Attributes:
        columns_GR: (G, R) columns; past a response's end its last column again.
        kept: (sum of lengths,) places in the flattened (G, R) that are no padding.
        may_attend: (R, prefix + R) bool.
    """

    columns_GR: Tensor
    kept: Tensor
    may_attend: Tensor


def response_columns(
    span: GroupSpan, window: int | None, device: torch.device
) -> ResponseColumns | None:
    """Find the columns of a group's responses, and what they see.

    Args:
        span: The group.
        window: How many tokens a token sees, itself included; None for all.
        device: Of the result.

    Returns:
        The columns; None for a bare prompt.
    """
    if not span.lengths:
        return None
    lengths_G = torch.tensor(span.lengths, device=device)
    longest = max(span.lengths)
    offset_R = torch.arange(longest, device=device)
    starts_G = span.start + span.prefix + lengths_G.cumsum(0) - lengths_G
    is_token_GR = offset_R < lengths_G[:, None]
    # A padded key stands behind every real query of its row, so the causal rule hides it.
    may_attend = torch.ones(longest, span.prefix + longest, dtype=torch.bool, device=device)
    may_attend = may_attend.tril(diagonal=span.prefix)
    if window is not None:
        may_attend = may_attend.triu(diagonal=span.prefix - window + 1)
    return ResponseColumns(
        columns_GR=starts_G[:, None] + torch.minimum(offset_R, lengths_G[:, None] - 1),
        kept=is_token_GR.flatten().nonzero()[:, 0],
        may_attend=may_attend,
    )
