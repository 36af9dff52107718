"""Options of every command that may run clinical models: where the models are and how they run."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Command, given, shared_options
from editgrpo.config import ClinicalConfig, DType
from editgrpo.errors import ConfigError

_option = partial(typer.Option, rich_help_panel="Clinical models (not used by what is named rules)")

Models = Annotated[
    Path | None,
    _option(help="Folder of the models. Default: $EDITGRPO_MODELS, else ~/.cache/editgrpo/models."),
]
Sources = Annotated[
    list[str] | None,
    _option(
        "--source",
        metavar="MODEL=FOLDER|HUB_ID",
        help="Use another source for a model, such as chexbert=weights/chexbert. Repeatable.",
    ),
]
Device = Annotated[str | None, _option(help="auto, cpu, cuda or cuda:N. Default: auto.")]
Dtype = Annotated[DType | None, _option(help="Number format of the models. Default: float32.")]
Offline = Annotated[bool, _option("--offline", help="Never download.")]
Store = Annotated[
    Path | None, _option(help="Folder of reference annotations, filled by `editgrpo annotate`.")
]
GreenEndpoint = Annotated[
    str | None,
    _option(metavar="URL", help="Server that runs GREEN, such as http://localhost:8000/v1."),
]
CrimsonEndpoint = Annotated[
    str | None,
    _option(
        metavar="URL", help="Server that is CRIMSON's judge, such as http://localhost:8000/v1."
    ),
]
CrimsonModel = Annotated[
    str | None,
    _option(
        metavar="NAME",
        help="What that server calls the judge. Default: rajpurkarlab/medgemma-4b-it-crimson.",
    ),
]
CrimsonPrompt = Annotated[
    Path | None,
    _option(
        metavar="FILE", help="The question to CRIMSON's judge. Default: this package's own wording."
    ),
]

_OF_JUDGES = ("green_endpoint", "crimson_endpoint", "crimson_model", "crimson_prompt")


def clinical_options(*, judge: bool = False) -> Callable[[Command], Command]:
    """Give a command the options of the clinical models.

    Args:
        judge: Whether it may ask the judges GREEN and CRIMSON.

    Returns:
        A decorator for a command that takes a keyword argument `clinical`, a `ClinicalConfig`; it
        puts one option for each parameter of `_clinical_config` in its place.
    """
    without = () if judge else _OF_JUDGES
    return shared_options("clinical", _clinical_config, without=without)


def _clinical_config(
    *,
    models: Models = None,
    sources: Sources = None,
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    store: Store = None,
    green_endpoint: GreenEndpoint = None,
    crimson_endpoint: CrimsonEndpoint = None,
    crimson_model: CrimsonModel = None,
    crimson_prompt: CrimsonPrompt = None,
) -> ClinicalConfig:
    """Put the options together; those that were not given keep the library's default."""
    return ClinicalConfig(
        sources=read_sources(sources),
        offline=offline,
        **given(
            models=None if models is None else str(models),
            device=device,
            dtype=dtype,
            store=None if store is None else str(store),
            green_endpoint=green_endpoint,
            crimson_endpoint=crimson_endpoint,
            crimson_model=crimson_model,
            crimson_prompt=None if crimson_prompt is None else str(crimson_prompt),
        ),
    )


def read_sources(items: Sequence[str] | None) -> dict[str, str]:
    """Read the values of `--source`.

    Args:
        items: `MODEL=FOLDER` or `MODEL=HUB_ID` each.

    Returns:
        Model name to where it comes from.

    Raises:
        ConfigError: one is written in another way.
    """
    sources = {}
    for item in items or ():
        model, _, where = item.partition("=")
        if not (model and where):
            raise ConfigError(f"--source {item}: write it as model=folder, or as model=hub-id")
        sources[model] = where
    return sources
