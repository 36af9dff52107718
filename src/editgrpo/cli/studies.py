"""What the `prepare` commands share: their options, and the account they end with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

StudiesOutput = Annotated[Path, typer.Option("--output", help="Folder of studies to write.")]
WithoutImages = Annotated[
    bool, typer.Option("--without-images", help="Keep studies that have no readable image.")
]
KeepWithoutFindings = Annotated[
    bool, typer.Option("--keep-without-findings", help="Keep studies without a findings section.")
]
RequireImpression = Annotated[
    bool, typer.Option("--require-impression", help="Leave out studies that have no impression.")
]


def show_counts(rows: Iterable[tuple[str, int]]) -> None:
    """Print what was counted, one line each, with its number aligned before it."""
    for name, count in rows:
        typer.echo(f"{count:>9,}  {name}")


def show_account(rows: Iterable[tuple[str, int]], output: Path, split_rule: str) -> None:
    """Print the account of a preparation.

    Args:
        rows: What was counted, and how many.
        output: The folder of studies.
        split_rule: How the splits came about, in words.
    """
    show_counts(rows)
    typer.echo(f"Split: {split_rule}")
    typer.echo(f"Studies are in {output}; rejected.jsonl there says what was left out, and why")
