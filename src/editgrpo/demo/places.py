"""Where the demo's recipes, its prompt and its base model lie in the package."""

from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"
PROMPT = RECIPES / "prompt.jinja"
BASE_MODEL = Path(__file__).parent / "base"
"""The base model that the package brings along."""
TRAINING = "training.json"
"""In the base model's folder: how it was trained, and the hash of its weights."""
