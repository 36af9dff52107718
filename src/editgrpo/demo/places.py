"""Where the demo's recipes and its prompt lie in the package."""

from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"
PROMPT = RECIPES / "prompt.jinja"
