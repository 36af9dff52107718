"""A run's model as a folder to serve: one number format, its prompt, and how to start a server.

The weights of a run's `model/` are whole already, adapters merged, and have the names of the
published checkpoints, a tied head included (training/run/saving.py): they are converted one file
after another, and no model is built.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open

from editgrpo.config import DType
from editgrpo.data.prompt import Prompt, build_messages
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import ConfigError, ModelError
from editgrpo.files import real_path, write_json, write_text
from editgrpo.foreign import reading, storing
from editgrpo.model_files import CONFIG, check_weight_files, read_json_object
from editgrpo.sharing.allowed import CARD, SERVE_FILE, allowed_files, is_weights
from editgrpo.sharing.lineage import Lineage
from editgrpo.sharing.serve_page import WORDS_OF_A_STUDY, serve_page, vllm_command
from editgrpo.sharing.serving import PROMPT_FILE, PromptSettings
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import PromptProcessor
from editgrpo.training.run.folder import put_in_place

_REMEDY = "let the run write its model again"
_SHARD = "5GB"  # what the Hub advises for one file
_NUMBER_FORMATS = ("dtype", "torch_dtype")
_STEP = 256

Progress = Callable[[int, int], None]


def export_model(
    lineage: Lineage,
    output: Path,
    *,
    card: str,
    dtype: DType = DType.BFLOAT16,
    progress: Progress | None = None,
) -> list[str]:
    """Write a run's model as a folder that transformers and vLLM read.

    Args:
        lineage: The model.
        output: Folder to write; what stands there is replaced once the new one is whole.
        card: Its model card.
        dtype: Number format of the weights.
        progress: Called with tensors done and all tensors.

    Returns:
        The words of the command that serves it with vLLM.

    Raises:
        ConfigError: the output is the model itself.
        ModelError: a file of the model is missing or damaged.
        StorageError: there is no room.
    """
    if real_path(output) == real_path(lineage.model):
        raise ConfigError(f"{output}: is the run's own model; name another folder")
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a crash left
    partial.mkdir(parents=True)
    try:
        with storing(output):
            longest = _write(lineage, partial, real_path(output).name, dtype, progress)
            write_text(partial / CARD, card, shared=True)
            put_in_place(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    settings = lineage.prompt_settings()
    return vllm_command(str(output), settings, dtype=dtype.value, max_tokens=longest)


def _write(
    lineage: Lineage, folder: Path, name: str, dtype: DType, progress: Progress | None
) -> int:
    """Write all but the card, and return how many tokens a server must have room for."""
    settings = lineage.prompt_settings()
    for path in allowed_files(lineage.model):
        if not (is_weights(path.name) or path.name.endswith(".index.json")):
            shutil.copyfile(path, folder / path.name)
    _convert(lineage.model, folder, dtype, progress)
    _state_format(folder / CONFIG, dtype)
    shutil.copyfile(lineage.prompt_template, folder / PROMPT_FILE)
    settings.write(folder)
    longest = _longest(folder, settings)
    command = vllm_command(name, settings, dtype=dtype.value, max_tokens=longest)
    prompt = build_messages(_EXAMPLE, max_images=settings.max_images, template=folder / PROMPT_FILE)
    write_text(folder / SERVE_FILE, serve_page(prompt, settings, command), shared=True)
    return longest


def _convert(source: Path, target: Path, dtype: DType, progress: Progress | None) -> None:
    """Write the weights of a folder in another number format, under the same names."""
    wanted: torch.dtype = getattr(torch, dtype.value)
    check_weight_files(source)
    files = [path for path in allowed_files(source) if is_weights(path.name)]
    state: dict[str, torch.Tensor] = {}
    with reading(f"{source}: weights", _REMEDY, error=ModelError):
        names = {path: _names(path) for path in files}
        total = sum(map(len, names.values()))
        for path in files:
            with safe_open(path, "pt") as weights:
                for name in names[path]:
                    value = weights.get_tensor(name)
                    state[name] = value.to(wanted) if value.is_floating_point() else value
                    if progress is not None:
                        progress(len(state), total)
    save_torch_state_dict(state, target, max_shard_size=_SHARD, metadata={"format": "pt"})
    for path in target.glob("*.safetensors"):  # its library makes them their owner's alone
        path.chmod((target / CONFIG).stat().st_mode)


def _names(path: Path) -> list[str]:
    with safe_open(path, "pt") as weights:
        return list(weights.keys())


def _state_format(path: Path, dtype: DType) -> None:
    """Say the number format wherever a configuration says one."""

    def stated(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: dtype.value if key in _NUMBER_FORMATS else stated(inner)
            for key, inner in value.items()
        }

    write_json(path, stated(read_json_object(path)), shared=True)


def _longest(folder: Path, settings: PromptSettings) -> int:
    """Return how many tokens a server must have room for."""
    prompt = longest_prompt(load_processor(folder), settings, folder / PROMPT_FILE)
    most = prompt + WORDS_OF_A_STUDY + settings.max_completion_tokens
    return -(-most // _STEP) * _STEP


def longest_prompt(processor: PromptProcessor, settings: PromptSettings, template: Path) -> int:
    """Count the tokens of a prompt with as many and as large images as training allowed, and few
    words.

    Args:
        processor: Of the model.
        settings: Of the run.
        template: Its prompt template.

    Returns:
        How many tokens.
    """
    images = tuple(
        StudyImage(image_id=str(k), view=View.FRONTAL) for k in range(settings.max_images)
    )
    study = Study(study_id="example", patient_id="example", split=Split.TEST, images=images)
    prompt: Prompt = build_messages(study, max_images=len(images), template=template)
    side = settings.budget.size(10_000, 10_000)
    film = processor.patches(np.zeros((*side, 3), np.uint8))
    encoded = processor.assemble("example", prompt, [side] * len(images), [film] * len(images))
    return int(encoded.input_ids_T.shape[0])


_EXAMPLE = Study(
    study_id="example",
    patient_id="example",
    split=Split.TEST,
    images=(
        StudyImage(image_id="frontal", view=View.PA),
        StudyImage(image_id="lateral", view=View.LATERAL),
        StudyImage(image_id="earlier", view=View.PA, timepoint=Timepoint.PRIOR),
    ),
    indication="Cough and fever.",
    technique="PA and lateral views.",
    comparison="Radiograph of last year.",
)
"""Nobody's study."""
