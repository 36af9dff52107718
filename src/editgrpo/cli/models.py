"""`editgrpo models`: the weights of the clinical models, fetched, listed and verified."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from editgrpo.cli.base_model import fetch_base
from editgrpo.cli.clinical_options import Models, Sources, read_sources
from editgrpo.cli.options import Set, examples
from editgrpo.clinical.catalogue import USES, ClinicalModel
from editgrpo.clinical.sources import find_source, is_offline, model_named, models_folder
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras

if TYPE_CHECKING:
    from editgrpo.clinical.fetch import FetchState

FETCH_EXAMPLES = examples(
    "editgrpo models fetch --for paper",
    "editgrpo models fetch --base sft-mimic-cxr",
    "editgrpo models fetch rate-ner biolord --lock models.lock.json",
    "editgrpo models fetch biolord --source biolord=organisation/name@commit",
)
LIST_EXAMPLES = examples("editgrpo models list --models /data/models")
VERIFY_EXAMPLES = examples("editgrpo models verify", "editgrpo models verify chexbert")

FAULTY = 1

_FILE_WIDTH = 160

_Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Names from `editgrpo models list`.")
]
_Lock = Annotated[
    Path | None,
    typer.Option(help="File with commits and hashes for a team; the models must match it."),
]


def fetch(
    names: _Names = None,
    every: Annotated[bool, typer.Option("--all", help="Every model.")] = False,
    use: Annotated[
        str | None,
        typer.Option("--for", metavar="USE", help=f"The models for one use: {', '.join(USES)}."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="RECIPE", help="The base model of a recipe of `sft` or `train` instead."
        ),
    ] = None,
    changes: Set = None,
    models: Models = None,
    source: Sources = None,
    lock: _Lock = None,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Check existing files, and download again what differs."),
    ] = False,
) -> None:
    """Download models; an interrupted command continues where it stopped.

    With --lock, models missing in the file are added to it. --set is for --base, such as
    model.path=google/medgemma-4b-it.
    """
    if base is not None:
        if names or every or use is not None:
            raise ConfigError("--base fetches the model of a recipe alone; fetch others after it")
        require_extras(Extra.TRAIN)
        _check_online(ClinicalConfig())
        fetch_base(base, changes or ())
        return
    if changes:
        raise ConfigError("--set changes a recipe; give one by --base")
    require_extras(Extra.CLINICAL)
    chosen = _chosen(names, every=every, use=use)
    config = _config(models, source)
    sources = [find_source(model, config) for model in chosen]
    _check_online(config)
    from rich.filesize import decimal

    from editgrpo.clinical.fetch import fetch_model
    from editgrpo.clinical.lockfile import read_lock, write_lock
    from editgrpo.display.models import bytes_bar

    pins = read_lock(lock) if lock is not None else {}
    for one in sources:
        with bytes_bar(one.model.value) as show:
            manifest = fetch_model(
                one, pin=pins.get(one.model), rehash=rehash, progress=_shown_by(show, one.model)
            )
        size = f", {decimal(manifest.size())}" if manifest is not None else ""
        typer.echo(f"{one.model}: complete{size}, in {one.folder}")
        if lock is not None and manifest is not None and one.model not in pins:
            pins[one.model] = manifest
            write_lock(lock, pins)


def list_models(models: Models = None, source: Sources = None) -> None:
    """List every model with its use, source, commit, size and state."""
    config = _config(models, source)
    sources = [find_source(model, config) for model in ClinicalModel]

    from rich.console import Console

    from editgrpo.clinical.status import model_status
    from editgrpo.display.models import ModelsTable

    # Whoever reads a file or a pipe has no narrow window.
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    console.print(ModelsTable([model_status(one) for one in sources]))
    typer.echo(f"Folder: {models_folder(config)}")


def verify(
    names: _Names = None,
    models: Models = None,
    source: Sources = None,
    lock: _Lock = None,
) -> None:
    """Compare every file of the models with the download, or with a lock file.

    Without names, all downloaded models. Exit code 1 if anything differs.
    """
    config = _config(models, source)
    if lock is not None and not lock.is_file():
        raise ConfigError(f"{lock}: no such lock file; `models fetch --lock` writes one")

    from editgrpo.clinical.lockfile import read_lock
    from editgrpo.clinical.status import ModelState, model_status, verify_model
    from editgrpo.display.models import bytes_bar

    statuses = [model_status(find_source(model, config)) for model in _verified(names)]
    if not names:
        statuses = [status for status in statuses if status.state is not ModelState.MISSING]
    if not statuses:
        raise ConfigError(f"{models_folder(config)}: no model there; run `editgrpo models fetch`")
    pins = read_lock(lock) if lock is not None else {}
    is_faulty = False
    for status in statuses:
        model = status.source.model
        with bytes_bar(model.value) as show:
            counted = _counted_by(show, model, status.size or 0)
            faults = verify_model(status.source, pin=pins.get(model), progress=counted)
        for fault in faults:
            typer.echo(f"{model}: {fault}")
        if not faults:
            typer.echo(f"{model}: as it should be")
        is_faulty = is_faulty or bool(faults)
    if is_faulty:
        raise typer.Exit(FAULTY)


def _shown_by(
    show: Callable[[str, int, int], None], model: ClinicalModel
) -> Callable[["FetchState"], None]:
    def progress(state: "FetchState") -> None:
        what = f"{model} {state.files_done}/{state.files} {state.file}"
        show(what, state.bytes_done, state.bytes)

    return progress


def _counted_by(
    show: Callable[[str, int, int], None], model: ClinicalModel, total: int
) -> Callable[[int], None]:
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        show(f"{model}: hashing", done, total)

    return progress


def _verified(names: list[str] | None) -> list[ClinicalModel]:
    return [model_named(name) for name in names] if names else list(ClinicalModel)


def _chosen(names: list[str] | None, *, every: bool, use: str | None) -> list[ClinicalModel]:
    if sum((bool(names), every, use is not None)) != 1:
        raise ConfigError("name models, or give --all, or --for; see editgrpo models list")
    if every:
        return list(ClinicalModel)
    if use is not None:
        if use not in USES:
            raise ConfigError(f"--for is {use!r}; it must be one of {', '.join(USES)}")
        return list(USES[use])
    return [model_named(name) for name in dict.fromkeys(names or ())]


def _check_online(config: ClinicalConfig) -> None:
    if is_offline(config):
        raise ConfigError("downloads are off; unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE")


def _config(models: Path | None, sources: list[str] | None) -> ClinicalConfig:
    return ClinicalConfig(
        models=None if models is None else str(models), sources=read_sources(sources)
    )
