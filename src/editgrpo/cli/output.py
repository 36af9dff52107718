"""Outputs of commands: folders in use are refused, continued or cleared away; what other libraries
would show is hidden."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from editgrpo.errors import ConfigError
from editgrpo.files import real_path
from editgrpo.ownership import check_none_writes_in, is_first_process, is_lock, own
from editgrpo.provenance import CONFIG_FILE, PROVENANCE_FILE

# What a run writes. `--overwrite` removes these beside the first, and nothing else: a mistyped
# folder keeps its content.
RUN_ENTRIES = (
    PROVENANCE_FILE,
    CONFIG_FILE,
    "inputs.json",
    "store-entries.bin",
    "metrics.jsonl",
    "timings.jsonl",
    "rollouts.jsonl",
    "trackers.json",
    "tensorboard",
    "annotations",
    "epochs.json",
    "epochs",
    "checkpoints",
    "adapter",
    "model",
    "model-for-rl",
    ".adapter.partial",  # after a crash, as the two below
    ".model.partial",
    ".model-for-rl.partial",
    "evaluation",
)


def claim_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure that a run may write into a folder, and own it as long as the command runs.

    Only the first of several processes looks: the others would see what it has written.

    Args:
        folder: The run folder; it need not exist.
        resume: Whether the run continues what is there.
        overwrite: Whether an earlier run there is removed.

    Raises:
        ConfigError: both were asked for, or another process writes to the folder, or it is in use
            and neither was, or it is to be overwritten and holds no run.
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other; give one of them")
    own(folder)
    if resume or not is_first_process() or is_free(folder) or _never_began(folder):
        return
    if not overwrite:
        raise ConfigError(
            f"{folder}: not empty; add --resume to continue the run there, --overwrite to replace "
            "it, or name another output"
        )
    clear_away(folder, RUN_ENTRIES)


def _never_began(folder: Path) -> bool:
    # A start that failed before step 0, for a missing model say, leaves its settings, and a journal
    # with the one sentence that models are tried on.
    entries = folder.iterdir() if folder.is_dir() else ()
    names = {entry.name for entry in entries if not is_lock(entry)}
    return names - {
        "annotations",
        "inputs.json",
        "store-entries.bin",
        "tensorboard",
        "trackers.json",
    } == {
        PROVENANCE_FILE,
        CONFIG_FILE,
    }


def clear_away(folder: Path, entries: Sequence[str]) -> None:
    """Remove what a command wrote into a folder, and nothing else.

    Args:
        folder: The folder; it may be free.
        entries: Names of what the command writes; the first one proves that it did.

    Raises:
        ConfigError: the folder holds something, but not the first entry, or another process writes
            to something in it.
    """
    if is_free(folder):
        return
    if not (folder / entries[0]).is_file():
        raise ConfigError(
            f"{folder}: nothing here to replace (there is no {entries[0]}), so --overwrite leaves "
            "it alone; name another output"
        )
    check_none_writes_in(folder)
    # The proof goes last, so that an interrupted removal can be taken up again.
    for name in reversed(entries):
        entry = folder / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def claim_output(path: Path, *, overwrite: bool) -> None:
    """Make sure that a file, or the files of a folder, may be written, and own it as long as the
    command runs.

    Args:
        path: File or folder.
        overwrite: Whether existing files may be replaced; nothing is removed here.

    Raises:
        ConfigError: another process writes to it, or it is in use and `overwrite` is off.
    """
    own(path)
    if not overwrite and not is_free(path):
        what = "not empty" if path.is_dir() else "already there"
        raise ConfigError(f"{path}: {what}; add --overwrite to replace it, or name another output")


def spare_inputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Make sure that a command does not write over what it reads, whatever it was allowed to
    replace.

    Args:
        outputs: Files that it writes.
        inputs: Files that it reads.

    Raises:
        ConfigError: a file is both.
    """
    read = {real_path(path) for path in inputs}
    for path in outputs:
        if real_path(path) in read:
            raise ConfigError(f"{path}: this command reads it; name another output")


def is_free(path: Path) -> bool:
    """Say whether nothing is there, or only an empty folder."""
    if path.is_dir():
        return all(is_lock(entry) for entry in path.iterdir())
    return not path.exists()


def hide_loading_bars() -> None:
    """Hide the bars that transformers shows for each file of weights that it reads or writes."""
    from transformers.utils import logging

    logging.disable_progress_bar()
