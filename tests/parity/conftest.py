"""The fixtures of the tests of training."""

from tests.training.conftest import tiny, tiny_qwen3

__all__ = ["tiny", "tiny_qwen3"]
