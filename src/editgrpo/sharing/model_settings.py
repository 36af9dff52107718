"""How a model is shown studies, as the run or the export that its folder lies in says."""

from collections.abc import Sequence
from pathlib import Path

from editgrpo.config import DataConfig
from editgrpo.provenance import CONFIG_FILE
from editgrpo.recipes import load_section, recipe_value
from editgrpo.sharing.serving import export_settings

# Where `train` and `sft` say how long a report may be.
_LENGTH_LIMITS = ("rollout.max_completion_tokens", "max_completion_tokens")


def settings_of_model(model: Path, overrides: Sequence[str] = ()) -> tuple[DataConfig, int | None]:
    """Return how prompts are made for a model, and how long a report may be, as its run or its
    export says.

    Args:
        model: A model folder; anything else, such as a Hub id, has the defaults.
        overrides: `data.key=value` texts, which go before them; see `load_section`.

    Returns:
        The data settings, and most tokens of a report; None if nothing says it.

    Raises:
        ConfigError: the run's configuration cannot be read, or an override is wrong.
    """
    recipe = model.parent / CONFIG_FILE
    if recipe.is_file():
        data = load_section(recipe, "data", DataConfig, overrides)
        return data, recipe_value(recipe, *_LENGTH_LIMITS)
    exported = export_settings(model)
    if exported is None:
        return load_section(None, "data", DataConfig, overrides), None
    overrides = [*exported.overrides(model), *overrides]
    return load_section(None, "data", DataConfig, overrides), exported.max_completion_tokens
