"""A small preparation with something of everything, and a process that runs it and can be killed.

    python -m tests.data.preparation ORIGINALS OUTPUT [--resume] [--workers N]
    python -m tests.data.preparation ORIGINALS OUTPUT --kill-at-every-step

The second form forks a process for each step of a preparation, which it kills there, and continues
into a folder of its own in OUTPUT. A process that is forked from the tests
themselves would inherit the locks of every library that they have loaded.
"""

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import Candidates, PrepareOptions, PrepareSummary, finish
from editgrpo.data.prepared import image_writer
from editgrpo.data.priors import attach_priors
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.errors import EditGRPOError

SHARD_IMAGES = 4
BUDGET = PixelBudget(min_pixels=28 * 28, max_pixels=84 * 84)
# Study: patient, split, day, findings. The third has nothing to learn; b2 is b1's prior.
_STUDIES = {
    "a1": ("a", Split.TRAIN, "1", "Clear lungs."),
    "a2": ("a", Split.TRAIN, "2", "Still clear."),
    "a3": ("a", Split.TRAIN, "3", ""),
    "b1": ("b", Split.TEST, "7", "Small effusion."),
    "b2": ("b", Split.TEST, "5", "Clear."),
    "c1": ("c", Split.VALIDATION, "1", "No film of it can be read."),
    "d1": ("d", Split.TRAIN, "", "Normal."),
}
BROKEN = ("b2-lateral", "c1-PA", "c1-lateral")


def write_originals(root: Path) -> Path:
    """Write two images for each study; those of `BROKEN` cannot be read."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for study_id in _STUDIES:
        for view in (View.PA, View.LATERAL):
            name = f"{study_id}-{view.value}"
            pixels = rng.integers(0, 256, (60, 80), np.uint8)
            Image.fromarray(pixels).save(root / f"{name}.png")
            if name in BROKEN:
                content = (root / f"{name}.png").read_bytes()
                (root / f"{name}.png").write_bytes(content[: len(content) // 3])
    return root


def candidates(root: Path) -> Candidates:
    """Return what a source would have read of the originals."""
    studies = [
        Study(
            study_id=study_id,
            patient_id=patient,
            split=split,
            time=time,
            images=tuple(
                StudyImage(image_id=f"{study_id}-{view.value}", view=view)
                for view in (View.LATERAL, View.PA)
            ),
            findings=findings,
        )
        for study_id, (patient, split, time, findings) in _STUDIES.items()
    ]
    return Candidates(
        dataset="folder",
        studies=attach_priors(studies),
        image_files={
            image.image_id: str(root / image.image_id)
            for study in studies
            for image in study.images
        },
        split_rule="as given",
        suffixes=(".png",),
    )


def prepare(root: Path, output: Path, **options: Any) -> PrepareSummary:
    """Prepare the originals with few images a shard, in this process if not asked otherwise."""
    few = image_writer.SHARD_IMAGES
    image_writer.SHARD_IMAGES = SHARD_IMAGES
    try:
        return finish(
            candidates(root),
            output,
            PrepareOptions(budget=BUDGET, **{"workers": 1, **options}),
            root=root,
        )
    finally:
        image_writer.SHARD_IMAGES = few


@contextlib.contextmanager
def each_time(name: str, before: Callable[[int], object], after: Callable[[int], object]) -> Any:
    """Call something before and after the calls of a function of `os`, with their number from 0."""
    original = getattr(os, name)
    calls = 0

    def counted(*args: Any, **keywords: Any) -> Any:
        nonlocal calls
        number, calls = calls, calls + 1
        before(number)
        result = original(*args, **keywords)
        after(number)
        return result

    setattr(os, name, counted)
    try:
        yield
    finally:
        setattr(os, name, original)


def _nothing(_: int) -> None:
    """Let a call pass."""


def _killed_at(root: Path, output: Path, name: str, number: int, *, is_before: bool) -> bool:
    """Prepare in a forked process that kills itself at a call; return whether it came so far."""
    child = os.fork()
    if child == 0:

        def kill(call: int) -> None:
            if call == number:
                os.kill(os.getpid(), signal.SIGKILL)

        points = (kill, _nothing) if is_before else (_nothing, kill)
        try:
            with each_time(name, *points):
                prepare(root, output)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _kill_at_every_step(root: Path, output: Path) -> None:
    for name in ("fsync", "replace"):
        for is_before in (True, False):
            for number in itertools.count():
                folder = output / f"{'before' if is_before else 'after'}-{name}-{number}"
                if not _killed_at(root, folder, name, number, is_before=is_before):
                    shutil.rmtree(folder)  # it was not killed: there are no more steps
                    break
                prepare(root, folder, resume=True)


def main() -> None:
    """Run what was asked for; an error of the package goes to standard error, with exit code 2."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kill-at-every-step", action="store_true")
    given = parser.parse_args()
    if given.kill_at_every_step:
        _kill_at_every_step(given.root, given.output)
        return
    try:
        prepare(given.root, given.output, resume=given.resume, workers=given.workers)
    except EditGRPOError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
