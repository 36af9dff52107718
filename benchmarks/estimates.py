"""Memory and time of every known model, as `editgrpo train --estimate` calculates them.

    .venv/bin/python -m benchmarks.estimates

Nothing is measured, and neither GPU nor weights are needed. It prints the tables of
docs/performance.md.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from editgrpo.config import TrainConfig
from editgrpo.recipes import load_recipe
from editgrpo.training.estimate.estimate import Estimate, Setup, estimate
from editgrpo.training.estimate.gpus import GPUS
from editgrpo.training.estimate.memory import GIB
from editgrpo.training.estimate.phases import Stage
from editgrpo.training.estimate.published import PUBLISHED
from editgrpo.training.estimate.spread import Launch, Spread

RECIPE, GPU = "editgrpo-mimic-cxr", "h100-80gb"
# What a column sets beside the recipe.
STATES = {
    "`float32`": "optim.state=float32",
    "`8bit`": "optim.state=8bit",
    "LoRA, rank 16": "model.lora.rank=16",
}
SHARDED = Spread(gpus=8, launch=Launch.FSDP2)


def main() -> None:
    """Print the tables."""
    table(("model", "parameters", *STATES, "FSDP2 on 8, each"), memory_rows())
    table(("model", *(stage.value for stage in Stage), "step", "LoRA step"), seconds_rows())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in markdown."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def memory_rows() -> Iterable[Sequence[str]]:
    """Yield the peak of each model in GiB, by how its states are held."""
    for name, shape in PUBLISHED.items():
        peaks = [found(name, change).peak_bytes for change in STATES.values()]
        shards = [found(name, spread=SHARDED).peak_bytes] if shape.is_packed else []
        cells = [f"{peak / GIB:.0f}" for peak in [*peaks, *shards]]
        yield name, f"{shape.parameters / 1e9:.2f} billion", *cells, *["-"] * (4 - len(cells))


def seconds_rows() -> Iterable[Sequence[str]]:
    """Yield the seconds of a step of each model, by stage."""
    for name in PUBLISHED:
        full, adapters = found(name), found(name, STATES["LoRA, rank 16"])
        stages = [full.seconds(stage) for stage in Stage]
        yield name, *(shown(one) for one in [*stages, full.seconds(), adapters.seconds()])


def found(name: str, *changes: str, spread: Spread | None = None) -> Estimate:
    """Estimate the recipe with another model and other settings."""
    config = load_recipe(Path(RECIPE), TrainConfig, [f"model.path={name}", *changes])
    return estimate(config, Setup(gpu=GPUS[GPU], spread=spread or Spread()))


def shown(seconds: tuple[float, float] | None) -> str:
    """Write a range."""
    low, high = seconds or (0.0, 0.0)
    digits = 0 if high >= 10 else 1
    return f"{low:.{digits}f} to {high:.{digits}f}"


if __name__ == "__main__":
    main()
