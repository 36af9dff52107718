"""A run with adapters on 4-bit matrices (QLoRA); skipped where bitsandbytes is not installed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("bitsandbytes", reason="needs pip install 'editgrpo[8bit]'")

from editgrpo.config import (
    LoraConfig,
    ObjectiveConfig,
    OptimConfig,
    Quantization,
    RolloutConfig,
    SFTConfig,
    TrainConfig,
)
from editgrpo.data.prepared.store import StudySet
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.training.policy.load import load_for_inference, load_policy, peft_config
from editgrpo.training.policy.quantization import adapters_in_float32, dequantized
from editgrpo.training.policy.tiny import write_tiny_checkpoint
from editgrpo.training.run.saving import save_merged
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import SHAPE, Tiny, teach

pytestmark = pytest.mark.slow

LORA = LoraConfig(rank=4, alpha=8, quantization=Quantization.NF4)


@pytest.fixture(scope="module")
def wide(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Matrices as wide as a block of 64 or more: on a CPU bitsandbytes 0.50 reads narrower ones
    with the constants of other blocks."""
    folder = tmp_path_factory.mktemp("wide") / "checkpoint"
    texts = [study.findings for study in StudySet.load(tiny.studies)] * 4
    write_tiny_checkpoint(folder, texts, replace(SHAPE, hidden_size=64), seed=5)
    found = replace(tiny, checkpoint=folder)
    model = found.load()
    teach(model, found, steps=20)
    model.save_pretrained(folder)
    return found


def config_of(wide: Tiny, output: Path) -> TrainConfig:
    return wide.train_config(
        output,
        model=wide.model(lora=LORA, gradient_checkpointing=True),
        optim=OptimConfig(learning_rate=2e-2),
        objective=ObjectiveConfig(beta=0.01),
        steps=3,
    )


def adapted(wide: Tiny) -> Any:
    """Return a quantised model whose adapters add something."""
    import peft

    policy = load_policy(wide.checkpoint, wide.model(lora=LORA))
    model = peft.get_peft_model(policy, peft_config(LORA, policy))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def test_the_language_models_matrices_alone_are_quantised(wide: Tiny) -> None:
    policy = load_policy(wide.checkpoint, wide.model(lora=LORA))
    kinds = {
        name: type(module).__name__
        for name, module in policy.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    quantised = {name for name, kind in kinds.items() if kind == "Linear4bit"}
    assert quantised == {name for name in kinds if "language_model" in name} and quantised
    layer = policy.get_submodule(min(quantised))
    state = layer.weight.quant_state
    assert state.quant_type == "nf4" and state.nested and state.blocksize == 64
    assert layer.compute_dtype == torch.float32
    # Each weight becomes one of 16 values times the largest of its block. The widest gap of NF4 is
    # from -1 to -.696: half of it is .152; the constants are rounded, too.
    exact = wide.load().get_submodule(min(quantised)).weight
    found = layer(torch.eye(exact.shape[1])).T - (0 if layer.bias is None else layer.bias[:, None])
    blocks = (exact - found.detach()).flatten().view(-1, 64).abs().amax(dim=1)
    largest = exact.detach().flatten().view(-1, 64).abs().amax(dim=1)
    assert bool((blocks <= 0.16 * largest).all()) and bool((blocks > 0).any())


def test_what_is_merged_is_the_policy_that_was_trained(wide: Tiny, tmp_path: Path) -> None:
    """The merged model in float32 has the logits of the quantised one with its adapters."""
    model = adapted(wide)
    ids = torch.tensor([[5, 9, 30, 41, 7, 12]])
    with torch.no_grad():
        wanted = model(input_ids=ids).logits
        without = wide.load()(input_ids=ids).logits
    save_merged(model, tmp_path / "merged")
    merged = load_for_inference(tmp_path / "merged", dtype=torch.float32)
    assert "quantization_config" not in (tmp_path / "merged/config.json").read_text()
    with torch.no_grad():
        found = merged(input_ids=ids).logits
        again = model(input_ids=ids).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again, wanted)  # the trained one stays as it is
    assert float((wanted - without).abs().max()) > 0.01


def test_a_model_without_quantised_matrices_stays_as_it_is(wide: Tiny) -> None:
    plain = wide.load()
    assert dequantized(plain) is plain
    adapters_in_float32(plain)


@pytest.fixture(scope="module")
def run(wide: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qlora") / "run"
    run_training(config_of(wide, folder))
    return folder


def test_the_reference_is_the_quantised_model_without_adapters(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-9)
    assert rows[-1]["kl"] > 1e-5
    state = torch.load(run / "checkpoints/checkpoint-3/optimizer.pt", weights_only=True)
    moments = [one["exp_avg"] for one in state["state"].values()]
    assert moments and {one.dtype for one in moments} == {torch.float32}


def test_it_resumes_to_the_same_bytes(wide: Tiny, run: Path, tmp_path: Path) -> None:
    def crash(metrics: Any, _: object) -> None:
        if metrics["step"] == 3:
            raise TrainingError("a crash after step 3, whose checkpoint is not written yet")

    with pytest.raises(TrainingError, match="a crash"):
        run_training(config_of(wide, tmp_path / "again"), on_step=crash)
    run_training(config_of(wide, tmp_path / "again"), resume=True)
    assert_same_run(run, tmp_path / "again")


def test_fine_tuning_leaves_whole_models(wide: Tiny, tmp_path: Path) -> None:
    run_sft(
        SFTConfig(
            model=wide.model(lora=LORA),
            data=wide.data(validation_limit=2),
            optim=OptimConfig(learning_rate=1e-3),
            epochs=1,
            batch_size=9,
            micro_batch_size=9,
            max_completion_tokens=4,
            output=str(tmp_path / "sft"),
        )
    )
    merged = load_for_inference(tmp_path / "sft/model", dtype=torch.float32).state_dict()
    assert merged.keys() == wide.load().state_dict().keys()


def test_other_engines_are_refused(wide: Tiny, tmp_path: Path) -> None:
    rollout = RolloutConfig(group_size=4, compile=True)
    config = wide.train_config(tmp_path / "run", model=wide.model(lora=LORA), rollout=rollout)
    with pytest.raises(ConfigError, match=r"neither vLLM nor rollout\.compile takes such matrices"):
        run_training(config)
