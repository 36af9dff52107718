"""On a CUDA device: two steps in bfloat16, resumable like those on a CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from editgrpo.config import DType
from editgrpo.files import read_jsonl
from editgrpo.training.train import run_training
from tests.training.tiny_run import Tiny


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_two_steps_in_bfloat16(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.train_config(tmp_path / "run", steps=2, model=tiny.model(dtype=DType.BFLOAT16))
    assert (run_training(config) / "model.safetensors").is_file()
    rows = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl")]
    assert np.isfinite([[row["loss"], row["grad_norm"], row["kl"]] for row in rows]).all()
