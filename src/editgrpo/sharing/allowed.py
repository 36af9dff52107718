"""Which files of a model folder may leave the machine: a list of names, and nothing else.

Whatever a run writes besides its model holds report text, or may: rollouts, predictions, metrics,
checkpoints with the order of studies. So a file goes out because its name is here, never because no
rule forbids it.
"""

import re
from pathlib import Path

from editgrpo.errors import ModelError
from editgrpo.model_files import CONFIG, GENERATION_CONFIG

CARD = "README.md"
SERVE_FILE = "serve.md"

_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_NAMES = frozenset(
    {
        CARD,
        SERVE_FILE,
        CONFIG,
        GENERATION_CONFIG,
        "model.safetensors.index.json",
        # Processor and tokenizer.
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
        "vocab.json",
        "vocab.txt",
        # Of an exported folder.
        "editgrpo.json",
        "prompt.jinja",
        "LICENSE",
        "NOTICE",
    }
)


def is_weights(name: str) -> bool:
    """Say whether a file of a model folder holds its weights."""
    return _WEIGHTS.fullmatch(name) is not None


def allowed_files(folder: Path) -> list[Path]:
    """List the files of a model folder that may be given away.

    Args:
        folder: A model folder.

    Returns:
        Its files whose names are allowed, by name. Folders, links that lead out of it and all other
        files are left out.

    Raises:
        ModelError: there is no configuration or there are no weights among them.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and not path.is_symlink()
        and (path.name in _NAMES or is_weights(path.name))
    ]
    names = {path.name for path in found}
    if CONFIG not in names or not any(map(is_weights, names)):
        raise ModelError(f"{folder}: no {CONFIG} with weights; give the folder of a saved model")
    return found


def left_out(folder: Path) -> list[str]:
    """Name what is in a folder and may not be given away."""
    allowed = {path.name for path in allowed_files(folder)}
    return sorted(path.name for path in folder.iterdir() if path.name not in allowed)
