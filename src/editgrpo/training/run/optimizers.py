"""AdamW for parameters in bfloat16 that loses no update, and which optimiser a run gets.

An update of 1e-6 changes nothing in a bfloat16 parameter, which has eight significant bits, so a
float32 master is updated in its place. The master is not a second copy of the parameter: the
parameter is the master's upper half, and the optimiser keeps the 16 bits that are missing.

Left out on purpose: AdamW itself, which is PyTorch's, and 8-bit states, which are bitsandbytes'.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from editgrpo.config import OptimConfig, OptimizerState
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.extras import Extra, require_extras

_LOW_BITS = 16
_HALF = 1 << (_LOW_BITS - 1)


def split_master(master: Tensor) -> tuple[Tensor, Tensor]:
    """Split float32 numbers into bfloat16 numbers and what these leave out.

    Args:
        master: Float32, any shape. An infinity stays one.

    Returns:
        The nearest bfloat16 numbers, the one of larger size in the middle between two, and int16
        of the same shape, for `join_master`.
    """
    bits = master.view(torch.int32)
    rounded = bits + _HALF
    rounded >>= _LOW_BITS
    high = rounded.to(torch.int16)
    rounded <<= _LOW_BITS  # in place: an embedding has 300 million numbers
    low = rounded.neg_().add_(bits).to(torch.int16)
    return high.view(torch.bfloat16), low


def join_master(parameter: Tensor, low: Tensor) -> Tensor:
    """Return the float32 numbers that `split_master` took apart, to the bit.

    Args:
        parameter: Bfloat16, any shape.
        low: Int16 of the same shape; zeros give the parameter's own value.

    Returns:
        Float32 of the same shape, in new memory.
    """
    bits = parameter.detach().view(torch.int16).to(torch.int32)
    bits <<= _LOW_BITS
    bits += low
    return bits.view(torch.float32)


class MasterAdamW(torch.optim.Optimizer):
    """PyTorch's AdamW on float32 masters of bfloat16 parameters.

    A parameter takes 14 bytes with its gradient: 2 + 2, and here 2 for the rest of the master and
    4 + 4 for AdamW's moments. The result is that of float32 parameters with the same gradients, to
    the bit; what is given up lies before it: gradients of the passes of a step are added up in
    bfloat16, and so is their norm. A parameter that is float32 itself has no master.

    Args:
        params: Parameters or groups of them, as for any optimiser of PyTorch.
        lr: Learning rate.
        betas: Decay of the first and of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Share of each weight that a step of learning rate 1 takes away.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: Computes the loss again, with gradients.

        Returns:
            What the closure returns, None without one.

        Raises:
            TrainingError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        if parameter.grad.is_sparse:
            raise TrainingError("optim.state=master has no use for sparse gradients")
        state = self.state[parameter]
        if not state:
            state.update(_first_state(parameter))
        low = state.get("low")
        # One parameter at a time: its master lives only for as long as this function.
        master = parameter if low is None else join_master(parameter, low)
        beta1, beta2 = group["betas"]
        adamw(
            [master],
            [parameter.grad.to(torch.float32)],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            foreach=False,
            fused=parameter.is_cuda,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        if low is not None:
            high, rest = split_master(master)
            parameter.copy_(high)
            low.copy_(rest)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of another run, to the bit.

        PyTorch's own would round the state to the number format of the parameters.

        Args:
            state_dict: What `state_dict` gave. The parameters must have the values of that moment:
                they are the upper halves of the masters.
        """
        super().load_state_dict(state_dict)
        for saved, group in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for key, parameter in zip(saved["params"], group["params"], strict=True):
                values = state_dict["state"].get(key, {})
                self.state[parameter].update(
                    {name: value.to(parameter.device) for name, value in values.items()}
                )


def _first_state(parameter: Tensor) -> dict[str, Tensor]:
    state = {
        # On the parameter's device, as AdamW's fused kernel wants it.
        "step": torch.zeros((), device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, dtype=torch.float32),
        "exp_avg_sq": torch.zeros_like(parameter, dtype=torch.float32),
    }
    if parameter.dtype == torch.bfloat16:
        state["low"] = torch.zeros_like(parameter, dtype=torch.int16)
    elif parameter.dtype != torch.float32:
        raise TrainingError(
            f"optim.state=master takes bfloat16 and float32 parameters, not {parameter.dtype}"
        )
    return state


def optimizer_arguments(config: OptimConfig) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer that an optimiser of its own needs.

    Args:
        config: Of the run.

    Returns:
        `optim`: PyTorch's AdamW, or that with 8-bit states. `MasterAdamW` takes its place where the
        Trainer makes its optimiser, see `optimizer_class`.

    Raises:
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    if config.state is not OptimizerState.EIGHT_BIT:
        return {"optim": "adamw_torch_fused"}
    require_extras(Extra.EIGHT_BIT, what="optim.state=8bit")
    return {"optim": "adamw_bnb_8bit"}


def optimizer_class(config: OptimConfig, trainer: Any) -> tuple[type, dict[str, Any]] | None:
    """Return the value for a Trainer's `optimizer_cls_and_kwargs`.

    Args:
        config: Of the run.
        trainer: The Trainer.

    Returns:
        The class and its arguments; None where the Trainer finds its optimiser by itself.

    Raises:
        ConfigError: the trainer shards its parameters, which are float32 then, and `config.state`
            is another.
    """
    is_sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if is_sharded and config.state is not OptimizerState.FLOAT32:
        raise ConfigError(
            f"optim.state={config.state.value} is for whole copies of the model; FSDP and "
            "DeepSpeed share a float32 state among the processes: set optim.state=float32"
        )
    if config.state is not OptimizerState.MASTER:
        return None
    arguments = trainer.args
    return MasterAdamW, {
        "lr": arguments.learning_rate,
        "betas": (arguments.adam_beta1, arguments.adam_beta2),
        "eps": arguments.adam_epsilon,
    }
