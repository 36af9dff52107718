"""One measurement of `benchmarks.update_step`, in a process of its own.

    python -m benchmarks.update_measure WHAT CASE FOLDER REPEATS RECORD

WHAT is `stock`, `ours` or `kernels`, CASE the fields of a `workload.Case` as JSON, FOLDER what
`workload.prepare` wrote, RECORD where the first update's results go. The last line printed is one
JSON object.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.memory import forget_peak_memory, peak_memory_mib, resident_memory_mib
from benchmarks.packed import PackedUpdate
from benchmarks.stock_trl import StockUpdate
from benchmarks.workload import THREADS, Case, draw_group, train_config
from editgrpo.config import AttentionKernel
from editgrpo.training.packed.attention import AttentionPlan, GroupPlan
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.policy.load import load_processor


def main() -> None:
    """Measure what the words of the command ask for."""
    what, case_text, folder, repeats, record = sys.argv[1:]
    torch.set_num_threads(THREADS)
    case = Case(**json.loads(case_text))
    with tempfile.TemporaryDirectory(prefix="editgrpo-run-") as run:
        config = train_config(Path(folder), case, Path(run))
        group = draw_group(case, load_processor(Path(config.model.path)))
        if what == "kernels":
            found = measure_kernels(PackedUpdate(config, group), int(repeats))
        else:
            side = StockUpdate(config, group) if what == "stock" else PackedUpdate(config, group)
            found = measure(side, int(repeats), Path(record))
    print(json.dumps(found))


def measure(side: StockUpdate | PackedUpdate, repeats: int, record: Path) -> dict[str, Any]:
    """Warm up, which gives the memory, then time the updates.

    Args:
        side: What is measured.
        repeats: Timed updates.
        record: Where loss, log-probabilities and gradients of the first update go.

    Returns:
        Seconds of each timed update and of its two parts, memory in MiB, and what a side has
        besides: `head_s` or `vision_s`.
    """
    fill_optimizer(side.trainer)
    before = resident_memory_mib()
    forget_peak_memory()
    batch, loss, _ = update(side)
    peak = peak_memory_mib()
    write_record(record, side, batch, loss)
    del batch
    seconds = []
    for _ in range(repeats):
        seconds.append(update(side)[2])
        side.trainer.model.zero_grad(set_to_none=True)
    return {
        "updates": seconds,
        "before_mib": before,
        "peak_mib": peak,
        "growth_mib": peak - before,
        **side.more_seconds(),
    }


def update(side: StockUpdate | PackedUpdate) -> tuple[Any, float, dict[str, float]]:
    """Run one update and time it; gradients stay."""
    start = time.perf_counter()
    batch = side.reference()
    middle = time.perf_counter()
    loss = side.backward(batch)
    end = time.perf_counter()
    seconds = {
        "update_s": end - start,
        "reference_s": middle - start,
        "policy_s": end - middle,
    }
    return batch, loss, seconds


def fill_optimizer(trainer: Any) -> None:
    """Let the optimiser hold its state, as after the first step of a run; weights stay."""
    trainer.create_optimizer()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    trainer.model.zero_grad(set_to_none=True)


def write_record(path: Path, side: StockUpdate | PackedUpdate, batch: Any, loss: float) -> None:
    """Save what both sides must agree on, and clear the gradients."""
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in side.trainer.model.named_parameters()
        if parameter.grad is not None
    }
    side.trainer.model.zero_grad(set_to_none=True)
    log_probs, reference = side.log_probs(batch)
    found = {"loss": torch.tensor(loss), "gradients": gradients}
    torch.save(found | {"log_probs": log_probs, "reference_log_probs": reference}, path)


def measure_kernels(side: PackedUpdate, repeats: int) -> dict[str, Any]:
    """Time forward and backward of one packed pass with each kernel.

    Args:
        side: With a group.
        repeats: Timed passes, after a warm-up.

    Returns:
        For each kernel the median of seconds, and the largest difference of its log-probabilities
        from those of the first; for one that cannot run here the reason.
    """
    model, packed = side.trainer.model, side.reference().packed
    plans: dict[str, AttentionPlan] = {
        kernel.value: GroupPlan(packed.plan.groups, kernel) for kernel in AttentionKernel
    }
    if find_spec("prefix_grouper") is not None:
        plans["prefix_grouper"] = GrouperPlan(packed.plan)
    found: dict[str, Any] = {}
    first: Tensor | None = None
    for name, plan in plans.items():
        one = replace(packed, plan=plan)
        seconds = []
        try:
            for _ in range(repeats + 1):
                start = time.perf_counter()
                log_probs, _ = packed_log_probs(model, one)
                log_probs.sum().backward()
                seconds.append(time.perf_counter() - start)
                model.zero_grad(set_to_none=True)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            found[name] = {"cannot_run": str(error).splitlines()[0]}
            continue
        first = log_probs.detach() if first is None else first
        difference = float((log_probs.detach() - first).abs().max())
        found[name] = {"pass_s": round(median(seconds[1:]), 3), "difference": difference}
    return found


class GrouperPlan(AttentionPlan):
    """Attention of one packed group by the package `prefix_grouper`, with SDPA inside.

    Args:
        plan: Of one group.
    """

    def __init__(self, plan: GroupPlan) -> None:
        from prefix_grouper import PrefixGrouper

        (span,) = plan.groups
        self._grouper = PrefixGrouper([[span.prefix, *span.lengths]])

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, *, scaling: float
    ) -> Tensor:
        """Compute one layer's attention; see `AttentionPlan`."""

        def sdpa(q: Tensor, k: Tensor, v: Tensor, is_token: Tensor) -> Tensor:
            causal = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
            causal = causal.tril(diagonal=k.shape[2] - q.shape[2])
            mask = is_token[:, None, None].bool() & causal
            attended = scaled_dot_product_attention(
                q, k, v, attn_mask=mask, scale=scaling, enable_gqa=True
            )
            return attended.transpose(1, 2)

        attended: Tensor = self._grouper.forward(sdpa, query, key, value)
        return attended


if __name__ == "__main__":
    main()
