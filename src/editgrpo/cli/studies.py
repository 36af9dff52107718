"""What the `prepare` commands share: their options, how they run, and the flow they print."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from editgrpo.cli.options import Overwrite, given, shared_options
from editgrpo.cli.output import claim_output
from editgrpo.errors import ConfigError
from editgrpo.ownership import own

if TYPE_CHECKING:
    from editgrpo.data.prepare import PrepareOptions
    from editgrpo.data.prepared.flow import Flow
    from editgrpo.data.sources import Source
    from editgrpo.data.splits import SplitRule

Root = Annotated[
    Path, typer.Option(help="Folder of the original files; nothing is written into it.")
]
StudiesOutput = Annotated[Path, typer.Option("--output", "--out", help="Prepared folder to write.")]
WithoutImages = Annotated[
    bool, typer.Option("--without-images", help="Keep studies that have no readable image.")
]
KeepWithoutFindings = Annotated[
    bool, typer.Option("--keep-without-findings", help="Keep studies without a findings section.")
]
RequireImpression = Annotated[
    bool, typer.Option("--require-impression", help="Leave out studies that have no impression.")
]
MaxImages = Annotated[
    int | None,
    typer.Option(help="Most images of a study, prior ones included. Default: 6."),
]
MinPixels = Annotated[
    int | None, typer.Option(help="Fewest pixels of a resized image. Default: 262144.")
]
MaxPixels = Annotated[
    int | None, typer.Option(help="Most pixels of a resized image. Default: 401408.")
]
MultipleOf = Annotated[
    int | None,
    typer.Option(
        help="Image sides are multiples of this: the model's patch size times its merge size. "
        "Default: 28; Qwen3-VL needs 32."
    ),
]
DateFormat = Annotated[
    str | None,
    typer.Option(
        help="How times are written, such as %d.%m.%Y. Default: ISO 8601 (2024-03-31) or numbers."
    ),
]
ViewNames = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VIEW",
        help="Meaning of a view name of your own, such as 'PORTABLE CHEST=AP'. Repeatable.",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Number of processes. Default: one per core.")]
ResumePreparation = Annotated[
    bool, typer.Option("--resume", help="Continue an interrupted preparation in the output.")
]
DryCount = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print how many studies are read, left out and kept; write nothing."
    ),
]
RedactIds = Annotated[
    Path | None,
    typer.Option(
        metavar="KEYFILE",
        help="Replace ids by keyed hashes and dates by days. A missing key file is created.",
    ),
]

FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links", help="Also read symbolic links that lead out of the image folder."
    ),
]
Separator = Annotated[str | None, typer.Option(help="Separates several image paths in one cell.")]
OtherShares = Annotated[
    str | None,
    typer.Option(
        metavar="SHARES",
        help="Draw patients by these shares, such as train=0.7,validation=0.1,test=0.2, in place "
        "of the set's own splits.",
    ),
]
SplitShares = Annotated[
    str | None,
    typer.Option(
        metavar="SHARES",
        help="Shares of patients, used if the source has no split. "
        "Default: train=0.7,validation=0.1,test=0.2.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareFlags:
    """The shared options as they were given."""

    output: StudiesOutput
    without_images: WithoutImages = False
    keep_without_findings: KeepWithoutFindings = False
    require_impression: RequireImpression = False
    max_images: MaxImages = None
    min_pixels: MinPixels = None
    max_pixels: MaxPixels = None
    multiple_of: MultipleOf = None
    workers: Workers = None
    redact_ids: RedactIds = None
    resume: ResumePreparation = False
    overwrite: Overwrite = False
    dry_run: DryCount = False

    def options(self, source: "Source") -> "PrepareOptions":
        """Turn the flags into options of the library.

        Args:
            source: The files; rules of inclusion that its data set alone has hold too, and no key
                is made in its root.

        Returns:
            The options.
        """
        from editgrpo.data.pixels.resize import PixelBudget
        from editgrpo.data.prepare import PrepareOptions
        from editgrpo.data.redact import Redactor
        from editgrpo.data.sources import source_kind

        redactor = None
        root = getattr(source, "root", None)
        if self.redact_ids is not None and not self.dry_run:
            places = [self.output, *([] if root is None else [root])]
            redactor = Redactor.from_key_file(self.redact_ids, outside=places)
        return PrepareOptions(
            inclusion=replace(
                source_kind(source).inclusion,
                require_findings=not self.keep_without_findings,
                require_impression=self.require_impression,
                require_images=not self.without_images,
                **given(max_images=self.max_images),
            ),
            budget=PixelBudget(
                **given(
                    min_pixels=self.min_pixels,
                    max_pixels=self.max_pixels,
                    multiple_of=self.multiple_of,
                )
            ),
            workers=self.workers,
            resume=self.resume,
            overwrite=self.overwrite,
            dry_run=self.dry_run,
            redactor=redactor,
        )

    def claim(self) -> None:
        """Make sure that the output may be written.

        Raises:
            ConfigError: it is in use, another process writes to it, or options contradict each
                other.
        """
        from editgrpo.data.prepared.store import UNFINISHED_FILE

        if self.resume and self.overwrite:
            raise ConfigError("--resume and --overwrite contradict each other; give one of them")
        if self.dry_run:
            return
        own(self.output)
        if self.resume:
            return
        if not self.overwrite and (self.output / UNFINISHED_FILE).is_file():
            raise ConfigError(
                f"{self.output}: a preparation was interrupted here; add --resume to continue it, "
                "--overwrite to begin anew, or name another output"
            )
        claim_output(self.output, overwrite=self.overwrite)


prepare_options = shared_options("flags", PrepareFlags)
"""Decorates a `prepare` command that takes the keyword argument `flags`, a `PrepareFlags`."""


def split_rule_of(shares: str | None, seed: int, *, given: bool) -> "SplitRule":
    """Return how patients are drawn into splits.

    Args:
        shares: `--split-shares`.
        seed: `--seed`.
        given: Whether the source gives the split of every study, so that nothing is drawn.

    Returns:
        The rule.

    Raises:
        ConfigError: The shares are none, or the split is given.
    """
    from editgrpo.data.splits import SplitRule, parse_split_shares

    if shares is None:
        return SplitRule(seed=seed)
    if given:
        raise ConfigError("--split-shares: the split is given already; leave one of the two out")
    return parse_split_shares(shares, seed=seed)


def run_preparation(
    source: "Source", flags: PrepareFlags, *, split_rule: "SplitRule | None" = None
) -> None:
    """Prepare studies with progress bars and print the flow.

    Args:
        source: The files.
        flags: The shared options.
        split_rule: Used where the source gives no split; None takes its defaults.
    """
    from editgrpo.data.folder import TableSource
    from editgrpo.data.huggingface import HuggingFaceSource
    from editgrpo.data.prepared.flow import BLANK_IMAGES
    from editgrpo.data.prepared.image_jobs import IMAGES_STAGE
    from editgrpo.data.sources import prepare
    from editgrpo.display.terminal import stage_bars

    flags.claim()
    options = flags.options(source)
    pace = _Pace()
    with stage_bars() as bars:

        def progress(stage: str, done: int, total: int) -> None:
            bars(stage, done, total)
            if stage == IMAGES_STAGE:
                pace.image_is_made()

        summary = prepare(source, flags.output, options, split_rule=split_rule, progress=progress)
    show_flow(summary.flow)
    blank = summary.flow.count(BLANK_IMAGES)
    if blank:
        typer.echo(
            f"Warning: {blank:,} images are blank, of one value everywhere; "
            "`editgrpo data check` names them"
        )
    for name, count in sorted(summary.unrecognised_views.items(), key=lambda item: -item[1]):
        typer.echo(f"View not understood, {count:,} times: {name}")
    if summary.unrecognised_views and isinstance(source, TableSource | HuggingFaceSource):
        typer.echo("  --view 'NAME=VIEW' says what a view name stands for")
    typer.echo(f"Split: {summary.split_rule}")
    if flags.dry_run:
        typer.echo("Nothing was written, and no image was opened (--dry-run)")
        return
    if pace.images:
        typer.echo(pace.describe())
    typer.echo(
        f"Studies are in {flags.output}; rejected.jsonl there says what was left out, and why"
    )


class _Pace:
    """How many images are made, and how fast."""

    def __init__(self) -> None:
        self.images = 0
        self._first = self._last = 0.0

    def image_is_made(self) -> None:
        """Count an image."""
        self._last = time.monotonic()
        self._first = self._first or self._last
        self.images += 1

    def describe(self) -> str:
        """Return both in words; what happened before the first image does not count."""
        seconds = self._last - self._first
        speed = f", {(self.images - 1) / seconds:.1f} a second" if seconds > 0 else ""
        return f"Images: {self.images:,} made now{speed}"


def show_flow(flow: "Flow") -> None:
    """Print the flow from source to kept studies as a table, one column a split."""
    from editgrpo.display.flow import flow_lines

    for line in flow_lines(flow):
        typer.echo(line)


def show_counts(rows: Iterable[tuple[str, int]]) -> None:
    """Print what was counted, one line each, with its number aligned before it."""
    for name, count in rows:
        typer.echo(f"{count:>9,}  {name}")
