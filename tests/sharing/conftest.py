"""The fixtures of the tests of training, and a run of each family whose model says something."""

from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.config import DType, LoraConfig, OptimConfig, SFTConfig
from editgrpo.training.policy.tiny_gemma3 import write_gemma3
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.published import QWEN2_5_VL, QWEN3_VL, learnt_vocabulary, write_published
from tests.smoke.conftest import tiny_32
from tests.training.conftest import tiny
from tests.training.tiny_run import Tiny

__all__ = ["tiny", "tiny_32"]

FAMILIES = (QWEN2_5_VL, QWEN3_VL, "gemma3")
TOKENS = 24


def published(family: str, tiny: Tiny, tiny_32: Tiny, folder: Path) -> Tiny:
    """Studies, and a small model of a family laid out as it is published."""
    if family == "gemma3":
        return tiny.with_model(write_gemma3, folder / "google" / "start")
    chosen = tiny_32 if family == QWEN3_VL else tiny
    vocabulary = learnt_vocabulary(SENTENCES)
    return replace(chosen, checkpoint=write_published(folder / "start", family, vocabulary))


def fine_tune(start: Tiny, run: Path) -> Tiny:
    """Fine-tune until reports are sentences; the model has the format of the paper's runs."""
    run_sft(
        SFTConfig(
            model=start.model(dtype=DType.BFLOAT16, freeze_vision_tower=True),
            data=start.data(validation_limit=4),
            optim=OptimConfig(learning_rate=1e-2),
            epochs=5,
            batch_size=3,
            micro_batch_size=3,
            save_every=50,
            max_completion_tokens=TOKENS,
            output=str(run),
        ),
        command="editgrpo sft",
    )
    return replace(start, checkpoint=run / "model")


@pytest.fixture(scope="session", params=FAMILIES)
def tuned(
    request: pytest.FixtureRequest,
    tiny: Tiny,
    tiny_32: Tiny,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tiny:
    """A model of each of the three families, after SFT."""
    folder = tmp_path_factory.mktemp(request.param)
    return fine_tune(published(request.param, tiny, tiny_32, folder), folder / "sft")


@pytest.fixture(scope="session")
def adapted(tuned: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same after two steps of EditGRPO with adapters."""
    run = tmp_path_factory.mktemp("lora") / "editgrpo"
    start = replace(tuned, checkpoint=tuned.checkpoint.with_name("model-for-rl"))
    config = start.train_config(
        run, model=start.model(lora=LoraConfig(rank=4, alpha=8)), steps=2, save_every=2
    )
    return replace(tuned, checkpoint=run_training(config, command="editgrpo train"))
