"""Loading what a run starts from: policy, tokenizer and image processor.

Weights come from a local folder or the Hub (safetensors only, never remote code). Nothing here
trains.
"""

import logging
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch

from editgrpo.clinical.pretrained import check_claimed_size
from editgrpo.config import GroupPass, LoraConfig, ModelConfig
from editgrpo.errors import ConfigError, ModelError
from editgrpo.files import real_path
from editgrpo.foreign import reading
from editgrpo.model_files import (
    CONFIG,
    GENERATION_CONFIG,
    check_family,
    check_model,
    check_weight_files,
    fetched,
    read_json_object,
)
from editgrpo.training.policy.families import (
    family_named,
    family_of,
    packed_family,
    supported_families,
)
from editgrpo.training.policy.model import Policy, VisionTower
from editgrpo.training.policy.plain_processor import PlainProcessor, own_processor
from editgrpo.training.policy.positions import language_model_name
from editgrpo.training.policy.processor import PromptProcessor
from editgrpo.training.policy.quantization import keep_layout, nf4

_LOGGER = logging.getLogger(__name__)


def resolve_model_folder(path: str, revision: str | None = None) -> Path:
    """Return a local folder with a model of a supported family, fetching it from the Hub if it is a
    Hub id.

    A resolved folder pins the revision for everything loaded from it, the reference policy
    included.

    Args:
        path: A folder or a Hub id.
        revision: Commit of the Hub id.

    Returns:
        The folder.

    Raises:
        ModelError: there is no such folder and no such id can be fetched, it is of a family that is
            not supported, or its index of weights does not fit it.
    """
    check_model(path, revision)  # before gigabytes of another family are fetched
    folder = Path(path)
    if not folder.is_dir():
        folder = fetched(path, revision, ("*.json", "*.safetensors", "*.txt", "*.jinja"))
    check_weight_files(folder)
    return real_path(folder)


def load_processor(folder: Path, group_pass: GroupPass = GroupPass.AUTO) -> PromptProcessor:
    """Load what writes prompts for the model of a folder.

    Args:
        folder: From `resolve_model_folder`.
        group_pass: How its prompts are sampled and scored.

    Returns:
        The processor of prompts with images.

    Raises:
        ModelError: a file is missing, damaged or of another model family, or the chat template does
            not show images.
        ConfigError: the packed pass is asked for, and it cannot take the model.
    """
    config = read_json_object(folder / CONFIG)
    family = packed_family(config)
    if not isinstance(family, str):
        return family.load_processor(folder, is_plain=group_pass is GroupPass.PLAIN)
    if group_pass is GroupPass.PACKED:
        raise ConfigError(f"model.group_pass is packed, {family}; set it to auto")
    _LOGGER.info("the model takes the plain path, not the packed pass, %s", family)
    known = family_named(config.get("model_type"))
    if known is not None:
        return known.load_processor(folder, is_plain=True)
    remedy = "give the folder of a complete instruct checkpoint, with its processor"
    return PlainProcessor(own_processor(folder, remedy), folder)


def load_policy(folder: Path, config: ModelConfig) -> Policy:
    """Load the policy for training.

    What is trained is float32, computed in `config.dtype` by autocast: in bfloat16 an update of
    1e-6 would vanish. What is frozen is kept in `config.dtype`.

    Args:
        folder: From `resolve_model_folder`.
        config: How to load it.

    Returns:
        A transformers image-text-to-text model, its vision tower frozen if so configured.

    Raises:
        ModelError: the folder does not hold a model of a supported family.
        ConfigError: the model has none of the layers that adapters are asked for.
    """
    frozen = getattr(torch, config.dtype.value)
    model = load_for_inference(
        folder,
        dtype=torch.float32 if config.lora is None else frozen,
        quantization=nf4(folder, compute=frozen) if config.is_quantized else None,
    )
    if config.freeze_vision_tower:
        # Buffers hold angles: they stay float32.
        for parameter in vision_tower(model).parameters():
            parameter.requires_grad_(False)
            parameter.data = parameter.data.to(frozen)
    if config.lora is not None:
        wanted = re.compile(_adapted_layers(config.lora, model))
        if not any(wanted.fullmatch(name) for name, _ in model.named_modules()):
            raise ConfigError(
                f"model.lora.target_modules is {list(config.lora.target_modules)}; the language "
                "model has no layer of these names"
            )
    return model


def vision_tower(model: Policy) -> VisionTower:
    """Find the vision tower of a model: all that turns images into what the text layers take, or,
    of a family that is not known, what transformers calls its image encoder.

    Args:
        model: The model, unwrapped.

    Returns:
        Its tower.

    Raises:
        ModelError: it has none that is known.
    """
    tower = family_of(model).tower(model.model)
    if tower is not None:
        return tower
    encoder: VisionTower | Policy = model.get_encoder("image")
    if encoder is model:
        raise ModelError(
            f"{type(model).__name__}: transformers names no vision tower of it; set "
            "model.freeze_vision_tower=false"
        )
    return cast(VisionTower, encoder)


def load_for_inference(
    folder: Path, *, dtype: torch.dtype, quantization: Any | None = None
) -> Policy:
    """Load a vision-language model.

    Args:
        folder: From `resolve_model_folder`.
        dtype: Number format of the parameters.
        quantization: Which of them have fewer bits, from `nf4`; None for none.

    Returns:
        The model in evaluation mode, on the CPU; a quantised one on the GPU, if there is one. A
        vision tower with windows computes those of one length together.

    Raises:
        ModelError: the folder does not hold a model of a supported family.
    """
    from transformers import AutoModelForImageTextToText

    check_family(folder)
    if (folder / GENERATION_CONFIG).is_file():  # a damaged one is passed over, with its end tokens
        read_json_object(folder / GENERATION_CONFIG)
    remedy = f"give the folder of a complete checkpoint of {supported_families()}"
    check_claimed_size(AutoModelForImageTextToText, folder, remedy)
    # What is missing is drawn at random before it is refused: not from the run's own generator.
    with reading(f"{folder}: weights", remedy, error=ModelError), torch.random.fork_rng(devices=[]):
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            quantization_config=quantization,
        )
    _check_complete(folder, report, remedy)
    policy: Policy = model
    keep_layout(policy)
    family_of(policy).prepare(policy)
    return policy


def _check_complete(folder: Path, report: Any, remedy: str) -> None:
    """Refuse weights in place of which transformers has drawn others at random, with a warning."""
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise ModelError(
            f"{folder}: the weights lack {lacking[0]!r} (in all {len(lacking)}); {remedy}"
        )
    if report["mismatched_keys"]:
        raise ModelError(f"{folder}: the weights have other shapes than {CONFIG} says; {remedy}")


def load_checkpoint_weights(model: Policy, checkpoint: Path) -> None:
    """Put the weights of a training checkpoint into a model, strictly.

    transformers' Trainer saves the weights of this family under the names of the published
    checkpoints and, on resuming, looks for the names of the classes: it finds none, warns, and
    trains on from the first weights. Loading through the model's class knows both.

    Args:
        model: A full model, without adapters; its device and number formats stay.
        checkpoint: Holds weights that `save_pretrained` wrote, in one file or several.

    Raises:
        ModelError: the checkpoint cannot be read, or its weights are not those of the model.
    """
    check_weight_files(checkpoint)
    with reading_checkpoint(checkpoint):
        kind: Any = type(model)
        saved, report = kind.from_pretrained(
            checkpoint,
            # Not the checkpoint's: a damaged one could ask for more memory than there is.
            config=model.config,
            # A tower that is kept in bfloat16 must not decide the format of the rest.
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
        raise ModelError(
            f"{checkpoint}: holds the weights of another model; resume with the configuration "
            "that the run was started with"
        )
    model.load_state_dict(saved.state_dict())


def reading_checkpoint(checkpoint: Path) -> AbstractContextManager[None]:
    """Name the checkpoint whose weights cannot be read in one line; see `reading`."""
    remedy = "delete it to go back to an earlier checkpoint"
    return reading(f"{checkpoint}: weights", remedy, error=ModelError)


def peft_config(config: LoraConfig | None, model: Policy) -> Any:
    """Return PEFT's configuration for adapters in a model's text layers, None without LoRA."""
    if config is None:
        return None
    import peft

    return peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=_adapted_layers(config, model),
        task_type="CAUSAL_LM",
    )


def _adapted_layers(config: LoraConfig, model: Policy) -> str:
    modules = "|".join(re.escape(module) for module in config.target_modules)
    return rf".*{language_model_name(model)}.*\.({modules})"
