"""Which GPU a process takes; the GPUs are only said to be there."""

import pytest
import torch

from editgrpo.clinical.device import torch_device
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError


def see(monkeypatch: pytest.MonkeyPatch, gpus: int, *, local_rank: str | None) -> None:
    """Make torch see some GPUs, in a process with a number of its own or without."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if local_rank is None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    else:
        monkeypatch.setenv("LOCAL_RANK", local_rank)


@pytest.mark.parametrize(
    ("gpus", "local_rank", "expected"),
    [
        (0, None, "cpu"),
        (0, "1", "cpu"),
        (4, None, "cuda:0"),
        (4, "3", "cuda:3"),
        (1, "3", "cuda:0"),  # the launcher hides the other processes' GPUs
    ],
)
def test_auto_takes_the_gpu_of_the_process(
    monkeypatch: pytest.MonkeyPatch, gpus: int, local_rank: str | None, expected: str
) -> None:
    see(monkeypatch, gpus, local_rank=local_rank)
    assert torch_device(ClinicalConfig()) == torch.device(expected)


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, 2, local_rank=None)
    with pytest.raises(ConfigError, match=r"'cuda:2', but torch sees 2 GPUs"):
        torch_device(ClinicalConfig(device="cuda:2"))
