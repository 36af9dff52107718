"""The folder of a training run: growing JSON-lines files, checkpoints that are whole, and how to
continue from one.

A checkpoint counts only once its marker is there, which is written last: one that a crash cut short
is passed over and removed. The growing files are cut back to the checkpoint that a run continues
from, so that they end up as if the run had never stopped.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editgrpo.errors import TrainingError
from editgrpo.files import json_line, naming, open_to_append, write_text

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
ROLLOUTS = "rollouts.jsonl"
ANNOTATIONS = "annotations"
FEATURES = "features"
CHECKPOINTS = "checkpoints"
MODEL = "model"
_MARKER = "complete"


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON object to a growing file and hand it to the operating system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open_to_append(path) as stream:
        stream.write(json_line(row))


def cut_back(path: Path, last_step: int) -> None:
    """Drop every line of a growing file that a step after `last_step` wrote, and any half-written
    last line.

    Args:
        path: A file whose rows have a `step`; it may be absent.
        last_step: The last step to keep.
    """
    if not path.is_file():
        return
    kept: list[bytes] = []
    # Lines of bytes: report text may hold U+2028 and its like, and a torn line half a character.
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            if json.loads(line)["step"] <= last_step:
                kept.append(line)
    write_text(path, b"".join(kept).decode("utf-8"))


def mark_complete(checkpoint: Path) -> None:
    """Declare a checkpoint whole, after everything in it is on disk."""
    for file in checkpoint.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    write_text(checkpoint / _MARKER, "")


def drop_old_checkpoints(run: Path, keep: int) -> None:
    """Remove all but the newest whole checkpoints of a run.

    A marker goes before its checkpoint's files, so that what a crash leaves of one does not count.

    Args:
        run: The run folder.
        keep: How many to keep, at least 1.
    """
    markers = sorted(
        (run / CHECKPOINTS).glob(f"checkpoint-*/{_MARKER}"),
        key=lambda marker: checkpoint_step(marker.parent),
    )
    for marker in markers[:-keep]:
        marker.unlink()
        shutil.rmtree(marker.parent)


def last_checkpoint(run: Path) -> Path | None:
    """Return the newest whole checkpoint of a run and remove those that are not whole.

    Args:
        run: The run folder.

    Returns:
        The checkpoint folder, None if there is none.
    """
    whole: list[tuple[int, Path]] = []
    for folder in (run / CHECKPOINTS).glob("checkpoint-*"):
        if (folder / _MARKER).is_file():
            whole.append((int(folder.name.rpartition("-")[2]), folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)  # every process of a launch tries to
    return max(whole)[1] if whole else None


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def open_run(run: Path, *, resume: bool) -> Path | None:
    """Make or reopen a run folder.

    Args:
        run: The run folder.
        resume: Continue from its newest whole checkpoint, or start anew if it has none.

    Returns:
        The checkpoint to continue from, None to start at step 0.

    Raises:
        TrainingError: the folder holds a run and `resume` is off, or holds a finished run.
    """
    if (run / MODEL / "config.json").is_file() and resume:
        raise TrainingError(f"{run}: this run is finished; nothing to resume")
    if (run / METRICS).exists() and not resume:
        raise TrainingError(
            f"{run}: holds a run already; pass --resume to continue it, or name another folder"
        )
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(run)
    step = checkpoint_step(checkpoint) if checkpoint else 0
    for name in (METRICS, TIMINGS, ROLLOUTS):
        cut_back(run / name, step)
    return checkpoint


def put_in_place(partial: Path, folder: Path) -> None:
    """Give a folder that is whole its final name, in place of what stood there."""
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
