"""GPUs by what their makers' data sheets say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from editgrpo.errors import ConfigError, nearest_name

GB = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU."""

    name: str
    memory: float
    """Bytes. Of a data sheet's GB the smaller reading, 10^9: the driver keeps some of the rest."""
    flops: float | None = None
    """Dense bfloat16 operations a second, added up in float32; None if not known."""
    bandwidth: float | None = None
    """Bytes a second to its memory; None if not known."""


GPUS: Mapping[str, Gpu] = {
    "h200-141gb": Gpu(name="H200 SXM", memory=141 * GB, flops=989e12, bandwidth=4.8e12),
    "h100-80gb": Gpu(name="H100 SXM", memory=80 * GB, flops=989e12, bandwidth=3.35e12),
    "a100-80gb": Gpu(name="A100 SXM 80 GB", memory=80 * GB, flops=312e12, bandwidth=2.04e12),
    "a100-40gb": Gpu(name="A100 SXM 40 GB", memory=40 * GB, flops=312e12, bandwidth=1.555e12),
    "l40s": Gpu(name="L40S", memory=48 * GB, flops=362e12, bandwidth=864e9),
    "a6000": Gpu(name="RTX A6000", memory=48 * GB, flops=155e12, bandwidth=768e9),
    "rtx-4090": Gpu(name="RTX 4090", memory=24 * GB, flops=165e12, bandwidth=1.008e12),
    "rtx-3090": Gpu(name="RTX 3090", memory=24 * GB, flops=71e12, bandwidth=936e9),
    "l4": Gpu(name="L4", memory=24 * GB, flops=121e12, bandwidth=300e9),
}
"""What `--gpu` takes, and the GPU; NVIDIA's data sheets."""

# What CUDA calls them: words that must all be in the name, the more particular ones first.
_CUDA_NAMES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("H200",), "h200-141gb"),
    (("H100", "80GB HBM3"), "h100-80gb"),
    (("A100", "SXM", "80GB"), "a100-80gb"),
    (("A100", "SXM", "40GB"), "a100-40gb"),
    (("L40S",), "l40s"),
    (("RTX A6000",), "a6000"),
    (("RTX 4090",), "rtx-4090"),
    (("RTX 3090",), "rtx-3090"),
    (("NVIDIA L4",), "l4"),
)


def named_gpu(name: str) -> Gpu:
    """Find a GPU by the name that `--gpu` takes.

    Args:
        name: The name.

    Returns:
        The GPU.

    Raises:
        ConfigError: there is none of that name; the message names the nearest one.
    """
    if name not in GPUS:
        raise ConfigError(f"--gpu {name}: not known{nearest_name(name, list(GPUS))}")
    return GPUS[name]


def gpu_of_cuda_name(name: str) -> Gpu | None:
    """Find the data sheet of a device.

    Args:
        name: What CUDA calls it.

    Returns:
        The GPU, None if its data sheet is not among those known.
    """
    for words, key in _CUDA_NAMES:
        # L4 is the beginning of other names.
        if all(word in name for word in words) and not (key == "l4" and "L40" in name):
            return GPUS[key]
    return None


def gpu_at_hand() -> Gpu | None:
    """Return the GPU that a run on this machine would take, with the memory that CUDA tells of.

    Returns:
        The GPU; None without one.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    sheet = gpu_of_cuda_name(found.name)
    if sheet is None:
        return Gpu(name=found.name, memory=found.total_memory)
    return replace(sheet, name=found.name, memory=found.total_memory)
