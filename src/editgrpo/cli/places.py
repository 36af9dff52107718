"""Paths of a recipe that lead nowhere, told before anything slow is imported or written."""

from pathlib import Path

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.errors import ConfigError


def check_places(config: SFTConfig | TrainConfig) -> None:
    """Refuse a run whose studies, files or annotation store are not there.

    Args:
        config: The run.

    Raises:
        ConfigError: a path leads nowhere; the message names its setting.
        DataError: the folder of studies is no prepared one.
    """
    clinical = config.clinical
    # A store that is written to is made.
    store = None if clinical.store_writes else clinical.store
    folders = {"data.folder": config.data.folder, "clinical.store": store}
    for key, place in folders.items():
        if place is not None and not Path(place).is_dir():
            remedy = _REMEDIES[key]
            raise ConfigError(f"{key}: no folder {place}; {remedy}, or --set {key}=FOLDER")
    files = {
        "data.prompt_template": config.data.prompt_template,
        "reward.class_rates": config.reward.class_rates,
        "clinical.crimson_prompt": clinical.crimson_prompt,
    }
    for key, place in files.items():
        if place is not None and not Path(place).is_file():
            raise ConfigError(f"{key}: no file {place}; give the right path by --set {key}=FILE")

    from editgrpo.data.prepared.store import read_prepared

    read_prepared(Path(config.data.folder))


_REMEDIES = {
    "data.folder": "write it with `editgrpo prepare`",
    "clinical.store": "write it with `editgrpo annotate`",
}
