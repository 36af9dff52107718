"""What is installed besides the core, and which part of the package needs what.

`pip install editgrpo` brings reports, edits, rewards and metrics by rules, adapters, evaluation and
recipes. The rest comes with extras: `pip install 'editgrpo[train]'`. The tables below are the one
place that says so; errors are made from them, and tests/test_packaging.py holds pyproject.toml and
every import of the package to them.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from traceback import walk_tb

from editgrpo.errors import MissingExtraError


class Extra(StrEnum):
    """An extra that something in the package asks for."""

    DATA = "data"
    DICOM = "dicom"
    HUB = "hub"
    REPORT = "report"
    MODELS = "models"
    CLINICAL = "clinical"
    TRAIN = "train"
    DEMO = "demo"
    PAGE = "page"
    TRACKERS = "trackers"
    VLLM = "vllm"
    DEEPSPEED = "deepspeed"
    EIGHT_BIT = "8bit"


@dataclass(frozen=True, slots=True)
class _Content:
    """What an extra brings."""

    modules: tuple[str, ...] = ()
    """Top-level modules of the distributions that it names itself, as they are imported."""
    includes: tuple[Extra, ...] = ()
    """Extras that come with it."""


_CONTENT: Mapping[Extra, _Content] = {
    Extra.DATA: _Content(("PIL", "jinja2", "pyarrow")),
    Extra.DICOM: _Content(("imagecodecs", "pydicom"), (Extra.DATA,)),
    Extra.HUB: _Content(("datasets", "httpx2", "huggingface_hub"), (Extra.DATA,)),
    Extra.REPORT: _Content(("markupsafe", "plotly"), (Extra.DATA,)),
    Extra.MODELS: _Content(("httpx2", "huggingface_hub", "torch", "transformers")),
    Extra.CLINICAL: _Content(("PyFastNER", "PyRuSH", "sentencepiece", "spacy"), (Extra.MODELS,)),
    Extra.TRAIN: _Content(
        ("accelerate", "peft", "safetensors", "tokenizers", "trl"),
        (Extra.HUB, Extra.MODELS),
    ),
    Extra.DEMO: _Content(includes=(Extra.TRAIN, Extra.REPORT)),
    Extra.PAGE: _Content(("gradio",), (Extra.TRAIN, Extra.REPORT)),
    Extra.TRACKERS: _Content(("tensorboard",)),
    Extra.VLLM: _Content(("vllm",), (Extra.TRAIN,)),
    Extra.DEEPSPEED: _Content(("deepspeed",), (Extra.TRAIN,)),
    Extra.EIGHT_BIT: _Content(("bitsandbytes",), (Extra.TRAIN,)),
}

_ROOMS: Mapping[str, Extra] = {
    "clinical": Extra.CLINICAL,
    "cli.output": Extra.MODELS,  # hides what transformers shows
    "data": Extra.DATA,
    "data.huggingface": Extra.HUB,
    "data.pixels.deep_png": Extra.DICOM,
    "data.pixels.dicom": Extra.DICOM,
    "data.pixels.dicom_codecs": Extra.DICOM,
    "data.pixels.dicom_elements": Extra.DICOM,
    "demo": Extra.DEMO,
    "display.data_check": Extra.DATA,
    "display.data_stats": Extra.DATA,
    "display.flow": Extra.DATA,
    "display.html": Extra.REPORT,
    "hub_errors": Extra.MODELS,
    "markdown_pages": Extra.DATA,
    "metrics.bert_score": Extra.CLINICAL,
    "metrics.green.local": Extra.CLINICAL,
    "metrics.ratescore": Extra.CLINICAL,
    "metrics.token_embeddings": Extra.CLINICAL,
    "model_files": Extra.MODELS,
    "page": Extra.PAGE,
    "phantom": Extra.DATA,
    "reports.chexbert_model": Extra.CLINICAL,
    "reports.chexbert_network": Extra.CLINICAL,
    "reports.radgraph": Extra.CLINICAL,
    "reports.rate": Extra.CLINICAL,
    "sharing": Extra.TRAIN,
    "sharing.serving": Extra.DATA,
    "training": Extra.TRAIN,
}
"""The extra of each package and module that needs one, those below it included; the longest name
decides. What is not here is core."""

_PACKAGE = "editgrpo"

_TRACKERS: Mapping[str, str] = {
    "tensorboard": f"pip install '{_PACKAGE}[{Extra.TRACKERS}]'",
    "wandb": "pip install wandb",
    "mlflow": "pip install mlflow",
    "trackio": "pip install trackio",
}
"""How the library of each tracker is installed. TensorBoard alone is an extra: it keeps to this
machine, and the others bring servers of their own."""


def extra_of(module: str) -> Extra | None:
    """Return the extra that a module of this package may import from.

    Args:
        module: Its full name, such as `editgrpo.training.train`.

    Returns:
        The extra; None if the core alone will do.
    """
    name = module.removeprefix(f"{_PACKAGE}.")
    while name:
        if name in _ROOMS:
            return _ROOMS[name]
        name = name.rpartition(".")[0]
    return None


def modules_of(extra: Extra) -> frozenset[str]:
    """Return the top-level modules that an extra brings, those of the extras in it included."""
    content = _CONTENT[extra]
    return frozenset(content.modules).union(*map(modules_of, content.includes))


def require_extras(*extras: Extra, what: str = "this") -> None:
    """Make sure that extras are installed; nothing of them is imported.

    Args:
        *extras: What is needed.
        what: Who needs it; begins the message.

    Raises:
        MissingExtraError: a module of one is not there.
    """
    absent = {extra: sorted(filter(_is_absent, modules_of(extra))) for extra in extras}
    missing = {extra: names for extra, names in absent.items() if names}
    if missing:
        names = sorted({name for names in missing.values() for name in names})
        raise MissingExtraError(_message(what, tuple(missing), names))


def require_tracker(name: str) -> None:
    """Make sure that the library of a tracker is installed; nothing of it is imported.

    Args:
        name: Of `report_to`. Trackers of other libraries pass.

    Raises:
        MissingExtraError: it is not there.
    """
    if name in _TRACKERS and _is_absent(name):
        raise MissingExtraError(f"report_to: {name} is not installed; {_TRACKERS[name]}")


def _is_absent(module: str) -> bool:
    # Without a search for what is loaded already: it need not have come from a file.
    return sys.modules.get(module) is None and find_spec(module) is None


def _message(what: str, extras: tuple[Extra, ...], modules: list[str]) -> str:
    shown = ", ".join(modules[:3]) + (", ..." if modules[3:] else "")
    return f"{what} needs {shown}; {installation(*extras)}"


def installation(*extras: Extra) -> str:
    """Return the command that installs extras, for messages."""
    return f"pip install '{_PACKAGE}[{','.join(extras)}]'"


@contextmanager
def naming_missing_extras() -> Iterator[None]:
    """Turn an import that fails for want of an extra into one line that names the extra.

    A safeguard around whole commands, which ask for their extras first. A module that the package
    imports without declaring it, or that is missing from an installed library, is a bug and passes.

    Yields:
        Nothing.

    Raises:
        MissingExtraError: a module of this package imported what its extra would bring.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        importers = [
            name
            for frame, _ in walk_tb(error.__traceback__)
            if (name := frame.f_globals.get("__name__", "")).startswith(f"{_PACKAGE}.")
        ]
        extra = extra_of(importers[-1]) if importers else None
        module = (error.name or "").partition(".")[0]
        if extra is None or module not in modules_of(extra):
            raise
        raise MissingExtraError(_message("this", (extra,), [module])) from error
