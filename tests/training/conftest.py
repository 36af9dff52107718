"""Fixtures of the tests of training; tests/parity and tests/smoke use them too."""

import os

# Two cores serve many tests; a model this small gains nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from editgrpo.training.policy.tiny_gemma3 import write_gemma3
from tests.training.small_models import small_checkpoint
from tests.training.tiny_run import Tiny, make_tiny, teach

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A small trained checkpoint and its studies, written once for the whole session."""
    return make_tiny(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="session")
def tiny_qwen3(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same studies with a Qwen3-VL, its patches of 14 pixels as the other's."""
    return small_checkpoint("qwen3-vl", tiny, tmp_path_factory.mktemp("qwen3-vl") / "checkpoint")


@pytest.fixture(scope="session")
def tiny_gemma3(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same studies with a Gemma 3, its tokenizer and template its own, taught as the others."""
    taught = tiny.with_model(write_gemma3, tmp_path_factory.mktemp("gemma3") / "model")
    model = taught.load()
    teach(model, taught, steps=40)
    model.save_pretrained(taught.checkpoint)
    return taught


_FIXTURES = {"qwen2.5-vl": "tiny", "qwen3-vl": "tiny_qwen3", "gemma3": "tiny_gemma3"}


@pytest.fixture(scope="session", params=_FIXTURES)
def of_family(request: pytest.FixtureRequest) -> Tiny:
    """The small checkpoint of each kind: features of one level, of several, one SigLIP."""
    chosen: Tiny = request.getfixturevalue(_FIXTURES[request.param])
    return chosen
