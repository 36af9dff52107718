"""Qwen3.5, dense: three of four text layers are linear attention, so it takes the plain path."""

from collections.abc import Mapping
from typing import Any

from editgrpo.training.policy.families import LINEAR_ATTENTION
from editgrpo.training.policy.families.qwen3_vl import Qwen3VL


class Qwen35(Qwen3VL):
    """Read as Qwen3-VL is, without levels of features; packed nowhere."""

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Refuse the packed pass: a layer's state goes from each token to the next."""
        return LINEAR_ATTENTION

    def published_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Leave the keys: it is published with those of transformers 5."""
        return config


FAMILY = Qwen35("Qwen3.5")
