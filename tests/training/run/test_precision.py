"""What processes that share a model exchange is not rounded to the format of the computation."""

from types import ModuleType, SimpleNamespace

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from transformers import Trainer

from editgrpo.training import sft, trainer
from editgrpo.training.run.precision import exchange_in_float32


def test_fsdp_sums_in_float32_and_leaves_results_alone() -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    exchange_in_float32(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)))
    policy = plugin.mixed_precision_policy
    assert policy.param_dtype == torch.bfloat16
    assert policy.reduce_dtype == torch.float32
    assert policy.output_dtype is None


@pytest.mark.parametrize("state", [SimpleNamespace(), SimpleNamespace(fsdp_plugin=None)])
def test_without_fsdp_nothing_changes(state: SimpleNamespace) -> None:
    exchange_in_float32(SimpleNamespace(state=state))


@pytest.mark.parametrize("module", [sft, trainer])
def test_both_trainers_tell_their_accelerator(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(module, "exchange_in_float32", told.append)
    monkeypatch.setattr(Trainer, "create_accelerator_and_postprocess", lambda self: None)
    ours = {sft: sft.FindingsTrainer, trainer: trainer.EditGRPOTrainer}[module]
    one = object.__new__(ours)
    one.accelerator = "the accelerator"
    one.create_accelerator_and_postprocess()
    assert told == ["the accelerator"]
