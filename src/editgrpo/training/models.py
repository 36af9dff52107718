"""Loading what a run starts from: policy, tokenizer and image processor.

Weights come from a local folder or the Hub (safetensors only, never remote code). Nothing here
trains.
"""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editgrpo.config import DType, LoraConfig, ModelConfig, OptimizerState
from editgrpo.errors import ConfigError, ModelError
from editgrpo.training.processor import StudyProcessor
from editgrpo.training.rollouts import SamplingSettings
from editgrpo.training.vision import use_window_batches


def resolve_model_folder(path: str, revision: str | None = None) -> Path:
    """Return a local folder with the model, fetching it from the Hub if it is a Hub id.

    A resolved folder pins the revision for everything loaded from it, the reference policy
    included.

    Args:
        path: A folder or a Hub id.
        revision: Commit of the Hub id.

    Returns:
        The folder.

    Raises:
        ModelError: there is no such folder and no such id can be fetched.
    """
    folder = Path(path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: no config.json; give the folder of a saved model")
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                path,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"],
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model {path!r} is neither a folder nor a model that could be fetched "
            f"({type(error).__name__}); check the path, or fetch it where there is a network"
        ) from error


def load_processor(folder: Path) -> StudyProcessor:
    """Load tokenizer and image processor of a model folder.

    Args:
        folder: From `resolve_model_folder`.

    Returns:
        The processor of prompts with images.

    Raises:
        ModelError: a file is missing or of another model family.
    """
    from transformers import AutoTokenizer, Qwen2VLImageProcessorPil

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder}: tokenizer or image processor cannot be loaded; give the folder of a "
            "complete Qwen2-VL or Qwen2.5-VL checkpoint"
        ) from error
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{folder}: the tokenizer has no chat template; use an instruct checkpoint"
        )
    return StudyProcessor(tokenizer, image_processor)


def load_policy(folder: Path, config: ModelConfig, state: OptimizerState) -> Any:
    """Load the policy for training.

    What is trained is float32, computed in `config.dtype` by autocast, or bfloat16 if the optimiser
    keeps masters: without them an update of 1e-6 would vanish. What is frozen is kept in
    `config.dtype`.

    Args:
        folder: From `resolve_model_folder`.
        config: How to load it.
        state: What the optimiser keeps.

    Returns:
        A transformers image-text-to-text model, its vision tower frozen if so configured.

    Raises:
        ModelError: the folder does not hold a model of a supported family.
        ConfigError: the model has none of the layers that adapters are asked for, or masters are
            asked for beside float32 parameters.
    """
    if state is OptimizerState.MASTER and config.dtype is not DType.BFLOAT16:
        raise ConfigError("optim.state=master keeps masters of bfloat16; set model.dtype=bfloat16")
    frozen = getattr(torch, config.dtype.value)
    is_wholly_low = config.lora is not None or state is OptimizerState.MASTER
    model = load_for_inference(folder, dtype=frozen if is_wholly_low else torch.float32)
    if config.freeze_vision_tower:
        for parameter in model.model.visual.parameters():  # buffers hold angles: they stay float32
            parameter.requires_grad_(False)
            parameter.data = parameter.data.to(frozen)
    if config.lora is not None:
        wanted = re.compile(_adapted_layers(config.lora))
        if not any(wanted.fullmatch(name) for name, _ in model.named_modules()):
            raise ConfigError(
                f"model.lora.target_modules is {list(config.lora.target_modules)}; the language "
                "model has no layer of these names"
            )
    return model


def load_for_inference(folder: Path, *, dtype: torch.dtype) -> Any:
    """Load a model of the Qwen2-VL family.

    Args:
        folder: From `resolve_model_folder`.
        dtype: Number format of the parameters.

    Returns:
        The model on the CPU, in evaluation mode; its vision tower computes windows of one length
        together.

    Raises:
        ModelError: the folder does not hold a model of a supported family.
    """
    from transformers import AutoModelForImageTextToText

    try:
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: not a loadable image-text model ({error})") from error
    if not hasattr(model.model, "get_rope_index") or not hasattr(model.model, "visual"):
        raise ModelError(
            f"{folder}: {type(model).__name__} is not supported; use the Qwen2-VL or Qwen2.5-VL "
            "family"
        )
    use_window_batches(model)
    return model


def load_checkpoint_weights(model: Any, checkpoint: Path) -> None:
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
    try:
        saved, report = type(model).from_pretrained(
            # A tower that is kept in bfloat16 must not decide the format of the rest.
            checkpoint,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{checkpoint}: not a readable checkpoint; delete it to go back to an earlier one"
        ) from error
    if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
        raise ModelError(
            f"{checkpoint}: holds the weights of another model; resume with the configuration "
            "that the run was started with"
        )
    model.load_state_dict(saved.state_dict())


def peft_config(config: LoraConfig | None) -> Any:
    """Return PEFT's configuration for adapters in the language model, None without LoRA."""
    if config is None:
        return None
    import peft

    return peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=_adapted_layers(config),
        task_type="CAUSAL_LM",
    )


def _adapted_layers(config: LoraConfig) -> str:
    modules = "|".join(re.escape(module) for module in config.target_modules)
    return rf".*language_model.*\.({modules})"


def save_merged(model: Any, folder: Path) -> None:
    """Save a model with its adapters added to the weights, as a checkpoint like any other.

    Args:
        model: A PEFT model, which stays as it is: a copy is merged.
        folder: Where to write.
    """
    copy.deepcopy(model).merge_and_unload().save_pretrained(folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationTokens:
    """Token ids that sampling has to know."""

    eos_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    forbidden_token_ids: tuple[int, ...]

    def sampling(self, *, max_tokens: int, temperature: float) -> SamplingSettings:
        """Return how to draw responses with these tokens."""
        return SamplingSettings(
            max_tokens=max_tokens,
            eos_token_ids=self.eos_token_ids,
            pad_token_id=self.pad_token_id,
            temperature=temperature,
            forbidden_token_ids=self.forbidden_token_ids,
        )


def generation_tokens(model: Any, tokenizer: Any) -> GenerationTokens:
    """Collect end, padding and never-sampled tokens of a model and its tokenizer."""
    declared = model.generation_config.eos_token_id
    declared = [declared] if isinstance(declared, int) else list(declared or [])
    eos = tuple(dict.fromkeys([tokenizer.eos_token_id, *declared]))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    visual = (model.config.image_token_id, model.config.video_token_id)
    return GenerationTokens(
        eos_token_id=tokenizer.eos_token_id,
        eos_token_ids=eos,
        pad_token_id=pad,
        forbidden_token_ids=tuple(token for token in visual if token is not None),
    )
