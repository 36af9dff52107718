"""AdamW on masters: nothing is lost between steps, nor between runs."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from editgrpo import extras
from editgrpo.config import DType, LoraConfig, OptimConfig, OptimizerState
from editgrpo.errors import ConfigError, MissingExtraError, TrainingError
from editgrpo.training.policy.load import load_policy
from editgrpo.training.run.optimizers import (
    MasterAdamW,
    join_master,
    optimizer_arguments,
    optimizer_class,
    split_master,
)
from editgrpo.training.train import run_training
from tests.training.compare_runs import assert_same_run, assert_same_values
from tests.training.tiny_run import Tiny


def parameters(*values: Tensor) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(value.clone()) for value in values]


def random_values(count: int, *, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(7, 5, generator=generator).bfloat16() for _ in range(count)]


def masters(optimizer: MasterAdamW, held: list[torch.nn.Parameter]) -> list[Tensor]:
    return [join_master(one, optimizer.state[one]["low"]) for one in held]


def train(optimizer: torch.optim.Optimizer, held: list[torch.nn.Parameter], steps: range) -> None:
    """Take steps with gradients and learning rates that the step's number decides."""
    for step in steps:
        for one, gradient in zip(held, random_values(len(held), seed=100 + step), strict=True):
            one.grad = gradient.to(one.dtype)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1)
        optimizer.step()
        optimizer.zero_grad()


def two_groups(held: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": held[:1], "weight_decay": 0.1},
        {"params": held[1:], "weight_decay": 0.0},
    ]


# Masters --------------------------------------------------------------------------------------


def test_a_split_master_is_joined_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=generator)
    numbers = bits.to(torch.int32).view(torch.float32)
    numbers = torch.cat([numbers[numbers.isfinite()], torch.tensor([0.0, -0.0, float("inf")])])
    high, low = split_master(numbers)
    assert torch.equal(join_master(high, low).view(torch.int32), numbers.view(torch.int32))


def test_the_parameter_is_the_number_of_bfloat16_that_is_nearest_to_its_master() -> None:
    # Between 1 and 2 bfloat16 counts in steps of 2^-7. 1 + 2^-8 is the middle, which goes away
    # from 0.
    middle = 1 + 2**-8
    numbers = torch.tensor([middle, -middle, middle - 2**-20, middle + 2**-20, 1.9999])
    high, _ = split_master(numbers)
    assert high.tolist() == [1 + 2**-7, -1 - 2**-7, 1.0, 1 + 2**-7, 2.0]


# Steps ----------------------------------------------------------------------------------------


def test_steps_equal_those_of_float32_parameters() -> None:
    start = random_values(3, seed=1)
    ours = parameters(*start)
    theirs = parameters(*(value.float() for value in start))
    optimizer = MasterAdamW(two_groups(ours), lr=1.0, betas=(0.9, 0.99))
    train(optimizer, ours, range(20))
    train(torch.optim.AdamW(two_groups(theirs), lr=1.0, betas=(0.9, 0.99)), theirs, range(20))
    for master, expected in zip(masters(optimizer, ours), theirs, strict=True):
        torch.testing.assert_close(master, expected.data, rtol=1e-6, atol=1e-6)


def test_updates_that_bfloat16_would_lose_add_up() -> None:
    # Under a constant gradient each step of Adam is the learning rate: m / sqrt(v) = 1. Below 1
    # bfloat16 counts in steps of 2^-8 = 0.0039, so 1e-6 is lost in it a million times over. After
    # 1,000 steps the master is 0.999; the parameter follows at the middle, 1 - 2^-9 = 0.99805, that
    # is after 1,954 steps.
    (ours,) = parameters(torch.ones((), dtype=torch.bfloat16))
    optimizer = MasterAdamW([ours], lr=1e-6, weight_decay=0.0)
    seen = {}
    for step in range(1, 2001):
        ours.grad = torch.ones_like(ours)
        optimizer.step()
        seen[step] = (float(masters(optimizer, [ours])[0]), ours.item())
    assert seen[1][0] == pytest.approx(1 - 1e-6, abs=6e-8)  # float32 counts in steps of 6e-8
    assert seen[1000] == (pytest.approx(0.999, abs=6e-5), 1.0)
    assert seen[2000] == (pytest.approx(0.998, abs=1.2e-4), 1 - 2**-8)


def test_a_float32_parameter_has_no_master_and_is_trained_as_ever() -> None:
    start = [value.float() for value in random_values(2, seed=2)]
    ours, theirs = parameters(*start), parameters(*start)
    optimizer = MasterAdamW(ours, lr=1e-3)
    train(optimizer, ours, range(3))
    train(torch.optim.AdamW(theirs, lr=1e-3), theirs, range(3))
    assert "low" not in optimizer.state[ours[0]]
    assert_same_values([one.data for one in ours], [one.data for one in theirs], where="parameters")


def test_a_parameter_without_gradient_stays_as_it_is() -> None:
    left, right = parameters(*random_values(2, seed=3))
    before = right.detach().clone()
    optimizer = MasterAdamW([left, right], lr=1.0)
    left.grad = torch.ones_like(left)
    optimizer.step()
    assert torch.equal(right, before)
    assert right not in optimizer.state


def test_sparse_gradients_and_float16_are_refused() -> None:
    (one,) = parameters(*random_values(1, seed=4))
    one.grad = torch.ones_like(one).to_sparse()
    with pytest.raises(TrainingError, match="sparse"):
        MasterAdamW([one], lr=1.0).step()
    (half,) = parameters(torch.ones(2, dtype=torch.float16))
    half.grad = torch.ones_like(half)
    with pytest.raises(TrainingError, match=r"not torch\.float16"):
        MasterAdamW([half], lr=1.0).step()


def test_a_state_goes_through_a_file_to_the_bit() -> None:
    whole, first = (parameters(*random_values(3, seed=5)) for _ in range(2))
    uninterrupted = MasterAdamW(two_groups(whole), lr=1.0)
    train(uninterrupted, whole, range(6))

    stopped = MasterAdamW(two_groups(first), lr=1.0)
    train(stopped, first, range(3))
    file = io.BytesIO()
    torch.save((stopped.state_dict(), [one.data for one in first]), file)
    file.seek(0)
    state, values = torch.load(file, weights_only=True)
    again = parameters(*values)
    resumed = MasterAdamW(two_groups(again), lr=1.0)
    resumed.load_state_dict(state)
    train(resumed, again, range(3, 6))

    assert_same_values(resumed.state_dict(), uninterrupted.state_dict(), where="state")
    assert_same_values([one.data for one in again], [one.data for one in whole], where="parameters")


# Runs -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_with_masters_is_resumed_to_the_byte(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.train_config(
        tmp_path / "whole",
        steps=2,
        save_every=1,
        keep_checkpoints=2,
        optim=OptimConfig(learning_rate=1e-5, state=OptimizerState.MASTER),
        model=tiny.model(dtype=DType.BFLOAT16, freeze_vision_tower=True),
    )
    run_training(config)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    for late in ("model", "checkpoints/checkpoint-2"):
        shutil.rmtree(tmp_path / "parts" / late)
    run_training(replace(config, output=str(tmp_path / "parts")), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    file = tmp_path / "parts/checkpoints/checkpoint-2/optimizer.pt"
    first = torch.load(file, weights_only=True)["state"][0]
    assert {name: value.dtype for name, value in first.items()} == {
        "step": torch.float32,
        "exp_avg": torch.float32,
        "exp_avg_sq": torch.float32,
        "low": torch.int16,
    }


# What a policy is loaded as -------------------------------------------------------------------

F32, BF16 = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("state", "dtype", "lora", "tower", "rest"),
    [
        (OptimizerState.FLOAT32, DType.FLOAT32, None, F32, F32),
        (OptimizerState.FLOAT32, DType.BFLOAT16, None, BF16, F32),
        (OptimizerState.EIGHT_BIT, DType.BFLOAT16, None, BF16, F32),
        (OptimizerState.MASTER, DType.BFLOAT16, None, BF16, BF16),
        (OptimizerState.FLOAT32, DType.BFLOAT16, LoraConfig(), BF16, BF16),
        (OptimizerState.FLOAT32, DType.FLOAT32, LoraConfig(), F32, F32),
    ],
)
def test_what_is_frozen_is_held_in_the_models_number_format(
    tiny: Tiny,
    state: OptimizerState,
    dtype: DType,
    lora: LoraConfig | None,
    tower: torch.dtype,
    rest: torch.dtype,
) -> None:
    config = tiny.model(dtype=dtype, freeze_vision_tower=True, lora=lora)
    policy = load_policy(tiny.checkpoint, config, state)
    assert {p.dtype for p in policy.model.visual.parameters()} == {tower}
    assert {p.dtype for p in policy.model.language_model.parameters()} == {rest}
    assert {b.dtype for b in policy.buffers() if b.is_floating_point()} == {F32}


def test_a_trained_tower_is_float32(tiny: Tiny) -> None:
    config = tiny.model(dtype=DType.BFLOAT16, freeze_vision_tower=False)
    policy = load_policy(tiny.checkpoint, config, OptimizerState.FLOAT32)
    assert {p.dtype for p in policy.parameters()} == {F32}


def test_masters_beside_float32_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match=r"set model\.dtype"):
        load_policy(tiny.checkpoint, tiny.model(dtype=DType.FLOAT32), OptimizerState.MASTER)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OptimConfig(state=OptimizerState.EIGHT_BIT)
    monkeypatch.setattr(extras, "_is_absent", lambda module: False)
    assert optimizer_arguments(config) == {"optim": "adamw_bnb_8bit"}
    monkeypatch.setattr(extras, "_is_absent", lambda module: module == "bitsandbytes")
    with pytest.raises(MissingExtraError, match=r"optim.state=8bit needs bitsandbytes; .*\[8bit\]"):
        optimizer_arguments(config)


@pytest.mark.parametrize("state", [OptimizerState.MASTER, OptimizerState.EIGHT_BIT])
def test_shards_have_a_float32_state(state: OptimizerState) -> None:
    trainer = SimpleNamespace(is_fsdp_enabled=True, is_deepspeed_enabled=False)
    assert optimizer_class(OptimConfig(), trainer) is None
    with pytest.raises(ConfigError, match=r"set optim\.state=float32"):
        optimizer_class(OptimConfig(state=state), trainer)
