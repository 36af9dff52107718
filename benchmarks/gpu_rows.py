"""A group in separate rows, as a stock trainer computes it, compared with a packed one."""

from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_measure import Cost, rounded
from editgrpo.training.packed.packing import packed_length
from editgrpo.training.policy.positions import prompt_positions
from editgrpo.training.policy.processor import EncodedPrompt

Group = list[list[int]]


def stock_rows(
    model: Any, prompt: EncodedPrompt, group: Group, device: torch.device
) -> dict[str, Tensor]:
    """Lay a group out in rows: the prompt and one answer each, padded on the right.

    Args:
        model: For its rule of positions.
        prompt: The prompt, with images.
        group: Its answers.
        device: Where the rows go.

    Returns:
        What the model takes, and `labels_BC`, 0 at padding.
    """
    longest = max(map(len, group))
    positions = prompt_positions(model, prompt)
    behind = int(positions.max()) + 1 + torch.arange(longest)
    labels = torch.tensor([[*answer, *[0] * (longest - len(answer))] for answer in group])
    is_answer = torch.arange(longest) < torch.tensor([[len(answer)] for answer in group])
    rows = len(group)
    ids = torch.cat([prompt.input_ids_T.expand(rows, -1), labels], dim=1)
    mask = torch.cat([torch.ones(rows, prompt.input_ids_T.shape[0]), is_answer], dim=1)
    one = torch.cat([positions, behind.expand(3, -1)], dim=1)
    assert prompt.pixel_values is not None and prompt.image_grid_thw is not None
    found = {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "position_ids": one[:, None].expand(-1, rows, -1),
        "pixel_values": prompt.pixel_values.repeat(rows, 1),
        "image_grid_thw": prompt.image_grid_thw.repeat(rows, 1),
        "labels_BC": labels,
        "is_answer_BC": is_answer,
    }
    return {name: value.to(device) for name, value in found.items()}


def row_log_probs(model: Any, rows: dict[str, Tensor]) -> Tensor:
    """Compute log-probabilities of separate rows, as TRL does: logits of all answer tokens at once.

    Args:
        model: The model.
        rows: From `stock_rows`.

    Returns:
        (B, C) float32, 0 at padding.
    """
    labels_BC, is_answer_BC = rows["labels_BC"], rows["is_answer_BC"]
    inputs = {name: value for name, value in rows.items() if not name.endswith("_BC")}
    logits = model(**inputs, use_cache=False, logits_to_keep=labels_BC.shape[1] + 1).logits[:, :-1]
    log_probs = [  # row by row, as TRL does
        one.float().log_softmax(dim=-1).gather(1, label[:, None])[:, 0]
        for one, label in zip(logits, labels_BC, strict=True)
    ]
    return torch.stack(log_probs).masked_fill(~is_answer_BC, 0.0)


def ideal_ratio(prompt: EncodedPrompt, group: Group) -> float:
    """Return how many tokens separate rows compute, for one that a packed row does."""
    separate = sum(prompt.input_ids_T.shape[0] + len(answer) for answer in group)
    return separate / packed_length(prompt, group)


def memory_ratio(stock: Cost, ours: Cost) -> float | None:
    """Return how many times more memory the rows took at their peak, weights included."""
    if stock.peak_mib is None or ours.peak_mib is None:
        return None
    return rounded(stock.peak_mib / ours.peak_mib)


def differences(a_BC: Tensor, b_BC: Tensor, is_response_BC: Tensor) -> dict[str, float]:
    """Return the mean and the largest absolute difference at response tokens."""
    apart = (a_BC - b_BC).abs()[is_response_BC].tolist()
    return {"mean": rounded(fmean(apart)), "largest": rounded(max(apart))}
