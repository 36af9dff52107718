"""Write `trajectory.json`: twenty steps of EditGRPO from the demo's base model, on this CPU.

    python -m tests.golden.trajectory

Run it when a number of training moves on purpose, and say in the change why it moved. Code that is
only put elsewhere moves none.
"""

import hashlib
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch

from editgrpo.config import DataConfig, DType, ModelConfig, OptimConfig, RolloutConfig, TrainConfig
from editgrpo.demo.places import BASE_MODEL, PROMPT
from editgrpo.demo.sites import EYES
from editgrpo.files import read_jsonl, write_json
from editgrpo.phantom import write_phantom
from editgrpo.training.run.folder import METRICS, ROLLOUTS
from editgrpo.training.train import run_training

TRAJECTORY = Path(__file__).parent / "trajectory.json"
STEPS = 20
KEPT = ("loss", "reward/all/mean", "entropy", "kl", "grad_norm")


def trajectory(folder: Path) -> list[dict[str, Any]]:
    """Train in a folder and return each step's numbers and the hash of its rollouts."""
    torch.set_num_threads(1)
    studies, run = folder / "studies", folder / "run"
    write_phantom(studies, studies=24, site=EYES, seed=5, split_shares=(1, 0, 0), workers=1)
    config = TrainConfig(
        model=ModelConfig(path=str(BASE_MODEL), dtype=DType.FLOAT32, gradient_checkpointing=False),
        data=DataConfig(folder=str(studies), max_images=4, prompt_template=str(PROMPT)),
        optim=OptimConfig(learning_rate=1e-4, warmup_steps=2),
        rollout=RolloutConfig(group_size=4, max_completion_tokens=64),
        steps=STEPS,
        prompts_per_step=4,
        tokens_per_pass=1024,
        seed=3,
        output=str(run),
    )
    run_training(config)
    rollouts: dict[int, list[str]] = {}
    for _, row in read_jsonl(run / ROLLOUTS):
        rollouts.setdefault(int(row["step"]), []).append(repr(sorted(row.items())))
    rows = [row for _, row in read_jsonl(run / METRICS)]
    return [
        {name: row[name] for name in KEPT}
        | {"rollouts": hashlib.sha256("".join(rollouts[int(row["step"])]).encode()).hexdigest()}
        for row in rows
    ]


def processor() -> str:
    """Name the CPU, as far as the last digits of a matrix product depend on it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    vector = [flag for flag in flags if flag.startswith(("avx", "amx"))]
    return " ".join([platform.machine(), torch.__version__, *sorted(vector)])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        steps = trajectory(Path(folder))
    write_json(TRAJECTORY, {"made_with": processor(), "steps": steps})
