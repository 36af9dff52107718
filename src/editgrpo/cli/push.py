"""`editgrpo push`: a model to the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import examples
from editgrpo.extras import Extra, require_extras

EXAMPLES = examples(
    "editgrpo push exports/cxr organisation/cxr --dry-run",
    "editgrpo push runs/editgrpo organisation/cxr --yes-i-may-share-this",
)


def push(
    place: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder, a model folder in one, or an export."),
    ],
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="Hub id, organisation/name; made if missing.")
    ],
    may_share: Annotated[
        bool,
        typer.Option(
            "--yes-i-may-share-this",
            help="You have read the terms of the training data, and they allow it.",
        ),
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody read it. Default: private.")
    ] = False,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "Upload model",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List files and sizes, and stop.")
    ] = False,
) -> None:
    """Upload a model, its processor and its card to the Hugging Face Hub; private by default.

    Log in before, with `hf auth login` or HF_TOKEN. An export has a card; `editgrpo card` writes
    that of a run.
    """
    require_extras(Extra.TRAIN)
    from rich.filesize import decimal

    from editgrpo.sharing import push as sharing
    from editgrpo.sharing.lineage import find_model

    parcel = sharing.pack(find_model(place))
    for file in parcel.files:
        typer.echo(f"{decimal(file.stat().st_size):>10}  {file.name}")
    typer.echo(f"{decimal(parcel.size_bytes):>10}  in all, from {parcel.folder}")
    for name in parcel.left_out:
        typer.echo(f"      stays  {name}")
    if parcel.restricted:
        typer.echo(sharing.warning(parcel.restricted), err=True)
    if dry_run:
        return
    address = sharing.push(
        parcel, repository, may_share=may_share, is_public=public, message=message
    )
    typer.echo(f"{'Public' if public else 'Private'}: {address}")
