"""Qwen2.5-VL (arXiv 2502.13923), which the paper trains: the tower of Qwen2-VL with windows."""

from editgrpo.training.policy.families._qwen_vl import QwenVL

FAMILY = QwenVL("Qwen2.5-VL")
