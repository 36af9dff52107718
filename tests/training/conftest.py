"""Fixtures of the tests of training; tests/parity and tests/smoke use them too."""

import os

# Two cores serve many tests; a model this small gains nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.training.small_models import small_checkpoint
from tests.training.tiny_run import Tiny, make_tiny

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A small trained checkpoint and its studies, written once for the whole session."""
    return make_tiny(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="session")
def tiny_qwen3(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same studies with a Qwen3-VL, its patches of 14 pixels as the other's."""
    return small_checkpoint("qwen3-vl", tiny, tmp_path_factory.mktemp("qwen3-vl") / "checkpoint")


@pytest.fixture(scope="session", params=["qwen2.5-vl", "qwen3-vl"])
def of_family(request: pytest.FixtureRequest) -> Tiny:
    """The small checkpoint of either kind: features of one level, and of several."""
    name = "tiny_qwen3" if request.param == "qwen3-vl" else "tiny"
    chosen: Tiny = request.getfixturevalue(name)
    return chosen
