"""What the `prepare` commands share: their options, and the account they end with."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from editgrpo.data.prepare import Inclusion, PrepareSummary

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


def inclusion_rule(
    *, without_images: bool, keep_without_findings: bool, require_impression: bool
) -> "Inclusion":
    """Turn the options of a `prepare` command into the rule of which studies are kept."""
    from editgrpo.data.prepare import Inclusion

    return Inclusion(
        require_findings=not keep_without_findings,
        require_impression=require_impression,
        require_images=not without_images,
    )


def run_preparation(
    prepare: "Callable[..., PrepareSummary]",
    source: Any,
    output: Path,
    *,
    inclusion: "Inclusion",
    seed: int,
) -> None:
    """Prepare studies behind a progress bar and print the account.

    Args:
        prepare: The function of `editgrpo.data` that reads this kind of source.
        source: The files.
        output: The folder of studies.
        inclusion: Which studies are kept.
        seed: Decides the split where the source gives none.
    """
    from editgrpo.data.splits import SplitRule
    from editgrpo.display.terminal import progress_bar

    with progress_bar("Checking images") as progress:
        summary = prepare(
            source,
            output,
            split_rule=SplitRule(seed=seed),
            inclusion=inclusion,
            progress=progress,
        )
    show_account(summary.rows(), output, summary.split_rule)


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
