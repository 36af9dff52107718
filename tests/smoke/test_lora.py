"""A run with low-rank adapters: its reference is itself with the adapters off, its model merged."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from editgrpo.config import LoraConfig, ObjectiveConfig, OptimConfig, SFTConfig, TrainConfig
from editgrpo.data.study import Split
from editgrpo.errors import ModelError, TrainingError
from editgrpo.training.generate import GenerationConfig, generate_predictions
from editgrpo.training.policy.load import load_for_inference
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow


def lora_config(tiny: Tiny, output: Path) -> TrainConfig:
    return tiny.train_config(
        output,
        model=tiny.model(lora=LoraConfig(rank=4, alpha=8), gradient_checkpointing=True),
        optim=OptimConfig(learning_rate=2e-2),
        objective=ObjectiveConfig(beta=0.01),
        steps=3,
    )


@pytest.fixture(scope="module")
def run(of_family: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora") / "run"
    run_training(lora_config(of_family, folder))
    return folder


def test_the_reference_is_the_model_without_adapters(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # A new adapter adds zero; after the first step it does not.
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-9)
    assert rows[-1]["kl"] > 1e-5


def test_only_the_language_models_attention_has_moved(of_family: Tiny, run: Path) -> None:
    before = of_family.load().state_dict()
    after = load_for_inference(run / "model", dtype=torch.float32).state_dict()
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(".language_model." in name and "self_attn" in name for name in moved)
    assert (run / "adapter/adapter_model.safetensors").is_file()


def test_the_merged_model_generates(of_family: Tiny, run: Path, tmp_path: Path) -> None:
    predictions = generate_predictions(
        model=str(run / "model"),
        data=of_family.data(validation_limit=3),
        split=Split.VALIDATION,
        output=tmp_path / "predictions.jsonl",
        config=GenerationConfig(max_completion_tokens=12),
    )
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert len(rows) == 3
    assert all(row["prediction"] for row in rows)


def test_a_run_with_adapters_resumes_to_the_same_bytes(
    of_family: Tiny, run: Path, tmp_path: Path
) -> None:
    def crash(metrics: object, _: object) -> None:
        if metrics["step"] == 3:  # type: ignore[index]
            raise TrainingError("a crash after step 3, whose checkpoint is not written yet")

    with pytest.raises(TrainingError, match="a crash"):
        run_training(lora_config(of_family, tmp_path / "again"), on_step=crash)
    run_training(lora_config(of_family, tmp_path / "again"), resume=True)
    assert_same_run(run, tmp_path / "again")


def test_fine_tuning_with_adapters_leaves_whole_models(tiny: Tiny, tmp_path: Path) -> None:
    run_sft(
        SFTConfig(
            model=tiny.model(lora=LoraConfig(rank=4, alpha=8)),
            data=tiny.data(validation_limit=2),
            optim=OptimConfig(learning_rate=1e-3),
            epochs=2,
            batch_size=9,
            micro_batch_size=9,
            max_completion_tokens=4,
            output=str(tmp_path / "sft"),
        )
    )
    first, second = (
        load_for_inference(tmp_path / "sft" / name, dtype=torch.float32).state_dict()
        for name in ("model-for-rl", "model")
    )
    assert first.keys() == tiny.load().state_dict().keys()
    changed = [name for name in first if not torch.equal(first[name], second[name])]
    assert all("self_attn" in name for name in changed)


@pytest.mark.parametrize("content", [b"", b"\xff" * 200])
def test_a_damaged_adapter_is_one_line(
    of_family: Tiny, run: Path, tmp_path: Path, content: bytes
) -> None:
    shutil.copytree(run, tmp_path / "again")
    shutil.rmtree(tmp_path / "again/model")
    for checkpoint in (tmp_path / "again/checkpoints").iterdir():
        (checkpoint / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights: cannot be read .* earlier check") as caught:
        run_training(lora_config(of_family, tmp_path / "again"), resume=True)
    assert "\n" not in str(caught.value)
