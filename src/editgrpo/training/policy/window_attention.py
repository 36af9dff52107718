"""Attention of the vision tower: all windows of one length in one call.

In most of its layers a patch sees its window alone. transformers' towers call SDPA once for each
window, 36 times in such a layer for an image of 46 x 44 patches, and ask the device for the lengths
of the windows in every layer. Here windows of one length are a batch: at most nine calls in such
a layer, four for one image, and lengths are read once a pass of the tower. A layer without windows
has one window an image, and a call for each size of image.

Left out on purpose: what an image is cut into, and the features that come out (features.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from editgrpo.training.policy.model import Policy, WrappedPolicy

_NAME, _STOCK = "editgrpo_windows", "sdpa"


def use_window_batches(model: Policy) -> None:
    """Let the vision tower of a model compute windows of one length together.

    The choice is a setting of the tower's configuration, which goes with copies of the tower and
    is in no saved file.

    Args:
        model: A transformers model, not yet wrapped by PEFT, DDP, FSDP or DeepSpeed. Only the
            towers of Qwen2-VL and Qwen2.5-VL that compute SDPA are changed: a model of text alone,
            another tower and other attention stay as they are.
    """
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
    from transformers.models.qwen2_vl import modeling_qwen2_vl

    known = {
        modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel,
        modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel,
    }
    tower: Any = getattr(model.model, "visual", None)
    if type(tower) not in known or tower.config._attn_implementation != _STOCK:
        return
    for block in tower.blocks:  # the hook is a function of this module, so copies share no weights
        block.attn.register_forward_pre_hook(_hand_over, with_kwargs=True)
    tower.set_attn_implementation(_NAME)


@contextmanager
def stock_windows(model: WrappedPolicy) -> Iterator[None]:
    """Let the vision tower of a model compute as transformers does, within the context.

    A backward pass that computes layers again must be within it, too.

    Args:
        model: A model, wrapped or not; one that `use_window_batches` did not change stays as it is.

    Yields:
        Nothing.
    """
    towers = [
        module
        for module in model.modules()
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == _NAME
    ]
    for tower in towers:
        tower.set_attn_implementation(_STOCK)
    try:
        yield
    finally:
        for tower in towers:
            tower.set_attn_implementation(_NAME)


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows of a layer's patches, by length.

    Attributes:
        counts: How many windows of each length there are, and the length.
        order_T: (T,) int64 columns in the order of the batches; None if it is theirs already.
        back_T: (T,) int64, the way back.
        span: (2,) int32 on the CPU: all columns as one window.
    """

    counts: tuple[tuple[int, int], ...]
    order_T: Tensor | None
    back_T: Tensor | None
    span: Tensor


# A tower passes the same tensor of bounds to all of its layers, and again when gradient
# checkpointing computes them a second time.
_SEEN: Any = WeakTensorKeyDictionary()


def _hand_over(
    module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Give an attention layer one window with everything in it, and ours as well."""
    if module.config._attn_implementation != _NAME or "windows" in keywords:
        return None
    bounds = keywords["cu_seqlens"]
    windows: _Windows | None = _SEEN.get(bounds)
    if windows is None:
        windows = _SEEN[bounds] = _windows(bounds)
    return arguments, {**keywords, "cu_seqlens": windows.span, "windows": windows}


def _windows(bounds: Tensor) -> _Windows:
    """Sort windows, which begin and end at (W + 1,) integer `bounds`, by length."""
    bounds_W = bounds.cpu().long()  # the only wait for the device
    columns = int(bounds_W[-1])
    lengths_W, by_length = bounds_W.diff().sort(stable=True)
    # What lies between the columns of a window here and in the order of the batches.
    offset_W = bounds_W[:-1][by_length] - (lengths_W.cumsum(0) - lengths_W)
    in_place_T = torch.arange(columns)
    order_T = in_place_T + offset_W.repeat_interleave(lengths_W)
    lengths, counts = torch.unique_consecutive(lengths_W, return_counts=True)
    is_sorted = torch.equal(order_T, in_place_T)
    return _Windows(
        counts=tuple(zip(counts.tolist(), lengths.tolist(), strict=True)),
        order_T=None if is_sorted else order_T.to(bounds.device),
        back_T=None if is_sorted else order_T.argsort().to(bounds.device),
        span=torch.tensor([0, columns], dtype=torch.int32),
    )


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    windows: _Windows,
    **keywords: Any,
) -> tuple[Tensor, None]:
    """Compute attention within windows.

    Args:
        module: The attention layer.
        query: (1, H, T, D), rotary positions applied; keys and values likewise.
        key: (1, H, T, D).
        value: (1, H, T, D).
        attention_mask: None: a patch sees its whole window.
        windows: The windows.
        **keywords: For transformers' SDPA.

    Returns:
        (1, T, H, D), and None for the weights.
    """
    rows = [x[0].transpose(0, 1) for x in (query, key, value)]
    if windows.order_T is not None:
        rows = [x.index_select(0, windows.order_T) for x in rows]
    sizes = [count * length for count, length in windows.counts]
    pieces = []
    for shape, *parts in zip(windows.counts, *(torch.split(x, sizes) for x in rows), strict=True):
        batch = (part.unflatten(0, shape).transpose(1, 2) for part in parts)
        attended, _ = sdpa_attention_forward(module, *batch, attention_mask, **keywords)
        pieces.append(attended.flatten(0, 1))
    attended_THD = torch.cat(pieces)
    if windows.back_T is not None:
        attended_THD = attended_THD.index_select(0, windows.back_T)
    return attended_THD[None], None


# Where a model that was saved whole is loaded, its hooks import this module and nothing else of it
# runs.
AttentionInterface.register(_NAME, _attention)
