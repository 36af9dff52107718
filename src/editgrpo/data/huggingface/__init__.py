"""Data sets of the Hugging Face library: on the Hub, or a folder of Parquet or Arrow files."""

from editgrpo.data.huggingface.preparation import HuggingFaceSource, read_huggingface

__all__ = ["HuggingFaceSource", "read_huggingface"]
