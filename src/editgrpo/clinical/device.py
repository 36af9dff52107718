"""On which device, and in which number format, the clinical models run."""

import os
from typing import TYPE_CHECKING

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError

if TYPE_CHECKING:
    import torch

# A CPU is as busy with 512 tokens as with more, while small batches pad less and stay in its cache.
_CPU_BATCH_TOKENS = 512


def torch_device(config: ClinicalConfig) -> "torch.device":
    """Return the device that a configuration asks for.

    Args:
        config: `auto` takes the GPU of this process (LOCAL_RANK, or the only one that it sees) if
            there is one, else the CPU.

    Returns:
        The device.

    Raises:
        ConfigError: a GPU is asked for and there is none of that number.
    """
    import torch

    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if name == "cuda":
        # A launcher may show each of its processes one GPU alone and number them all the same.
        name = "cuda:0" if count == 1 else f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if int(name.removeprefix("cuda:")) >= count:
        raise ConfigError(
            f"clinical.device is {config.device!r}, but torch sees {count} GPUs; use auto or cpu"
        )
    return torch.device(name)


def batch_tokens(config: ClinicalConfig) -> int:
    """Return the most tokens of one batch where a configuration runs, padding included."""
    most = config.batch_tokens
    return min(most, _CPU_BATCH_TOKENS) if torch_device(config).type == "cpu" else most


def torch_dtype(config: ClinicalConfig) -> "torch.dtype":
    """Return the number format that a configuration asks for."""
    import torch

    dtype = getattr(torch, config.dtype.value)
    assert isinstance(dtype, torch.dtype)
    return dtype
