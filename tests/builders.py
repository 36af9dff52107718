"""Helpers that several test files share."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, finish
from editgrpo.data.study import Study

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL_BUDGET = PixelBudget(min_pixels=28 * 28, max_pixels=56 * 56)


def shared_data() -> Path:
    """Return the folder of real samples that may lie beside the repository, or skip the test."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real samples are not at hand: no ../shared/data beside the repository")
    return folder


def write_set(
    folder: Path,
    studies: Sequence[Study],
    films: Mapping[str, Image.Image] | None = None,
    *,
    budget: PixelBudget = SMALL_BUDGET,
) -> Path:
    """Prepare studies made by hand; an image without a film of its own is a grey square with a
    light corner."""
    originals = folder.with_name(f"{folder.name}-originals")
    originals.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for image_id in dict.fromkeys(image.image_id for study in studies for image in study.images):
        path = originals / f"{len(files)}.png"
        film = (films or {}).get(image_id)
        if film is None:
            film = Image.new("L", (56, 56), 20 + 7 * len(files) % 200)
            film.paste(255, (0, 0, 14, 14))  # a film of one value is warned of
        film.save(path)
        files[image_id] = str(path)
    finish(
        Candidates(
            dataset="folder", studies=list(studies), image_files=files, split_rule="as given"
        ),
        folder,
        PrepareOptions(
            inclusion=Inclusion(require_findings=False, require_images=False, max_images=100),
            budget=budget,
            workers=1,
        ),
    )
    return folder


def write_model_config(folder: Path) -> Path:
    """Write as much of a model folder as commands look at before anything is loaded."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    return folder


def noise(height: int, width: int, *, channels: int | None = None, seed: int = 0) -> Image.Image:
    """Return an image that no two sizes or seeds share."""
    shape = (height, width) if channels is None else (height, width, channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder, hidden ones included, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_running(pid: int) -> bool:
    """Return whether a process lives; one that nobody waited for has ended."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it ended in between, or there is no /proc
        return not Path("/proc/self").exists()
    return state not in "ZX"


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = 30.0) -> bool:
    """Wait until something is so, and return whether it came to be."""
    end = time.monotonic() + timeout_s
    while not (answer := is_so()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer
