"""What listens while a run trains, and no longer."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from editgrpo.config import OptimConfig
from editgrpo.training.run import launch
from editgrpo.training.run.callbacks import StopOnSignal


@pytest.mark.parametrize("fails", [False, True])
def test_signals_are_given_back_however_a_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Ctrl-C went unheard in a process whose run had failed."""
    stop = StopOnSignal()
    heard = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(kind) for kind in heard]

    def train(**_: Any) -> None:
        stop.on_train_begin(None, None, None)
        assert [signal.getsignal(kind) for kind in heard] == [stop._handle] * 2
        if fails:
            raise ValueError

    trainer: Any = SimpleNamespace(
        model=None,
        train=train,
        remove_callback=lambda _: None,
        state=SimpleNamespace(global_step=1),
        args=SimpleNamespace(output_dir=str(tmp_path / "checkpoints")),
    )
    monkeypatch.setattr(launch, "refuse_states_of_shards", lambda *_: None)
    settings: Any = {"optim": OptimConfig(), "stop": stop, "last_step": 1}
    if fails:
        with pytest.raises(ValueError):
            launch.train_to_end(trainer, None, **settings)
    else:
        launch.train_to_end(trainer, None, **settings)
    assert [signal.getsignal(kind) for kind in heard] == before
