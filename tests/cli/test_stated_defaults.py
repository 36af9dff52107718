"""The defaults that help texts state are those of the library."""

import inspect
from typing import Any

import pytest
from typer.main import get_command

from editgrpo.cli import app
from editgrpo.config import ClinicalConfig
from editgrpo.data.overview.prevalence import MOST_LABELLED
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import Inclusion
from editgrpo.data.splits import SplitRule
from editgrpo.display.html.report import write_report
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.phantom import write_phantom
from editgrpo.training.generate import GenerationConfig
from editgrpo.training.pairs import PairConfig


def argument(function: Any, name: str) -> Any:
    return inspect.signature(function).parameters[name].default


SPLIT = SplitRule()
STATED = [
    ("prepare folder", "max_images", Inclusion().max_images),
    ("prepare folder", "min_pixels", PixelBudget().min_pixels),
    ("prepare folder", "max_pixels", PixelBudget().max_pixels),
    ("prepare folder", "multiple_of", PixelBudget().multiple_of),
    (
        "prepare folder",
        "split_shares",
        f"train={SPLIT.train},validation={SPLIT.validation},test={SPLIT.test}",
    ),
    ("prepare phantom", "size_px", argument(write_phantom, "size_px")),
    ("data stats", "label_sample", f"{MOST_LABELLED:,}"),
    ("data stats", "device", ClinicalConfig().device),
    ("data stats", "dtype", ClinicalConfig().dtype),
    ("evaluate", "samples", EvaluationOptions().samples),
    ("evaluate", "confidence", EvaluationOptions().confidence),
    ("generate", "temperature", f"{GenerationConfig().temperature:g}"),
    ("generate", "batch_size", GenerationConfig().batch_size),
    ("pairs", "samples", PairConfig().samples),
    ("pairs", "temperature", f"{PairConfig().temperature:g}"),
    ("pairs", "batch_size", PairConfig().batch_size),
    ("report", "max_studies", argument(write_report, "max_studies")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "option", "default"), STATED)
def test_a_stated_default_is_the_library_s(command: str, option: str, default: Any) -> None:
    found: Any = get_command(app)
    for word in command.split():
        found = found.commands[word]
    (parameter,) = [one for one in found.params if one.name == option]
    assert f"Default: {default}" in parameter.help
