"""Files of a saved model as the Qwen families publish them, for transformers 4 and vLLM.

transformers 5 writes other keys. Read by transformers 4.57, what it writes has no rotary sections,
a head drawn at random in place of the tied one, a tokenizer of an unknown class, and image sizes of
its own.
"""

from pathlib import Path
from typing import Any

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.files import write_json
from editgrpo.model_files import read_json_object
from editgrpo.training.policy.model import Tokenizer


def take_rope(settings: dict[str, Any]) -> dict[str, Any] | None:
    """Take rotary settings as transformers 5 names them; their base gets its old place.

    Args:
        settings: Of the text layers; changed.

    Returns:
        The rest of the rotary settings, None if there are none.
    """
    rope: dict[str, Any] | None = settings.pop("rope_parameters", None)
    if rope is not None:
        settings["rope_theta"] = rope.pop("rope_theta")
    return rope


def publish_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the slow tokenizer's files, too, and a configuration that transformers 4 can read.

    Args:
        folder: Holds what `save_pretrained` wrote.
        tokenizer: What it wrote.
    """
    tokenizer.backend_tokenizer.model.save(str(folder))
    path = folder / "tokenizer_config.json"
    settings = read_json_object(path)
    for key in ("backend", "is_local", "local_files_only"):
        settings.pop(key, None)
    special = settings.pop("extra_special_tokens", None)
    if special is not None:
        key = "extra_special_tokens" if isinstance(special, dict) else "additional_special_tokens"
        settings[key] = special
    if settings["tokenizer_class"] == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # its name before version 5
        settings["model_input_names"] = ["input_ids", "attention_mask"]
    settings["added_tokens_decoder"] = {
        str(number): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for number, token in tokenizer.added_tokens_decoder.items()
    }
    write_json(path, settings, shared=True)


def publish_image_sizes(folder: Path, budget: PixelBudget) -> None:
    """Let a reader reduce an image as the studies of training were; a prepared set's images are of
    such a size already, and stay as they are.

    Args:
        folder: Holds the image processor's file.
        budget: How large images of training were.
    """
    path = folder / "preprocessor_config.json"
    settings = read_json_object(path) | {
        "min_pixels": budget.min_pixels,
        "max_pixels": budget.max_pixels,
        "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
    }
    write_json(path, settings, shared=True)
