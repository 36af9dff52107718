"""The folder of a training run: growing JSON-lines files, checkpoints that are whole, and how to
continue from one.

A checkpoint counts only once its marker is there, which is written last: one that a crash cut short
is passed over and removed. The growing files are cut back to the checkpoint that a run continues
from, so that they end up as if the run had never stopped.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from editgrpo.errors import DataError, TrainingError
from editgrpo.files import json_line, naming, open_to_append, parse_json_object, write_text
from editgrpo.ownership import is_first_process, is_lock

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
ROLLOUTS = "rollouts.jsonl"
ANNOTATIONS = "annotations"
FEATURES = "features"
CHECKPOINTS = "checkpoints"
MODEL = "model"
_MARKER = "complete"
# What transformers names its checkpoints. A folder of any other name is somebody's own.
_CHECKPOINT = re.compile(r"checkpoint-(0|[1-9][0-9]*)")


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

    Raises:
        DataError: a line is damaged; the message names it.
    """
    if not path.is_file():
        return
    kept: list[bytes] = []
    # Lines of bytes: report text may hold U+2028 and its like, and a torn line half a character.
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break
            place = f"{path}, line {number}"
            step = parse_json_object(line, place).get("step")
            if not isinstance(step, int | float):
                raise DataError(f"{place}: has no step; put back the file as the run wrote it")
            if step <= last_step:
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
    whole = sorted(
        (folder for folder in _checkpoints(run) if (folder / _MARKER).is_file()),
        key=checkpoint_step,
    )
    for folder in whole[:-keep]:
        (folder / _MARKER).unlink()
        shutil.rmtree(folder)


def drop_unfinished_checkpoints(run: Path) -> None:
    """Remove the checkpoints of a run that are not whole."""
    for folder in _checkpoints(run):
        if not (folder / _MARKER).is_file():
            shutil.rmtree(folder, ignore_errors=True)  # it does not count, wherever it stays


def last_checkpoint(run: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, None if there is none."""
    whole = [folder for folder in _checkpoints(run) if (folder / _MARKER).is_file()]
    return max(whole, key=checkpoint_step, default=None)


def _checkpoints(run: Path) -> list[Path]:
    """Return the folders that a trainer wrote, whole or not."""
    folders = (run / CHECKPOINTS).glob("checkpoint-*")
    return [folder for folder in folders if _CHECKPOINT.fullmatch(folder.name)]


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def checkpoint_name(step: int) -> str:
    """Return the name of the checkpoint of a step."""
    return f"checkpoint-{step}"


def has_model(run: Path) -> bool:
    """Say whether a run has come to its end, be it that it goes on from there."""
    return (run / MODEL / "config.json").is_file()


def steps_done(run: Path) -> int | None:
    """Return the step of the newest whole checkpoint of a run, None if it has none."""
    checkpoint = last_checkpoint(run)
    return None if checkpoint is None else checkpoint_step(checkpoint)


def find_start(run: Path, *, resume: bool) -> Path | None:
    """Find where a run begins or goes on; nothing is changed.

    Args:
        run: The run folder; it need not exist.
        resume: Continue from its newest whole checkpoint, or start anew if it has none.

    Returns:
        The checkpoint to continue from, None to start at step 0.

    Raises:
        TrainingError: the folder holds a run and `resume` is off, or holds a finished run that left
            no checkpoint to go on from.
    """
    if (run / METRICS).exists() and not resume:
        raise TrainingError(
            f"{run}: holds a run already; pass --resume to continue it, or name another folder"
        )
    checkpoint = last_checkpoint(run)
    if has_model(run) and checkpoint is None:
        raise TrainingError(
            f"{run}: this run is finished; nothing to resume it from, as it has no checkpoint: "
            f"start another in a new folder, with model.path={run / MODEL}"
        )
    return checkpoint


@contextmanager
def leaving_nothing(run: Path) -> Iterator[None]:
    """Remove what a run wrote into a folder that was empty, if it fails before its first step.

    Args:
        run: The run folder; it need not exist.

    Yields:
        Nothing.
    """
    is_new = not run.exists() or (run.is_dir() and all(map(is_lock, run.iterdir())))
    has_failed = True
    try:
        yield
        has_failed = False
    finally:
        is_begun = (run / METRICS).exists() or any(_checkpoints(run))
        if has_failed and is_new and not is_begun and is_first_process():
            shutil.rmtree(run, ignore_errors=True)


def go_back_to(run: Path, checkpoint: Path | None) -> None:
    """Remove what a run left after a checkpoint, once it is sure that the run goes on from there.

    Args:
        run: The run folder.
        checkpoint: Where it goes on; None for step 0.

    Raises:
        DataError: one of the growing files is damaged.
    """
    drop_unfinished_checkpoints(run)
    step = checkpoint_step(checkpoint) if checkpoint else 0
    for name in (METRICS, TIMINGS, ROLLOUTS):
        cut_back(run / name, step)


def put_in_place(partial: Path, folder: Path) -> None:
    """Give a folder that is whole its final name, in place of what stood there."""
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
