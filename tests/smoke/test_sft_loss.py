"""The loss of a fine-tuning step is the mean over all its tokens, however it is shared out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from editgrpo.config import OptimConfig, SFTConfig
from editgrpo.files import read_jsonl
from editgrpo.recipes import dump_config
from editgrpo.training.collator import FindingsCollator
from editgrpo.training.step.batches import StepSampler
from tests.smoke import sft_gradients
from tests.training.tiny_run import Tiny, gradients

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH = 8


def config_of(tiny: Tiny, output: Path, micro_batch_size: int) -> SFTConfig:
    return SFTConfig(
        model=tiny.model(),
        data=tiny.data(validation_limit=2),
        optim=OptimConfig(learning_rate=1e-4),
        max_steps=1,
        batch_size=BATCH,
        micro_batch_size=micro_batch_size,
        max_completion_tokens=2,
        output=str(output),
    )


Expected = tuple[float, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def expected(of_family: Tiny) -> Expected:
    """The mean over the tokens of the whole batch, and its gradient: from the stock model's logits,
    one study at a time."""
    studies, encoder = of_family.encoder()
    collate, model = FindingsCollator(studies, encoder), of_family.load().train()
    losses = []
    for index in StepSampler(len(studies), steps=1, prompts_per_step=BATCH, seed=0):
        batch = collate([{"index": index}])
        labels = batch.pop("labels")[0, 1:]
        logits = model(**batch).logits[0, :-1][labels != -100]
        targets = labels[labels != -100]
        losses.append(torch.nn.functional.cross_entropy(logits, targets, reduction="none"))
    means = torch.stack([of_study.mean() for of_study in losses])
    loss = torch.cat(losses).mean()
    assert abs(float(means.detach().mean() / loss.detach()) - 1) > 2e-3, "studies weigh alike"
    loss.backward()
    return float(loss), gradients(model)


def assert_is_the_token_mean(run: Path, kept: Path, expected: Expected) -> None:
    loss, gradient = expected
    row = next(row for _, row in read_jsonl(run / "metrics.jsonl") if "loss" in row)
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    found = load_file(kept)
    assert found.keys() == {name for name, value in gradient.items() if value.any()}
    whole = torch.cat([gradient[name].flatten() for name in found])
    apart = torch.cat([(found[name] - gradient[name]).flatten() for name in found])
    assert float(apart.norm() / whole.norm()) < 1e-5  # float32 sums in another order


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 8])
def test_the_loss_is_the_token_mean_whatever_a_pass_holds(
    of_family: Tiny,
    tmp_path: Path,
    micro_batch_size: int,
    expected: Expected,
) -> None:
    run, kept = tmp_path / "run", tmp_path / "gradients.safetensors"
    sft_gradients.run_and_keep_gradients(config_of(of_family, run, micro_batch_size), kept)
    assert_is_the_token_mean(run, kept, expected)


@pytest.mark.parametrize(
    ("of_family", "micro_batch_size"),
    [("qwen2.5-vl", 1), ("qwen2.5-vl", 4), ("qwen3-vl", 4)],
    indirect=["of_family"],
)
def test_the_loss_is_the_token_mean_over_processes(
    of_family: Tiny,
    tmp_path: Path,
    micro_batch_size: int,
    expected: Expected,
) -> None:
    """Two processes, each with four studies a step: in four passes, and in one."""
    run, kept = tmp_path / "run", tmp_path / "gradients.safetensors"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_config(config_of(of_family, run, micro_batch_size)), encoding="utf-8")
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words += ["-m", "tests.smoke.sft_gradients", str(recipe)]
    more = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GRADIENTS": str(kept)}
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=150,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_is_the_token_mean(run, kept, expected)
