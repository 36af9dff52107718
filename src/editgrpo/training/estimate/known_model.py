"""Which shape a run's model has: its folder says so, or a table of known models."""

from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.config import GroupPass, ModelConfig, SFTConfig
from editgrpo.errors import ConfigError, ModelError
from editgrpo.model_files import CONFIG
from editgrpo.provenance import CONFIG_FILE
from editgrpo.recipes import load_recipe, load_section
from editgrpo.recipes.published_files import Reader, published_files
from editgrpo.training.estimate.published import PUBLISHED
from editgrpo.training.estimate.shapes import ModelShape


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of which no more than the shape is known."""

    name: str
    """The folder or Hub id that the shape is of."""
    shape: ModelShape


def find_model(config: ModelConfig) -> KnownModel:
    """Find the shape of a run's model, without weights and without a network.

    Args:
        config: The run's model. A folder counts if it holds `config.json`. Where a fine-tuning that
            has not ended will write it, the model that this one starts from is taken.

    Returns:
        The model; its groups are packed if the run packs them.

    Raises:
        ModelError: there is neither such a folder nor a known model of that name, or the folder
            holds a family whose counts are not known.
        ConfigError: the packed pass is asked for, and the family is not one of those it knows.
    """
    name = config.path if _is_known(config.path) else _start_of_fine_tuning(config.path)
    if name is None:
        raise ModelError(
            f"model {config.path!r} is no folder with a {CONFIG} and none of the known models "
            f"({', '.join(PUBLISHED)}); name the model that it will be made from, such as "
            "--set model.path=Qwen/Qwen2.5-VL-3B-Instruct"
        )
    if name in PUBLISHED:
        shape = PUBLISHED[name]
    else:
        from editgrpo.training.estimate.read_shape import read_shape

        shape = read_shape(Path(name))
    if config.group_pass is GroupPass.PACKED and not shape.is_packed:
        raise ConfigError(f"model.group_pass is packed, and {name} cannot be; set it to auto")
    is_packed = shape.is_packed and config.group_pass is not GroupPass.PLAIN
    return KnownModel(name, replace(shape, is_packed=is_packed))


def _is_known(path: str) -> bool:
    return path in PUBLISHED or (Path(path) / CONFIG).is_file()


def _start_of_fine_tuning(path: str) -> str | None:
    """Return what a run starts from in whose folder a model is to be: one that has begun, or a
    fine-tuning by a recipe that comes with the package."""
    run = Path(path).parent
    starts = []
    if (run / CONFIG_FILE).is_file():
        starts.append(load_section(run / CONFIG_FILE, "model", ModelConfig).path)
    for one in published_files():
        if one.reader is Reader.SFT:
            fine_tuning = load_recipe(one.path, SFTConfig)
            starts += [fine_tuning.model.path] if Path(fine_tuning.output) == run else []
    return next((start for start in starts if _is_known(start)), None)
