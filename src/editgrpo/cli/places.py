"""Paths that lead nowhere, told before anything slow is imported or written."""

from pathlib import Path

from editgrpo.config import DataConfig, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.provenance import CONFIG_FILE


def check_places(config: SFTConfig | TrainConfig) -> None:
    """Refuse a run whose studies, files or annotation store are not there.

    Args:
        config: The run.

    Raises:
        ConfigError: a path leads nowhere, or there is no module of a reward of one's own; the
            message names its setting.
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

    if config.reward.custom is not None:
        from editgrpo.rewards.custom import find_module

        find_module(config.reward.custom)

    from editgrpo.data.prepared.store import read_prepared

    read_prepared(Path(config.data.folder))


def check_studies(model: Path, data: DataConfig) -> None:
    """Refuse to look at studies for a model where there are none, and name the option.

    Args:
        model: The model; only one of a run brings the place of its studies with it.
        data: Settings of the studies, with those of the command line.

    Raises:
        ConfigError: no place was given, or it leads nowhere.
    """
    if Path(data.folder).is_dir():
        return
    if data.folder == DataConfig().folder and not (model.parent / CONFIG_FILE).is_file():
        raise ConfigError(
            f"--studies is missing: {model} is no model of a run, which would say where its "
            "studies are; give the prepared folder"
        )
    raise ConfigError(f"--studies: no folder {data.folder}; give the prepared folder")


_REMEDIES = {
    "data.folder": "write it with `editgrpo prepare`",
    "clinical.store": "write it with `editgrpo annotate`",
}
