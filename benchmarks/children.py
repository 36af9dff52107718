"""A measurement in a process of its own, whose memory is not that of whoever prepared it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
_TIMEOUT_S = 3600


def measured_by_child(module: str, *words: str | Path) -> dict[str, Any]:
    """Run a module of the benchmarks with some words and return the JSON object that it ends with.

    Args:
        module: Such as `benchmarks.prepare_mimic`.
        *words: Its arguments.

    Returns:
        The object, and `process_s`: seconds from start to end, those of the interpreter included.
    """
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        encoding="utf-8",
        timeout=_TIMEOUT_S,
        check=False,
    )
    if process.returncode:
        sys.exit(f"{module} {' '.join(map(str, words))} ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return {**answer, "process_s": round(time.perf_counter() - began, 2)}
