"""What a model folder says of itself in JSON, read before anything of it is loaded or written.

No torch here: commands ask before they make or clear a folder. A folder may come from anywhere, so
its index of weights may not lead out of it, and none of its code is ever run.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from editgrpo import files
from editgrpo.errors import ModelError
from editgrpo.hub_errors import hub_errors, may_be_hub_id
from editgrpo.training.policy.families import family_types, supported_families

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
_WEIGHTS = "model.safetensors"  # where it is there, transformers does not look at an index
_GIVE_WHOLE = "give the folder of a whole checkpoint"


def read_json_object(path: Path, remedy: str = _GIVE_WHOLE) -> dict[str, Any]:
    """Read a JSON file of a model folder.

    Args:
        path: The file.
        remedy: What to do if it cannot be used; ends the message.

    Returns:
        Its object.

    Raises:
        ModelError: it cannot be read, or is not a JSON object.
    """
    return files.read_json_object(path, remedy, error=ModelError)


def check_model(path: str, revision: str | None = None) -> None:
    """Refuse a model of a family that is not supported, before anything is written or fetched but
    its configuration.

    Args:
        path: A folder or a Hub id.
        revision: Commit of the Hub id.

    Raises:
        ModelError: there is no such folder and no such id, or it is of another family.
    """
    folder = Path(path)
    check_family(folder if folder.is_dir() else fetched(path, revision, (CONFIG,)))


def fetched(path: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Fetch files of a model from the Hub, or find them in its cache.

    Args:
        path: The Hub id.
        revision: Commit; None takes the main branch.
        patterns: Which files.

    Returns:
        The folder that they lie in.

    Raises:
        ModelError: there is no such id, or no network.
    """
    from huggingface_hub import snapshot_download

    if not may_be_hub_id(path):
        raise ModelError(f"model {path!r} is no folder; give a model folder or a Hub id")
    remedy = "give a model folder or a Hub id, or fetch it where there is a network"
    place = f"model {path!r} is no folder, and as a Hub id"
    with hub_errors(place, remedy, page=f"https://huggingface.co/{path}"):
        return Path(snapshot_download(path, revision=revision, allow_patterns=list(patterns)))


def check_family(folder: Path) -> None:
    """Refuse a model folder of what is no model of text and images.

    Args:
        folder: A local folder that holds `config.json`.

    Raises:
        ModelError: `config.json` is missing or damaged, or names something else.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{folder}: no {CONFIG}; give the folder of a saved model")
    kind = read_json_object(path).get("model_type")
    if isinstance(kind, str) and (kind in family_types() or _reads_images(kind)):
        return
    named = "names no model_type" if kind is None else f"model_type {kind!r} is not supported"
    raise ModelError(
        f"{path}: {named}; use one of {supported_families()}, or another that transformers reads "
        "text and images with"
    )


def _reads_images(kind: str) -> bool:
    from transformers.models.auto import modeling_auto

    return kind in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def check_weight_files(folder: Path) -> None:
    """Refuse a model folder whose index of weights is damaged, incomplete or leads elsewhere.

    Args:
        folder: The folder.

    Raises:
        ModelError: an index cannot be read, or names a file that is missing or outside the folder.
    """
    for index in sorted(folder.glob("*.safetensors.index.json")):
        shards = shard_names(index)
        if index.name == f"{_WEIGHTS}.index.json" and not (folder / _WEIGHTS).is_file():
            for shard in shards:
                if not (folder / shard).is_file():
                    raise ModelError(
                        f"{folder}: no {shard}, which {index.name} names; {_GIVE_WHOLE}"
                    )


def shard_names(index: Path, remedy: str = _GIVE_WHOLE) -> list[str]:
    """List the files that an index of weights names.

    Args:
        index: Such as `model.safetensors.index.json`.
        remedy: What to do if it cannot be used; ends the message.

    Returns:
        Their paths relative to the folder of the index, sorted.

    Raises:
        ModelError: it is no index, or names a file outside its folder.
    """
    weights = read_json_object(index, remedy).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(x, str) for x in weights.values()):
        raise ModelError(f"{index}: not an index of weights; {remedy}")
    for shard in sorted(set(weights.values())):
        if not _stays_inside(shard):
            raise ModelError(f"{index}: names the file {shard!r} outside its folder; {remedy}")
    return sorted(set(weights.values()))


def _stays_inside(name: str) -> bool:
    # By the name alone: the Hub's cache keeps the files of a folder as links to elsewhere.
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    return bool(name) and not any(
        kind.is_absolute() or kind.drive or kind.root or ".." in kind.parts for kind in kinds
    )
