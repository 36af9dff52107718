"""Fixtures of the tests of training; tests/parity and tests/smoke use them too."""

import os

# Two cores serve many tests; a model this small gains nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.training.tiny_run import Tiny, make_tiny

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A small trained checkpoint and its studies, written once for the whole session."""
    return make_tiny(tmp_path_factory.getbasetemp() / "tiny")
