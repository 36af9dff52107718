"""What happens around the steps of a run: stop when asked to, mark checkpoints whole."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback

from editgrpo.foreign import storing
from editgrpo.training.run.folder import (
    CHECKPOINTS,
    checkpoint_name,
    drop_old_checkpoints,
    mark_complete,
)
from editgrpo.training.step.prompt_stream import PromptStream


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """On SIGTERM or SIGINT, finish the step, write a checkpoint and stop.

    Clusters send SIGTERM before they take a machine back. The run continues with `--resume`.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Listen from the first step on."""
        for kind in (signal.SIGTERM, signal.SIGINT):
            self._previous[kind] = signal.signal(kind, self._handle)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Ask for a checkpoint and the end of training if a signal came to any process."""
        # Signals reach processes at different times; all of them must stop after the same step.
        self.received = next(filter(None, gather_object([self.received])), None)
        if self.received is not None:
            control.should_save = True
            control.should_training_stop = True
        return control

    def give_back(self) -> None:
        """Give the signals back to whoever had them, if that is still to do."""
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)
        self._previous.clear()


class MarkCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Mark each checkpoint as whole once all of it is written, and only then remove older ones.

    transformers' own limit removes the older ones first: with a limit of 1, a crash in between
    would leave none.

    Args:
        run: The run folder.
        keep: How many checkpoints stay.
    """

    def __init__(self, run: Path, keep: int) -> None:
        self._run = run
        self._keep = keep

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint that was just written and remove those over the limit."""
        if state.is_world_process_zero:
            mark_complete(self._run / CHECKPOINTS / checkpoint_name(state.global_step))
            drop_old_checkpoints(self._run, self._keep)


class SavePrompts(TrainerCallback):  # type: ignore[misc]
    """Write into each checkpoint where the stream of prompts is, before it is marked whole.

    Args:
        run: The run folder.
        prompts: The stream, in the same state in every process.
    """

    def __init__(self, run: Path, prompts: PromptStream) -> None:
        self._run = run
        self._prompts = prompts

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write it next to what transformers has written."""
        if state.is_world_process_zero:
            folder = self._run / CHECKPOINTS / checkpoint_name(state.global_step)
            with storing(folder):
                self._prompts.save(folder)
