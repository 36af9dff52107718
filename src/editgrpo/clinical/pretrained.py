"""Loading a Hugging Face folder, whole or not at all.

transformers draws weights at random where the files have none, and takes an empty vocabulary for
one that it cannot read; both would score quietly wrong.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.checkpoint import check_checkpoint
from editgrpo.errors import ModelError
from editgrpo.foreign import reading

if TYPE_CHECKING:
    import torch

_FEWEST_TOKENS = 20
"""A vocabulary of fewer holds special tokens alone: its file was not read."""


def load_tokenizer(folder: Path, model: ClinicalModel, **options: Any) -> Any:
    """Load a tokenizer.

    Args:
        folder: Holds its files and the model's configuration.
        model: Whose it is.
        **options: Handed to the tokenizer.

    Returns:
        The tokenizer.

    Raises:
        ModelError: a file is missing or cannot be read.
    """
    from transformers import AutoTokenizer

    with reading(f"{folder}: configuration and tokenizer", remedy(model), error=ModelError):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    if len(tokenizer) < _FEWEST_TOKENS:
        raise ModelError(
            f"{folder}: the tokenizer's vocabulary has {len(tokenizer)} tokens; {remedy(model)}"
        )
    return tokenizer


def load_model(
    auto_class: Any,
    folder: Path,
    model: ClinicalModel,
    *,
    dtype: "torch.dtype",
    config: Any | None = None,
) -> Any:
    """Load a model for inference, on the CPU.

    Args:
        auto_class: Such as `transformers.AutoModel`.
        folder: Holds configuration and weights.
        model: Which model it is.
        dtype: Number format of weights and activations.
        config: In place of the folder's configuration.

    Returns:
        The model in evaluation mode, its weights closed to gradients.

    Raises:
        ModelError: a file cannot be read, or the weights lack one that the model needs; a pooler is
            not needed.
    """
    import torch

    for pickled in sorted(folder.glob("*.bin")):
        check_checkpoint(pickled, remedy(model))
    config = config or load_config(folder, model)
    check_claimed_size(auto_class, folder, remedy(model), config=config)
    with (
        reading(f"{folder}: weights", remedy(model), error=ModelError),
        # What is missing is drawn at random before it is refused: not from the run's own generator.
        torch.random.fork_rng(devices=[]),
        _without_report(),
    ):
        network, report = auto_class.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            config=config,
        )
    # The pooler stands above the layers; checkpoints of masked language models have none.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {missing[0]!r} (in all {len(missing)}); {remedy(model)}"
        )
    return network.eval().requires_grad_(False)


def check_claimed_size(
    auto_class: Any, folder: Path, remedy: str, *, config: Any | None = None
) -> None:
    """Refuse a folder whose configuration asks for many more numbers than its weights hold, before
    memory is taken for them.

    Args:
        auto_class: Such as `transformers.AutoModel`.
        folder: Holds weights, and `config.json` where `config` is not given.
        remedy: What to do; ends the message.
        config: In place of the folder's configuration.

    Raises:
        ModelError: no model can be built from the configuration, or it has more parameters than the
            files of weights have bytes.
    """
    import torch
    from transformers import AutoConfig

    place = f"{folder}: configuration"
    with (
        reading(place, remedy, error=ModelError),
        torch.random.fork_rng(devices=[]),
        torch.device("meta"),
    ):
        if config is None:
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        network = auto_class.from_config(config, trust_remote_code=False)
    claimed = sum(parameter.numel() for parameter in network.parameters())
    held = sum(
        path.stat().st_size for kind in ("*.safetensors", "*.bin") for path in folder.glob(kind)
    )
    # No number takes less than a byte. That there are no files at all is told elsewhere.
    if claimed > held > 0:
        raise ModelError(
            f"{place}: asks for {claimed:,} parameters, more than the {held:,} bytes of its "
            f"weights can hold; {remedy}"
        )


def load_config(folder: Path, model: ClinicalModel) -> Any:
    """Load the configuration of a Hugging Face folder; `ModelError` if it cannot be read."""
    from transformers import AutoConfig

    with reading(f"{folder}: configuration", remedy(model), error=ModelError):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def remedy(model: ClinicalModel) -> str:
    """Return what to do about a model whose files are not right."""
    return f"get the original with `editgrpo models fetch {model}`"


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from listing the layers and heads that are left out on purpose."""
    # Not by its level: above a certain one transformers has more to say.
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_error)
    try:
        yield
    finally:
        logger.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
