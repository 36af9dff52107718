"""Clocks, memory, ceilings and the running report of the benchmark of a GPU.

Phases are timed with the device idle before and after each, so that they add up; nothing overlaps.
"""

import gc
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from editgrpo.training.estimate.gpus import Gpu, gpu_of_cuda_name

MIB = 2**20
REPOSITORY = Path(__file__).resolve().parents[1]
# What one section may fail with, memory and compilation included, without ending the others.
FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ImportError,
    AssertionError,
    OSError,
)
_PACKAGES = ("torch", "transformers", "accelerate", "peft", "triton", "bitsandbytes")
_COPY_BYTES = {"cuda": 2**32, "cpu": 2**22}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a piece of work took.

    Attributes:
        seconds: From idle to idle.
        peak_mib: Most memory that tensors took at once, None on a CPU.
    """

    seconds: float
    peak_mib: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return it for the report."""
        return {"seconds": rounded(self.seconds), "peak_mib": self.peak_mib}


class Meter:
    """Adds up seconds of phases and keeps the highest memory of each: of tensors by phase, and of
    what PyTorch held of the card in any of them.

    Args:
        device: What computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.peak_mib: dict[str, int] = {}
        self.reserved_mib: int | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one part of a phase."""
        start_peak(self.device)
        start = time.perf_counter()
        yield
        synchronize(self.device)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        peak = peak_mib(self.device)
        if peak is not None:
            self.peak_mib[name] = max(peak, self.peak_mib.get(name, 0))
            # The next phase begins with forgetting the peaks, this one too.
            self.reserved_mib = max(_reserved_mib(self.device), self.reserved_mib or 0)


def measure(
    device: torch.device,
    work: Callable[[], object],
    *,
    repeats: int = 1,
    between: Callable[[], object] | None = None,
) -> Cost:
    """Run a piece of work once to warm up, then time it.

    Args:
        device: What computes.
        work: The work.
        repeats: How often it is timed; the median counts.
        between: Called after each run, outside its time.
    """
    costs = []
    for _ in range(1 + repeats):
        meter = Meter(device)
        with meter.phase(""):
            work()
        costs.append(Cost(seconds=meter.seconds[""], peak_mib=meter.peak_mib.get("")))
        if between is not None:
            between()
    timed = costs[1:]
    return Cost(seconds=median(cost.seconds for cost in timed), peak_mib=timed[-1].peak_mib)


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def start_peak(device: torch.device) -> None:
    """Wait until the device is idle and forget its peak of memory."""
    synchronize(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> int | None:
    """Return the most memory that tensors took since `start_peak`."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.max_memory_allocated(device)) // MIB


def held_mib(device: torch.device) -> int | None:
    """Return the memory that tensors take now."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.memory_allocated(device)) // MIB


def _reserved_mib(device: torch.device) -> int:
    """Return the most memory that PyTorch held of the card, what no tensor used included."""
    return int(torch.cuda.max_memory_reserved(device)) // MIB


def release(device: torch.device) -> None:
    """Give unused memory back to the card."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def memory_limit(device: torch.device, limit_mib: int | None) -> Iterator[None]:
    """Let PyTorch take no more memory of the card than this; more is an OutOfMemoryError.

    Args:
        device: What computes; on a CPU nothing is limited.
        limit_mib: The limit, None for none. What is free on the card counts too.
    """
    if device.type != "cuda" or limit_mib is None:
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory // MIB
    release(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_mib / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def attempt(work: Callable[[], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """Run work that may fail.

    Args:
        work: Returns what it found.
        device: Its memory is given back afterwards.

    Returns:
        What was found, or the failure under `failed`.

    Raises:
        TimeoutError: the time for all sections is up.
    """
    try:
        found = work()
    except TimeoutError:
        raise
    except FAILURES as error:
        lines = str(error).strip().splitlines() or [""]
        found = {"failed": f"{type(error).__name__}: {lines[0][:300]}"}
    # Here the failed frames, and the tensors they hold, are gone.
    release(device)
    return found


class Report:
    """Results by section, written to a file after each, within a budget of time.

    Args:
        path: The file.
        budget_s: Seconds from now on in which all sections must end.
        device: What computes.
    """

    def __init__(self, path: Path, budget_s: float, device: torch.device) -> None:
        self.sections: dict[str, dict[str, Any]] = {}
        self._path, self._device = path, device
        self._start = time.monotonic()
        self._end = self._start + budget_s

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def run(self, name: str, work: Callable[[], dict[str, Any]], *, needs_s: float) -> None:
        """Run a section unless time is too short for it, stop it when time is up, keep the result.

        Args:
            name: Of the section.
            work: Returns what it found.
            needs_s: Seconds without which it is not begun.
        """
        began = time.monotonic()
        if self.left_s < needs_s:
            found = {"skipped": f"{self.left_s:.0f} s are left, it needs {needs_s:.0f}"}
        else:
            say(f"{name} ({self.left_s:.0f} s left)")
            try:
                with _alarm(self.left_s):
                    found = attempt(work, self._device)
            except TimeoutError as error:
                found = {"failed": str(error)}
        problem = found.get("failed") or found.get("skipped")
        if problem:
            say(f"{name}: {problem}")
        self.sections[name] = {**found, "section_s": round(time.monotonic() - began, 1)}
        self.write({"sections": self.sections})

    def write(self, result: dict[str, Any]) -> None:
        """Write the file anew."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError, an OSError, when time is up; a kernel that runs is waited for."""

    def stop(*_: Any) -> None:
        raise TimeoutError("the time for all sections is up")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ceilings(device: torch.device, side: int) -> dict[str, Any]:
    """Measure what the device reaches at most: a large product and a large copy.

    Args:
        device: What computes.
        side: Of the square matrices.

    Returns:
        TFLOP/s in bfloat16 and TB/s, bytes read and written.
    """
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = measure(device, lambda: [left @ right for _ in range(10)], repeats=3)
    source = torch.randn(_COPY_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    copy = measure(device, lambda: target.copy_(source), repeats=5)
    return {
        "matmul_tflops": rounded(10 * 2 * side**3 / product.seconds / 1e12),
        "copy_tb_s": rounded(2 * source.nbytes / copy.seconds / 1e12),
    }


def known_gpu(device: torch.device) -> Gpu | None:
    """Return the data sheet of the device, None where there is none here."""
    return gpu_of_cuda_name(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def environment(device: torch.device) -> dict[str, Any]:
    """Say what a result was measured with: device, versions, commit."""
    found: dict[str, Any] = {"device": device_name(device), "versions": versions()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["device_memory_mib"] = properties.total_memory // MIB
        found["allocator"] = os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "")
    return {**found, "commit": commit()}


def commit() -> str:
    """Return the commit that was measured, an empty text where the sources came without git."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return answer.stdout.strip()


def device_name(device: torch.device) -> str:
    """Return the device as a reader knows it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU ({os.cpu_count()} cores, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Return versions of Python, CUDA and the packages that are there."""
    found = {"python": platform.python_version(), "cuda": torch.version.cuda or ""}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def rounded(value: float) -> float:
    """Return four significant digits."""
    return float(f"{value:.4g}")


def say(message: str) -> None:
    """Tell whoever waits."""
    print(message, file=sys.stderr, flush=True)
