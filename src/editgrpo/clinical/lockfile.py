"""A file in which a team keeps the commits and hashes of its models, to share it and commit it."""

from collections.abc import Mapping
from pathlib import Path

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.manifest import REMEDY, Manifest, manifest_from, manifest_object
from editgrpo.clinical.sources import model_named
from editgrpo.errors import ModelError
from editgrpo.files import read_json_object, write_json

_FORMAT = 1


def read_lock(path: Path) -> dict[ClinicalModel, Manifest]:
    """Read a lock file.

    Args:
        path: The file; it need not exist.

    Returns:
        The pins by model; none if there is no file.

    Raises:
        ModelError: the file is not a lock file.
        ConfigError: it names an unknown model.
    """
    if not path.exists():
        return {}
    models = read_json_object(path, REMEDY, error=ModelError).get("models")
    if not isinstance(models, dict):
        raise ModelError(f"{path}: no models in it; give a file that `models fetch --lock` wrote")
    return {model_named(name): manifest_from(value, str(path)) for name, value in models.items()}


def write_lock(path: Path, pins: Mapping[ClinicalModel, Manifest]) -> None:
    """Write a lock file, whole or not at all.

    Args:
        path: The file.
        pins: The pins by model; times of modification are left out.
    """
    models = {model: manifest_object(pin, stamps=False) for model, pin in sorted(pins.items())}
    write_json(path, {"format": _FORMAT, "models": models}, shared=True)
