"""Runs to estimate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from editgrpo.config import TrainConfig
from editgrpo.recipes import load_recipe
from editgrpo.training.estimate.published import PUBLISHED, QWEN2_5_VL_3B
from editgrpo.training.estimate.workload import Studies, Workload, workload_of

THREE = "Qwen/Qwen2.5-VL-3B-Instruct"


def recipe(*changes: str, name: str = "editgrpo-mimic-cxr") -> TrainConfig:
    """Read a recipe that comes with the package, with a published model and `--set` changes."""
    return load_recipe(Path(name), TrainConfig, [f"model.path={THREE}", *changes])


def work_of(config: TrainConfig, gpus: int = 1, **other: Any) -> Workload:
    """Return one GPU's part of a step of a published model."""
    shape = PUBLISHED.get(config.model.path, QWEN2_5_VL_3B)
    return replace(workload_of(config, shape, Studies(), gpus), **other)
