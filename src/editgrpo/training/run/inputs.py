"""What a run reads, by content: places may move, what lies there may not change under a run.

A run writes the hashes of its inputs beside its configuration; one that is resumed compares them.
Weights are hashed whole: they are read to be loaded anyway, and a second model of the same shapes
has files of the same names and sizes. Left out on purpose: the image shards of a prepared set,
hundreds of gigabytes, stand for themselves by the hashes that the preparation sealed them with
(`editgrpo data check` reads them) and by their sizes.

An annotation store may grow under a run, as several share one: what was there when the run was
started must be there unchanged. So a run keeps a short hash of each of its entries.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from editgrpo.clinical.model_folder import file_sha256
from editgrpo.clinical.sources import models_here
from editgrpo.clinical.store import FactStore, open_store
from editgrpo.clinical.weights import model_identity
from editgrpo.config import DataConfig, EditLevel, SFTConfig, TrainConfig
from editgrpo.data.prepared.image_store import IMAGES_FOLDER
from editgrpo.data.prepared.store import STUDIES_FOLDER, read_prepared
from editgrpo.data.prompt import template_of
from editgrpo.errors import TrainingError
from editgrpo.files import read_json_object, replacing, write_json
from editgrpo.foreign import reading
from editgrpo.reports.registry import annotator_models
from editgrpo.rewards.custom import module_hash
from editgrpo.rewards.registry import reward_models

INPUTS_FILE = "inputs.json"
STORE_ENTRIES_FILE = "store-entries.bin"
_STORE = "clinical.store"

_LOGGER = logging.getLogger(__name__)

Hashes = dict[str, str]
"""Name of a part of an input to its hash."""

# All that transformers reads from a model folder, and what is fetched from the Hub.
_MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")


def run_inputs(config: SFTConfig | TrainConfig, model: Path) -> dict[str, Hashes]:
    """Hash whatever a run reads.

    Args:
        config: The run.
        model: The folder that `model.path` stands for.

    Returns:
        For each key of the configuration that names a place, the hash of each of its parts.

    Raises:
        DataError: the prepared set or the annotation store cannot be read.
        ModelError: weights of a clinical model are missing.
        OSError: a file cannot be read.
    """
    inputs = {
        "model.path": model_hashes(model),
        "data.folder": set_hashes(Path(config.data.folder)),
        "data.prompt_template": template_hashes(config.data),
        "clinical.models": _clinical_hashes(config),
    }
    if config.reward.class_rates is not None:
        rates = Path(config.reward.class_rates)
        inputs["reward.class_rates"] = {"the file": file_sha256(rates)}
    if config.reward.custom is not None:
        inputs["reward.custom"] = {"the module": module_hash(config.reward.custom)}
    if config.clinical.crimson_prompt is not None:
        prompt = Path(config.clinical.crimson_prompt)
        inputs["clinical.crimson_prompt"] = {"the file": file_sha256(prompt)}
    store = run_store(config)
    if store is not None:
        inputs[_STORE] = {"the store": store.content_hash()}
    return inputs


def run_store(config: SFTConfig | TrainConfig) -> FactStore | None:
    """Return the annotation store that a run reads, without the run's own journal; None if it reads
    none."""
    return open_store(replace(config.clinical, journal=None))


def model_hashes(folder: Path) -> Hashes:
    """Hash every file of a model folder that a model is loaded from: weights, configuration,
    tokenizer, templates."""
    paths = sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)})
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter lock
        return dict(zip((p.name for p in paths), pool.map(file_sha256, paths), strict=True))


def set_hashes(folder: Path) -> Hashes:
    """Hash the tables of a prepared set, and take the sealed hashes of its image shards."""
    names = read_prepared(folder)["files"]
    tables = sorted(name for name in names if name.startswith(f"{STUDIES_FOLDER}/"))
    return image_hashes(folder) | {name: file_sha256(folder / name) for name in tables}


def image_hashes(folder: Path) -> Hashes:
    """Take the sealed hashes and the sizes of the image shards of a prepared set."""
    prepared = read_prepared(folder)
    hashes = {"the size of images": _digest(prepared["budget"])}
    for name, sealed in sorted(prepared["files"].items()):
        if name.startswith(f"{IMAGES_FOLDER}/"):
            hashes[name] = _digest([sealed, (folder / name).stat().st_size])
    return hashes


def template_hashes(data: DataConfig) -> Hashes:
    """Hash the prompt template: the one that is named, or the built-in one of the target."""
    return {"the template": file_sha256(template_of(data))}


def _clinical_hashes(config: SFTConfig | TrainConfig) -> Hashes:
    models = reward_models(config.reward)
    if isinstance(config, TrainConfig) and config.edit.level is EditLevel.SENTENCE:
        models += annotator_models(config.edit.annotator)
    return {
        model.value: model_identity(model, config.clinical)
        for model in models_here(models, config.clinical)
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_inputs(run: Path, inputs: Mapping[str, Hashes], store: FactStore | None) -> None:
    """Write the hashes of a run's inputs into its folder, and those of a store's entries."""
    write_json(run / INPUTS_FILE, inputs)
    entries = run / STORE_ENTRIES_FILE
    if store is None:
        entries.unlink(missing_ok=True)
        return
    with replacing(entries) as partial:
        store.entry_digests().tofile(partial)


def check_same_inputs(run: Path, inputs: Mapping[str, Hashes], store: FactStore | None) -> None:
    """Make sure that a run goes on with what it was started with.

    Args:
        run: The run folder. One of an earlier version that does not say what it was started with
            goes on, with a warning, and says so from now on.
        inputs: Of the run as it is now.
        store: The annotation store that it reads. What was added to it since is noted with the
            rest: the run may read it from now on.

    Raises:
        TrainingError: something differs; the message names it.
        DataError: the run's own record is damaged.
    """
    path = run / INPUTS_FILE
    if not path.is_file():
        _LOGGER.warning("%s: does not say what it was started with; cannot compare", run)
        write_inputs(run, inputs, store)
        return
    before = read_json_object(path, "delete it, if nothing that the run reads has changed")
    has_grown = (
        store is not None and before.get(_STORE) != inputs[_STORE] and _holds_all_of(store, run)
    )
    if has_grown:
        before = before | {_STORE: inputs[_STORE]}
    changed = changed_input(before, inputs)
    if changed is not None:
        raise TrainingError(
            f"{run}: {changed} since the run was started; put back what it was started with, or "
            "start another in a new folder"
        )
    if has_grown:
        write_inputs(run, inputs, store)


def _holds_all_of(store: FactStore, run: Path) -> bool:
    """Say whether a store holds, unchanged, whatever was there when a run was started.

    Runs of earlier versions did not note it.
    """
    path = run / STORE_ENTRIES_FILE
    if not path.is_file():
        return False
    with reading(path, "delete it, and the annotation store must be as it was, without additions"):
        before = np.frombuffer(path.read_bytes(), dtype="<u8")
    return bool(np.isin(before, store.entry_digests()).all())


def changed_input(before: Mapping[str, object], now: Mapping[str, Hashes]) -> str | None:
    """Name the first input that differs, with its part; None if none does."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if not isinstance(old, dict) or new is None:
            return f"{key} has changed"
        parts = sorted(part for part in old.keys() | new.keys() if old.get(part) != new.get(part))
        what = f"{parts[0]} of {key}"
        return f"{what} has changed" if parts[0] in new else f"{what} is missing"
    return None
