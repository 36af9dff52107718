"""What an installation costs: seconds, distributions and bytes, and the seconds of a first score.

    python -m benchmarks.install [core] [EXTRA ...] [--source CHECKOUT]

Each is installed from a checkout into a fresh environment, with the versions of its
constraints.txt, by pip without its cache. What a fresh environment holds does not count. The
seconds are the package index's and the disk's, too: compare what was measured side by side. A line
of JSON is printed for each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
CORE = "core"
_REPORT = {"study_id": "1", "prediction": "No effusion.", "reference": "Small effusion."}
_MB = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """One row of the result."""

    extra: str
    install_s: float
    first_score_s: float
    distributions: int
    megabytes: int


def measure(source: Path, extra: str) -> Installation:
    """Install into a fresh environment, and score one report in it.

    Args:
        source: The checkout.
        extra: Which one; `core` for none.

    Returns:
        What it cost.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment, reports = Path(folder) / "environment", Path(folder) / "reports.jsonl"
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        count, size = contents(environment)
        target = str(source) if extra == CORE else f"{source}[{extra}]"
        install = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-cache-dir"]
        install += ["--constraint", source / "constraints.txt", target]
        install_s = seconds_of(install, folder)
        reports.write_text(json.dumps(_REPORT) + "\n", encoding="utf-8")
        score = [environment / "bin/editgrpo", "score", reports, "--metrics", "rules"]
        first_score_s = seconds_of([*score, "--output", Path(folder) / "scores.csv"], folder)
        count_now, size_now = contents(environment)
        return Installation(
            extra=extra,
            install_s=round(install_s, 1),
            first_score_s=round(first_score_s, 1),
            distributions=count_now - count,
            megabytes=round((size_now - size) / _MB),
        )


def seconds_of(command: list[str | Path], folder: str) -> float:
    """Run a command, in a folder from which no source is imported, and return its seconds."""
    started = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def contents(environment: Path) -> tuple[int, int]:
    """Return the distributions of an environment, and the bytes of its files."""
    files = [path for path in environment.rglob("*") if path.is_file() and not path.is_symlink()]
    distributions = [path for path in files if path.match("site-packages/*.dist-info/METADATA")]
    return len(distributions), sum(path.stat().st_size for path in files)


def main() -> None:
    """Print one JSON object for each extra."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("extras", nargs="*", default=[CORE], help="core, train, demo, all, ...")
    parser.add_argument("--source", type=Path, default=REPOSITORY, help="another checkout")
    arguments = parser.parse_args()
    for extra in arguments.extras:
        print(json.dumps(asdict(measure(arguments.source.resolve(), extra))), flush=True)


if __name__ == "__main__":
    main()
