"""In which number format processes exchange what they computed."""

from dataclasses import replace
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy


def exchange_in_float32(accelerator: Any) -> None:
    """Let FSDP2 sum gradients in float32, and leave what the model returns as it is.

    Told to compute in bfloat16, accelerate sums in bfloat16, too, and rounds the model's results to
    it: a log-probability of -3 would be off by up to 0.008.

    Args:
        accelerator: Of accelerate, before it wraps a model; without FSDP2 nothing changes.
    """
    plugin: Any = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if isinstance(policy, MixedPrecisionPolicy):
        plugin.mixed_precision_policy = replace(
            policy, reduce_dtype=torch.float32, output_dtype=None
        )
