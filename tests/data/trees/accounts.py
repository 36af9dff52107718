"""What tests of every data set look at after a preparation."""

import json
from pathlib import Path
from typing import Any

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepare import PrepareSummary
from editgrpo.data.prepared.store import REJECTED_FILE
from editgrpo.data.study import Split

TINY = PixelBudget(min_pixels=784, max_pixels=3136, multiple_of=28)
"""Images as small as the films of the trees, so that a test takes milliseconds."""


def counts(summary: PrepareSummary, name: str) -> tuple[int, ...]:
    """Return a row of the flow: train, validation, test, and, if there are any, without a split."""
    row = summary.flow.row(name).counts
    by_split = tuple(row.get(split, 0) for split in Split)
    return (*by_split, row[None]) if row.get(None) else by_split


def read_rejected(folder: Path) -> list[dict[str, Any]]:
    """Return everything that a preparation left out."""
    lines = (folder / REJECTED_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def state_of(root: Path) -> list[tuple[str, int, int]]:
    """Return name, time of change and size of everything below a folder."""
    return [
        (str(path), path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(root.rglob("*"))
    ]
