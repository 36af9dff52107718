"""The small text model of the tests of adapters."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from tests.adapters.tiny_text import build_model, build_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture(scope="session")
def _trained(tokenizer: Any) -> Any:
    return build_model(tokenizer)


@pytest.fixture
def model(_trained: Any) -> Any:
    """A copy, so that a test may train it."""
    return deepcopy(_trained)
