"""The trackers that a run reports to: TensorBoard, Weights & Biases, MLflow, trackio.

accelerate's adapters talk to their libraries. Decided here is how a run and its numbers are named
in them, that a resumed run goes on as the same run, and that no report reaches them unless
`report_text` asks for it. Other trackers that transformers knows are left to transformers.
"""

import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from accelerate.tracking import (
    GeneralTracker,
    MLflowTracker,
    TensorBoardTracker,
    TrackioTracker,
    WandBTracker,
)
from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, TrainingError, nearest_name
from editgrpo.extras import require_tracker
from editgrpo.files import read_json_object, real_path, write_json
from editgrpo.foreign import reading
from editgrpo.provenance import flat_settings
from editgrpo.recipes.values import plain_value
from editgrpo.training.run.folder import checkpoint_step

_LOGGER = logging.getLogger(__name__)

PROJECT = "editgrpo"
"""The project (MLflow: experiment) of all runs, unless the tracker's own variable names another."""

TRACKERS_FILE = "trackers.json"
"""What the run is called in its trackers, so that a resumed run goes on there."""

EVENTS = "tensorboard"
"""Folder of TensorBoard's files in the run folder."""

ROLLOUTS_TABLE = "rollouts"
_COLUMNS = (
    "step", "study_id", "rank", "kind", "reward", "advantage", "rule", "report", "source_report",
    "reference",
)  # fmt: skip

# What all four take in a name; MLflow refuses anything else.
_NOT_IN_NAMES = re.compile(r"[^\w./ :-]", re.ASCII)
_REMEDIES = {
    "wandb": "log in with `wandb login`, or set WANDB_MODE=offline",
    "mlflow": "check MLFLOW_TRACKING_URI; mlflow-skinny needs a server, or file:FOLDER together "
    "with MLFLOW_ALLOW_FILE_STORE=true",
}
_SHOW_MORE = "--debug shows more"
_FAILED = "failed ({reason})"
_GOES_ON = "the run goes on without it, and metrics.jsonl has everything"


def name_in_trackers(name: str) -> str:
    """Return what a metric of `metrics.jsonl` is called in trackers.

    Args:
        name: Such as `loss` or `reward/sampled/entity_f1/partial@rules`.

    Returns:
        Its name with `_` for what not every tracker takes; `train/` begins one without a section.
    """
    plain = _NOT_IN_NAMES.sub("_", name)
    return plain if "/" in plain else f"train/{plain}"


def run_name(config: SFTConfig | TrainConfig) -> str:
    """Return the name of a run: `run_name`, or that of its folder."""
    return config.run_name or real_path(Path(config.output)).name


def others(names: Sequence[str]) -> list[str]:
    """Return the trackers that are left to transformers."""
    return [name for name in names if name not in _MAKERS]


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown, or whose library is not installed.

    Args:
        names: Of `report_to`.

    Raises:
        ConfigError: a tracker cannot be used.
        MissingExtraError: its library is not installed.
    """
    for name in names:
        require_tracker(name)
    for name in others(names):
        known = sorted({*_MAKERS, *INTEGRATION_TO_CALLBACK})
        if name not in known:
            raise ConfigError(f"report_to: {name!r} is unknown{nearest_name(name, known)}")
        try:
            for kind in get_reporting_integration_callbacks([name]):
                kind()
        except (ImportError, RuntimeError, ValueError) as error:
            # What transformers' callbacks say: which package, and how it is installed.
            raise ConfigError(f"report_to: {name} cannot be used: {error}") from error


class Trackers(TrainerCallback):  # type: ignore[misc]
    """Sends the numbers of a run to its trackers; a context that ends with the run.

    Args:
        config: The run.
        checkpoint: Where a resumed run goes on; None at step 0.
    """

    def __init__(self, config: SFTConfig | TrainConfig, checkpoint: Path | None) -> None:
        self._config = config
        self._run = Path(config.output)
        self._checkpoint = checkpoint
        self._open: dict[str, GeneralTracker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the trackers, however the run ends."""
        self._each(lambda tracker: tracker.finish())
        self._open.clear()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the trackers and tell them the run's settings; one that cannot be opened is a
        ConfigError."""
        if not state.is_world_process_zero:
            return
        known = self._known()
        for name in self._config.report_to:
            if name in _MAKERS:
                known[name] = _id_of(self._opened(name, known.get(name)), self._config)
        if known:
            write_json(self._run / TRACKERS_FILE, known)

    def _known(self) -> dict[str, str]:
        """Return the ids that the run had in its trackers before it was stopped."""
        path = self._run / TRACKERS_FILE
        if self._checkpoint is None or not path.is_file():
            return {}
        return read_json_object(path, "delete it, and the trackers begin anew", error=TrainingError)

    def _opened(self, name: str, known: str | None) -> GeneralTracker:
        remedy = "; ".join(filter(None, (_REMEDIES.get(name), _SHOW_MORE)))
        fault = "cannot be started ({reason})"
        with reading(f"report_to: {name}", remedy, error=ConfigError, fault=fault):
            tracker = _MAKERS[name](self._config, self._checkpoint, known)
            tracker.start()
            self._open[name] = tracker
            if known is None:  # MLflow takes each setting once
                settings = flat_settings(plain_value(self._config))
                if isinstance(tracker, TensorBoardTracker):  # its table would be another run
                    tracker.log({"settings": _markdown(("setting", "value"), settings.items())})
                else:
                    tracker.store_init_configuration(settings)
        return tracker

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any
    ) -> None:
        """Send the numbers of a step."""
        values = {name_in_trackers(name): value for name, value in logs.items()}
        self._each(lambda tracker: tracker.log(values, step=state.global_step))

    def show_rollouts(self, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Send the best and worst responses of a step as a table; they are report text.

        Args:
            step: Their step.
            records: Lines of `rollouts.jsonl`.
        """
        rows = [_row(record) for record in records]
        self._each(lambda tracker: _log_table(tracker, step, rows))

    def _each(self, send: Callable[[GeneralTracker], None]) -> None:
        """Send something to every tracker; one that fails ends no run and is told nothing more."""
        for name, tracker in list(self._open.items()):
            try:
                with reading(f"report_to: {name}", _GOES_ON, error=TrainingError, fault=_FAILED):
                    send(tracker)
            except TrainingError as error:
                _LOGGER.warning("%s", error)
                del self._open[name]


def _id_of(tracker: GeneralTracker, config: SFTConfig | TrainConfig) -> str:
    """Return what a run is called in a tracker, so that it can be found again."""
    if isinstance(tracker, WandBTracker):
        return str(tracker.tracker.id)
    if isinstance(tracker, MLflowTracker):
        return str(tracker.tracker.info.run_id)
    return run_name(config)


def _log_table(tracker: GeneralTracker, step: int, rows: Sequence[Sequence[Any]]) -> None:
    if isinstance(tracker, WandBTracker):
        tracker.log_table(ROLLOUTS_TABLE, columns=list(_COLUMNS), data=rows, step=step)
    elif isinstance(tracker, TrackioTracker):
        table = import_module("trackio").Table(columns=list(_COLUMNS), data=rows)
        tracker.log({ROLLOUTS_TABLE: table}, step=step)
    elif isinstance(tracker, MLflowTracker):
        _log_file(tracker, f"step-{step:06}.json", {"columns": _COLUMNS, "data": rows})
    else:
        tracker.log({ROLLOUTS_TABLE: _markdown(_COLUMNS, rows)}, step=step)


def _row(record: Mapping[str, Any]) -> list[Any]:
    edit = record["edit"] or {}
    flat = {
        **record,
        "reward": record["reward"]["total"],
        "rule": edit.get("rule", ""),
        "source_report": edit.get("source_report", ""),
    }
    return [flat[column] for column in _COLUMNS]


def _log_file(tracker: MLflowTracker, name: str, content: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(json.dumps(content), encoding="utf-8")
        tracker.log_artifact(str(path), ROLLOUTS_TABLE)


def _markdown(columns: Sequence[str], rows: Any) -> str:
    """Write a table as TensorBoard shows one."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "|" + "|".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + "|"
        for line in lines
    )


# How each tracker is opened -----------------------------------------------------------------------

_Config = SFTConfig | TrainConfig


def _tensorboard(config: _Config, checkpoint: Path | None, _: str | None) -> TensorBoardTracker:
    # What was written after the checkpoint is written again.
    purged = None if checkpoint is None else checkpoint_step(checkpoint) + 1
    folder = Path(config.output) / EVENTS
    return TensorBoardTracker(run_name(config), folder, purge_step=purged)


_MAKERS: Mapping[str, Callable[[_Config, Path | None, str | None], GeneralTracker]] = {
    "tensorboard": _tensorboard,
    "wandb": lambda config, _, known: WandBTracker(
        os.environ.get("WANDB_PROJECT", PROJECT), name=run_name(config), id=known, resume="allow"
    ),
    "mlflow": lambda config, _, known: MLflowTracker(
        PROJECT, run_name=run_name(config), run_id=known
    ),
    "trackio": lambda config, _, known: TrackioTracker(
        PROJECT, name=run_name(config), resume="never" if known is None else "allow"
    ),
}
