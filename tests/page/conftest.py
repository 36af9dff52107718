"""The small checkpoint of the tests of training, and a page on which it is tried."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("gradio") is None:  # loads slowly; most tests here look at what the page is made from
    pytest.skip("gradio, which serves the page, is not installed", allow_module_level=True)

from editgrpo.page import OpenPage, TriedModel, open_page
from tests.display.conftest import browser
from tests.training.conftest import tiny
from tests.training.tiny_run import MAX_TOKENS, Tiny

__all__ = ["browser", "tiny"]

Opener = Callable[..., AbstractContextManager[OpenPage]]


@pytest.fixture(scope="session")
def tried(tiny: Tiny) -> TriedModel:
    """The checkpoint with its studies."""
    return TriedModel(
        path=str(tiny.checkpoint), data=tiny.data(max_images=2), max_completion_tokens=MAX_TOKENS
    )


@pytest.fixture
def opened(tried: TriedModel) -> Opener:
    """Opens a page for one model, or another number of them."""

    def open_one(models: int = 1, **settings: Any) -> AbstractContextManager[OpenPage]:
        return open_page([tried] * models, **settings)

    return open_one
