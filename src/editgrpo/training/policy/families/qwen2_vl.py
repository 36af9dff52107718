"""Qwen2-VL (arXiv 2409.12191)."""

from editgrpo.training.policy.families._qwen_vl import QwenVL

FAMILY = QwenVL("Qwen2-VL")
