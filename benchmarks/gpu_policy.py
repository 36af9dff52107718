"""The policy under test: how its parameters are kept, its reference, its passes.

As the trainer sets them up: a frozen tower in bfloat16, autocast, gradient checkpointing, the
packed pass; the reference is a bfloat16 model of its own, or, with LoRA, the policy with its
adapters off.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_measure import Meter
from benchmarks.gpu_workload import Shape, build_model, cast_parameters, policy_loss
from editgrpo.config import LoraConfig, OptimizerState
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups
from editgrpo.training.policy.load import peft_config

_LEARNING_RATE = 1e-6
_MAX_GRAD_NORM = 1.0
_LORA_RANK = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How a policy is trained.

    Attributes:
        state: What the optimiser keeps of a parameter.
        is_lora: Whether adapters are trained in place of the language model.
    """

    state: OptimizerState = OptimizerState.FLOAT32
    is_lora: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return "lora" if self.is_lora else self.state.value


FULL = Kind()
EIGHT_BIT = Kind(state=OptimizerState.EIGHT_BIT)
LORA = Kind(is_lora=True)


class Policy:
    """A model with random weights, ready to be trained.

    Args:
        shape: Its sizes.
        kind: How it is trained.
        device: Where it is.
    """

    def __init__(self, shape: Shape, kind: Kind, device: torch.device) -> None:
        self.kind, self.device = kind, device
        self.base = build_model(shape, device)
        self.base.model.visual.requires_grad_(False)
        cast_parameters(self.base if kind.is_lora else self.base.model.visual, torch.bfloat16)
        add_group_pass(self.base, temperature=1.0)
        self.checkpoint(True)
        self.model = self.base
        self._reference = None
        if kind.is_lora:
            import peft

            self.model = peft.get_peft_model(
                self.base, peft_config(LoraConfig(rank=_LORA_RANK), self.base)
            )
        else:
            self._reference = build_model(shape, device, seed=1)
            cast_parameters(self._reference, torch.bfloat16)
            add_group_pass(self._reference, temperature=1.0)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self._optimizer = self._build_optimizer()
        self.model.train()

    def _build_optimizer(self) -> Any:
        if self.kind.state is OptimizerState.EIGHT_BIT:
            import bitsandbytes

            # As transformers' Trainer does: moments of embeddings stay in 32 bits.
            manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
            manager.register_module_override(
                self.base.get_input_embeddings(), "weight", {"optim_bits": 32}
            )
            return bitsandbytes.optim.AdamW8bit(self.trained, lr=_LEARNING_RATE)
        return torch.optim.AdamW(
            self.trained, lr=_LEARNING_RATE, fused=True if self.device.type == "cuda" else None
        )

    def checkpoint(self, is_on: bool) -> None:
        """Compute layers again in the backward pass, or keep what they computed."""
        if is_on:
            self.base.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        else:
            self.base.gradient_checkpointing_disable()

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in bfloat16."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @torch.no_grad()
    def reference_log_probs(self, packed: PackedGroups) -> Tensor:
        """Return (B, C) float32 log-probabilities under the reference."""
        adapters_off = self.model.disable_adapter() if self.kind.is_lora else nullcontext()
        model = self.model if self._reference is None else self._reference
        with adapters_off, self.autocast():
            return packed_log_probs(model, packed)[0]

    def update(
        self,
        passes: Sequence[PackedGroups],
        references: Sequence[Tensor],
        advantages: Sequence[Tensor],
        meter: Meter,
    ) -> None:
        """Add up gradients of packed passes.

        Args:
            passes: The passes.
            references: (B, C) log-probabilities of each under the reference.
            advantages: (B,) of each.
            meter: Gets `forward` and `backward`.
        """
        for packed, reference_BC, advantages_B in zip(passes, references, advantages, strict=True):
            with meter.phase("forward"):
                with self.autocast():
                    log_probs_BC = packed_log_probs(self.model, packed)[0]
                loss = policy_loss(log_probs_BC, reference_BC, advantages_B, scale=1e-4)
            with meter.phase("backward"):
                loss.backward()

    def step(self, meter: Meter) -> float:
        """Clip the gradients and update the parameters.

        Args:
            meter: Gets `optimizer`.

        Returns:
            The norm of the gradients.
        """
        with meter.phase("optimizer"):
            norm = torch.nn.utils.clip_grad_norm_(self.trained, _MAX_GRAD_NORM)
            self._optimizer.step()
            self.zero_grad()
        return float(norm)

    def drop_states(self) -> None:
        """Give the optimiser's memory back; it begins anew."""
        self._optimizer.state.clear()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self.trained:
            parameter.grad = None

    def bytes_kept(self) -> dict[str, float]:
        """Return GiB of parameters and of optimiser states, the reference left out."""
        states = [
            value
            for state in self._optimizer.state.values()
            for value in state.values()
            if torch.is_tensor(value)
        ]
        return {
            "parameters_gib": sum(p.nbytes for p in self.base.parameters()) / 2**30,
            "states_gib": sum(value.nbytes for value in states) / 2**30,
        }
