"""What a run leaves in its trackers, read back by each one's own reader."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import MLflowTracker

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, MissingExtraError
from editgrpo.files import read_jsonl
from editgrpo.training.run.trackers import check_trackers, name_in_trackers, run_name
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.training.run.wandb_files import wandb_records
from tests.training.tiny_run import SENTENCES, Tiny

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
Curves = dict[str, dict[int, float]]
"""Name of a metric to its value at each step."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that holds runs and what trackers write; trackio's is set in tests/conftest.py."""
    root = tmp_path_factory.mktemp("trackers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(root))
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("MLFLOW_TRACKING_URI", f"file:{root}/mlflow")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield root


@dataclass(frozen=True, slots=True)
class Reported:
    """A run that reported to every tracker, and where they wrote."""

    places: Path
    run: Path
    name: str

    def numbers(self) -> Curves:
        """Return what `metrics.jsonl` says."""
        found: Curves = {}
        for _, row in read_jsonl(self.run / "metrics.jsonl"):
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    found.setdefault(name, {})[row["step"]] = value
        return found


@pytest.fixture(scope="module")
def trained(places: Path, tiny: Tiny) -> Reported:
    """Three steps of EditGRPO, of which the third was taken by a resumed run."""
    run = places / "runs/first"
    config = tiny.train_config(run, steps=2, save_every=2, report_to=TRACKERS)
    run_training(config)
    run_training(replace(config, steps=3), resume=True)
    return Reported(places, run, "first")


@pytest.fixture(scope="module")
def with_text(places: Path, tiny: Tiny) -> Reported:
    """A step of EditGRPO that reports text, under a name of its own."""
    run = places / "runs/second"
    config = tiny.train_config(run, steps=1, report_to=TRACKERS, report_text=True, run_name="told")
    run_training(config)
    return Reported(places, run, "told")


@pytest.fixture(scope="module")
def fine_tuned(places: Path, tiny: Tiny) -> Reported:
    """Two steps of fine-tuning and a validation."""
    run = places / "runs/sft"
    run_sft(
        SFTConfig(
            model=tiny.model(),
            data=tiny.data(validation_limit=2, train_limit=8),
            epochs=1,
            batch_size=4,
            micro_batch_size=4,
            max_completion_tokens=4,
            output=str(run),
            report_to=TRACKERS,
        )
    )
    return Reported(places, run, "sft")


# The reader of each tracker -----------------------------------------------------------------------


def tensorboard_curves(one: Reported) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(one.run / "tensorboard" / one.name))
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def wandb_files(one: Reported) -> list[Path]:
    files = sorted((one.places / "wandb").glob("offline-run-*/*.wandb"))
    named = {
        path: next(r.run for r in wandb_records(path) if r.WhichOneof("record_type") == "run")
        for path in files
    }
    chosen = [path for path, run in named.items() if run.display_name == one.name]
    assert {named[path].project for path in chosen} == {"editgrpo"}
    assert len({named[path].run_id for path in chosen}) == 1  # resumed as the same run
    return chosen


def wandb_curves(one: Reported) -> Curves:
    found: Curves = {}
    for path in wandb_files(one):
        for record in wandb_records(path):
            if record.WhichOneof("record_type") == "history":
                row = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                for name, value in row.items():
                    if isinstance(value, int | float) and not name.startswith("_"):
                        found.setdefault(name, {})[record.history.step.num] = value
    return found


def mlflow_run(one: Reported) -> tuple[Any, Any]:
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("editgrpo")
    runs = client.search_runs([experiment.experiment_id])
    (found,) = [run for run in runs if run.info.run_name == one.name]
    assert found.info.status == "FINISHED"
    return client, found


def mlflow_curves(one: Reported) -> Curves:
    client, run = mlflow_run(one)
    return {
        name: {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
    }


def trackio_rows(one: Reported) -> list[dict[str, Any]]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = [run for run in trackio.Api().runs("editgrpo") if run.name == one.name]
    rows: list[dict[str, Any]] = SQLiteStorage.get_logs("editgrpo", run.name, run_id=run.id)
    return rows


def trackio_curves(one: Reported) -> Curves:
    found: Curves = {}
    for row in trackio_rows(one):
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                found.setdefault(name, {})[row["step"]] = value
    return found


READERS: dict[str, Callable[[Reported], Curves]] = {
    "tensorboard": tensorboard_curves,
    "wandb": wandb_curves,
    "mlflow": mlflow_curves,
    "trackio": trackio_curves,
}


@pytest.mark.slow
@pytest.mark.parametrize("run", ["trained", "fine_tuned"])
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_has_the_curves_of_a_run_under_its_name(
    tracker: str, run: str, request: pytest.FixtureRequest
) -> None:
    one: Reported = request.getfixturevalue(run)
    found = READERS[tracker](one)
    for name, curve in one.numbers().items():
        assert found[name_in_trackers(name)] == pytest.approx(curve, rel=1e-6), name
    assert set(found) == {*map(name_in_trackers, one.numbers()), "train/epoch"}


# Report text --------------------------------------------------------------------------------------


def tensorboard_table(one: Reported) -> str:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(one.run / "tensorboard" / one.name))
    events.Reload()
    (event,) = events.Tensors("rollouts/text_summary")
    assert event.step == 1
    text: str = event.tensor_proto.string_val[0].decode()
    return text


def wandb_table(one: Reported) -> str:
    (path,) = wandb_files(one)
    rows = [
        one.history for one in wandb_records(path) if one.WhichOneof("record_type") == "history"
    ]
    (row,) = [row for row in rows if any("rollouts" in item.nested_key for item in row.item)]
    assert row.step.num == 1
    (table,) = (path.parent / "files/media/table").glob("rollouts_*.table.json")
    return table.read_text(encoding="utf-8")


def mlflow_table(one: Reported) -> str:
    client, run = mlflow_run(one)
    path = client.download_artifacts(run.info.run_id, "rollouts/step-000001.json")
    return Path(path).read_text(encoding="utf-8")


def trackio_table(one: Reported) -> str:
    (row,) = [row for row in trackio_rows(one) if "rollouts" in row]
    assert row["step"] == 1
    return json.dumps(row["rollouts"])


TABLES = {
    "tensorboard": tensorboard_table,
    "wandb": wandb_table,
    "mlflow": mlflow_table,
    "trackio": trackio_table,
}


@pytest.mark.slow
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_has_the_rollouts_as_a_table_where_they_are_asked_for(
    tracker: str, with_text: Reported
) -> None:
    table = TABLES[tracker](with_text)
    records = [row for _, row in read_jsonl(with_text.run / "rollouts.jsonl")]
    texts = {row[name] for row in records for name in ("study_id", "report", "reference")}
    # A small model's reports hold bytes that each tracker writes in its own way.
    plain = {text for text in texts if text.isascii() and text.isprintable()}
    assert len(plain) > len(records) / 2
    assert {text for text in plain if text not in table} == set()


@pytest.mark.slow
def test_no_report_reaches_a_tracker_unless_it_is_asked_for(
    trained: Reported, fine_tuned: Reported
) -> None:
    folders = [one.run / "tensorboard" for one in (trained, fine_tuned)]
    folders += [path.parent for one in (trained, fine_tuned) for path in wandb_files(one)]
    for one in (trained, fine_tuned):
        client, run = mlflow_run(one)
        assert client.list_artifacts(run.info.run_id) == []
        assert not any("rollouts" in row for row in trackio_rows(one))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    written = b"".join(path.read_bytes() for path in files)
    assert not any(sentence.encode() in written for sentence in SENTENCES)


# Names and refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("loss", "train/loss"),
        ("reward/all/mean", "reward/all/mean"),
        ("validation/loss", "validation/loss"),
        ("reward/sampled/entity_f1/partial@rules", "reward/sampled/entity_f1/partial_rules"),
    ],
)
def test_a_metric_keeps_its_section_and_what_has_none_is_of_training(name: str, shown: str) -> None:
    assert name_in_trackers(name) == shown


def test_a_run_is_called_as_its_folder_unless_it_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_name(TrainConfig(output="runs/editgrpo-1")) == "editgrpo-1"
    assert run_name(SFTConfig(output=".")) == tmp_path.name
    assert run_name(SFTConfig(output="runs/sft", run_name="mine")) == "mine"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("tensorboard", "pip install 'editgrpo[trackers]'"),
        ("wandb", "pip install wandb"),
        ("mlflow", "pip install mlflow"),
        ("trackio", "pip install trackio"),
    ],
)
def test_a_tracker_that_is_not_installed_is_refused_with_the_command(
    name: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editgrpo.extras._is_absent", lambda module: module == name)
    with pytest.raises(MissingExtraError) as refused:
        check_trackers([name])
    assert str(refused.value) == f"report_to: {name} is not installed; {remedy}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("comet", "report_to: 'comet' is unknown; did you mean 'comet_ml'?"),
        (
            "clearml",
            "report_to: clearml cannot be used: ClearMLCallback requires 'clearml' to be "
            "installed. Run `pip install clearml`.",
        ),
    ],
)
def test_a_tracker_that_cannot_be_used_is_refused_in_one_line(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_trackers([name])
    assert str(refused.value) == line


def test_an_unknown_tracker_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"'notebook' is unknown; choose one of .*mlflow, ") as no:
        check_trackers(["notebook"])
    named = str(no.value).partition("one of ")[2].split(", ")
    assert named == sorted(named) and {"tensorboard", "wandb", "mlflow", "trackio"} < set(named)


@pytest.mark.slow
def test_a_tracker_that_cannot_start_ends_the_run_in_one_line(
    places: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    (tmp_path / "mlruns").write_text("no folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    config = tiny.train_config(tmp_path / "run", steps=1, report_to=("mlflow",))
    with pytest.raises(
        ConfigError, match=r"report_to: mlflow: cannot be started .* MLFLOW_TRACKING_URI"
    ):
        run_training(config)


@pytest.mark.slow
def test_a_tracker_that_fails_in_the_course_of_a_run_ends_no_run(
    places: Path,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def log(*_: object, **__: object) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(MLflowTracker, "log", log)
    run = tmp_path / "third"
    run_training(tiny.train_config(run, steps=2, report_to=("mlflow", "tensorboard")))
    told = [record.message for record in caplog.records if "mlflow" in record.message]
    assert told == [
        "report_to: mlflow: failed (ConnectionError); the run goes on without it, and "
        "metrics.jsonl has everything"
    ]
    curves = tensorboard_curves(Reported(places, run, "third"))
    assert sorted(curves["train/loss"]) == [1, 2]
