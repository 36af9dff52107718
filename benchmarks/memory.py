"""How much memory a process took."""

import resource
import sys
from pathlib import Path


def peak_memory_mib() -> int:
    """Return the most memory that this process held at once, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # not ru_maxrss, which on Linux counts the parent that started us
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def peak_gpu_memory_mib() -> int | None:
    """Return the most GPU memory that tensors took at once, in MiB; None without a GPU."""
    import torch  # not above: it takes memory and seconds that a benchmark of data must not show

    return torch.cuda.max_memory_allocated() // 1024**2 if torch.cuda.is_available() else None


def resident_memory_mib() -> int:
    """Return the memory that this process holds now, in MiB; on Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def forget_peak_memory() -> None:
    """Let `peak_memory_mib` count from now on; on Linux only."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
