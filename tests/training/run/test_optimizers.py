"""In which number formats a policy and its optimiser hold their numbers."""

from types import SimpleNamespace

import pytest
import torch

from editgrpo import extras
from editgrpo.config import DType, LoraConfig, OptimConfig, OptimizerState
from editgrpo.errors import ConfigError, MissingExtraError
from editgrpo.training.policy.load import load_policy
from editgrpo.training.run.optimizers import optimizer_arguments, refuse_states_of_shards
from tests.training.tiny_run import Tiny

F32, BF16 = torch.float32, torch.bfloat16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "lora", "tower", "rest"),
    [
        (DType.FLOAT32, None, F32, F32),
        (DType.BFLOAT16, None, BF16, F32),
        (DType.BFLOAT16, LoraConfig(), BF16, BF16),
        (DType.FLOAT32, LoraConfig(), F32, F32),
    ],
)
def test_what_is_frozen_is_held_in_the_models_number_format(
    tiny: Tiny,
    dtype: DType,
    lora: LoraConfig | None,
    tower: torch.dtype,
    rest: torch.dtype,
) -> None:
    config = tiny.model(dtype=dtype, freeze_vision_tower=True, lora=lora)
    policy = load_policy(tiny.checkpoint, config)
    assert {p.dtype for p in policy.model.visual.parameters()} == {tower}
    assert {p.dtype for p in policy.model.language_model.parameters()} == {rest}
    assert {b.dtype for b in policy.buffers() if b.is_floating_point()} == {F32}


def test_a_trained_tower_is_float32(tiny: Tiny) -> None:
    config = tiny.model(dtype=DType.BFLOAT16, freeze_vision_tower=False)
    policy = load_policy(tiny.checkpoint, config)
    assert {p.dtype for p in policy.parameters()} == {F32}


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OptimConfig(state=OptimizerState.EIGHT_BIT)
    monkeypatch.setattr(extras, "_is_absent", lambda module: False)
    assert optimizer_arguments(config) == {"optim": "adamw_bnb_8bit"}
    monkeypatch.setattr(extras, "_is_absent", lambda module: module == "bitsandbytes")
    with pytest.raises(MissingExtraError, match=r"optim.state=8bit needs bitsandbytes; .*\[8bit\]"):
        optimizer_arguments(config)


def test_shards_have_a_float32_state() -> None:
    trainer = SimpleNamespace(is_fsdp_enabled=True, is_deepspeed_enabled=False)
    refuse_states_of_shards(OptimConfig(), trainer)
    with pytest.raises(ConfigError, match=r"set optim\.state=float32"):
        refuse_states_of_shards(OptimConfig(state=OptimizerState.EIGHT_BIT), trainer)
