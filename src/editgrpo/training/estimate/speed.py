"""Seconds of a step by phase: from counts, and from assumptions that are named here.

None of it has been measured on a GPU. Each phase takes as long as the slowest of three: its
operations at a share of the data sheet's rate, the bytes that it must move at a share of the data
sheet's bandwidth, and the launches of its kernels from Python.
"""

from dataclasses import dataclass

from editgrpo.training.estimate.gpus import Gpu


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What is taken to be reached."""

    utilisation: float
    """Of the data sheet's operations a second, by passes over many tokens, recomputation counted as
    work."""
    bandwidth: float
    """Of the data sheet's bytes a second."""
    kernel_s: float
    """Seconds of one kernel in eager mode: dispatch, Python around it, launch."""


FAST = Speed(utilisation=0.5, bandwidth=0.9, kernel_s=5e-6)
SLOW = Speed(utilisation=0.3, bandwidth=0.7, kernel_s=15e-6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One phase of a step on one GPU."""

    name: str
    flops: float = 0
    bytes: float = 0
    """That must cross to and from GPU memory: weights, gradients, states, keys and values."""
    kernels: float = 0
    """Launched one by one; they run beside the launches."""

    def seconds(self, gpu: Gpu, speed: Speed) -> float:
        """Return the time to expect.

        Args:
            gpu: Where it runs; its data sheet must be known.
            speed: What is taken to be reached.

        Returns:
            Seconds.
        """
        assert gpu.flops is not None and gpu.bandwidth is not None
        return max(
            self.flops / (gpu.flops * speed.utilisation),
            self.bytes / (gpu.bandwidth * speed.bandwidth),
            self.kernels * speed.kernel_s,
        )
