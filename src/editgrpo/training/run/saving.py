"""A trained model as a folder that others read: transformers before 5, vLLM, plain `generate`.

transformers 5 writes other keys than those that the families are published with. Read by
transformers 4.57, what it writes has no rotary sections, a head drawn at random in place of the
tied one, a tokenizer of an unknown class, and image sizes of its own. So a saved folder gets the
published keys and files; this package reads both.

Left out on purpose: checkpoints to resume from, but for the number format of their weights.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from editgrpo.config import Target
from editgrpo.files import write_json, write_text
from editgrpo.model_files import CONFIG, GENERATION_CONFIG, read_json_object
from editgrpo.training.policy.families import family_named
from editgrpo.training.policy.generation_tokens import padding_token
from editgrpo.training.policy.processor import PromptProcessor, StudyProcessor
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.policy.quantization import dequantized


class OneFormat:
    """For trainers: what they save has one number format throughout.

    A run keeps a frozen vision tower in bfloat16 beside float32 weights; a reader takes the format
    of a folder for that of all its weights.
    """

    model: Any
    accelerator: Any
    args: Any

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None
    ) -> None:
        policy = self.accelerator.unwrap_model(self.model)
        is_whole = isinstance(policy, PreTrainedModel)  # adapters are small, and float32
        if is_whole:
            state_dict = in_one_format(policy.state_dict() if state_dict is None else state_dict)
        super()._save(output_dir, state_dict)  # type: ignore[misc]
        if is_whole and self.args.should_save and state_dict:
            publish_config(Path(output_dir or self.args.output_dir), format_of(state_dict))


def in_one_format(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring all weights to the widest number format among them, which loses nothing.

    Args:
        state: Weights by name, on any device; whole numbers stay.

    Returns:
        The same names. What had another format is a copy on the CPU; tensors that were one stay
        one.
    """
    wanted = format_of(state)
    copies: dict[tuple[int, torch.Size], Tensor] = {}

    def convert(value: Tensor) -> Tensor:
        if not value.is_floating_point() or value.dtype is wanted:
            return value
        key = (value.data_ptr(), value.shape)
        if key not in copies:
            copies[key] = value.to("cpu", wanted)
        return copies[key]

    return {name: convert(value) for name, value in state.items()}


def format_of(state: Mapping[str, Tensor]) -> torch.dtype:
    """Return the widest number format of weights; float32 if there is none."""
    found = {value.dtype for value in state.values() if value.is_floating_point()}
    return max(found, key=lambda dtype: dtype.itemsize, default=torch.float32)


def save_merged(model: Any, folder: Path) -> None:
    """Save a model with its adapters added to the weights, as a checkpoint like any other.

    Args:
        model: A PEFT model, which stays as it is: a copy is merged.
        folder: Where to write.
    """
    merged = dequantized(copy.deepcopy(model)).merge_and_unload()
    state = in_one_format(merged.state_dict())
    merged.save_pretrained(folder, state_dict=state)
    publish_config(folder, format_of(state))


def finish_model(folder: Path, encoder: PromptEncoder) -> None:
    """Put next to saved weights what else a reader needs: tokenizer, image processor, end tokens, a
    card.

    Args:
        folder: Holds weights and configuration.
        encoder: What showed studies to the model.
    """
    processor, budget = encoder.processor, encoder.budget
    processor.save(folder)
    config = read_json_object(folder / CONFIG)
    family = family_named(config["model_type"])
    if family is not None:
        family.publish_files(folder, processor, budget)
    _publish_generation(folder, processor)
    card = _card(config, encoder)
    write_text(folder / "README.md", card, shared=True)


def publish_config(folder: Path, dtype: torch.dtype) -> None:
    """Rewrite `config.json` with the keys that the families are published with.

    Args:
        folder: A folder that transformers 5 has saved.
        dtype: Number format of the weights in it.
    """
    config = read_json_object(folder / CONFIG)
    family = family_named(config["model_type"])
    if family is None:
        return  # as transformers writes it: what its older versions read is known to few
    config.get("vision_config", {}).pop("dtype", None)
    # Checkpointing of gradients turns the cache off while a run trains.
    config.pop("use_cache", None)
    name = str(dtype).removeprefix("torch.")
    config |= {"dtype": name, "torch_dtype": name}
    published = family.published_config(config)
    write_json(folder / CONFIG, dict(sorted(published.items())), shared=True)


def _publish_generation(folder: Path, processor: PromptProcessor) -> None:
    """Let plain `generate` take the likeliest token and stop where our own decoding does.

    Qwen2.5-VL is published with a repetition penalty of 1.05, with which no report of training or
    validation was written.
    """
    path = folder / GENERATION_CONFIG
    settings = read_json_object(path)
    declared = settings.get("eos_token_id")
    ends = declared if isinstance(declared, list) else [declared]
    ends = list(dict.fromkeys([processor.tokenizer.eos_token_id, *ends]))
    kept = {
        key: settings[key] for key in ("bos_token_id", "transformers_version") if key in settings
    }
    write_json(
        path,
        kept
        | {
            "do_sample": False,
            "eos_token_id": [end for end in ends if end is not None],
            "pad_token_id": padding_token(processor.tokenizer),
        },
        shared=True,
    )


_WRITTEN = {
    Target.FINDINGS: "",
    Target.IMPRESSION: "\n- It writes the impression of a study, not its findings.",
    Target.BOTH: "\n- It writes `FINDINGS: ...` and, on a line of its own, `IMPRESSION: ...`.",
}


def _card(config: Mapping[str, Any], encoder: PromptEncoder) -> str:
    kind = config["model_type"]
    family = family_named(kind)
    written = _WRITTEN[encoder.target]
    return f"""\
---
library_name: transformers
pipeline_tag: image-text-to-text
---

# A radiology report generator, trained by editgrpo

- Family: {kind if family is None else family.name} (`{kind}`), weights in {config["dtype"]}.
- {_images_of_training(encoder)}
- Reports: `generation_config.json` takes the likeliest token, as `editgrpo generate` does.{written}
- Settings, command and versions of the run: `config.yaml` and `provenance.json` in its folder.

Research software: its reports are not for clinical use.
"""


def _images_of_training(encoder: PromptEncoder) -> str:
    budget, factor = encoder.budget, encoder.processor.factor
    pixels = f"Images in training: each had {budget.min_pixels:,} to {budget.max_pixels:,} pixels"
    if not isinstance(encoder.processor, StudyProcessor):
        return (
            f"{pixels},\n  and the model's own processor resized it. A prompt showed at most "
            f"{encoder.max_images} images."
        )
    return f"""\
{pixels}, at most
  {budget.max_pixels // factor**2:,} image tokens of {factor} x {factor} pixels, and sides that are
  multiples of {budget.multiple_of}. A prompt showed at most {encoder.max_images} images.
  `preprocessor_config.json` says the same, so that plain transformers makes no more tokens of one.\
"""
