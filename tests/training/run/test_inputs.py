"""What a run reads is known by its content: it may move, it may not change."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from editgrpo.clinical.store import FactStore
from editgrpo.config import (
    ClinicalConfig,
    EditConfig,
    RewardConfig,
    SFTConfig,
    TrainConfig,
)
from editgrpo.errors import DataError, TrainingError
from editgrpo.evaluation.catalogue import METRICS
from editgrpo.metrics.class_rates import ClassRates, write_class_rates
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.reports.registry import ANNOTATOR_NAMES, annotator_models
from editgrpo.rewards import COMPONENT_NAMES
from editgrpo.rewards.components import component_models
from editgrpo.training.run import inputs
from editgrpo.training.run.inputs import check_same_inputs, run_inputs, run_store, write_inputs
from tests.training.tiny_run import Tiny


@pytest.fixture
def place(tiny: Tiny, tmp_path: Path) -> Tiny:
    """Copies of model and studies that a test may change."""
    shutil.copytree(tiny.checkpoint, tmp_path / "model")
    shutil.copytree(tiny.studies, tmp_path / "studies")
    return Tiny(tmp_path / "model", tmp_path / "studies")


def config_of(place: Tiny, tmp_path: Path) -> TrainConfig:
    """Return a run with a template, class rates and a store of its own."""
    (tmp_path / "prompt.jinja").write_text("Describe the images.")
    rates = ClassRates(labeler="chexbert", n=4, rates=dict.fromkeys(FINDINGS, 0.5))
    write_class_rates(tmp_path / "rates.json", rates)
    store = FactStore(tmp_path / "store", writable=True)
    store.put("rate/1", {"No pneumothorax.": b"facts", "Clear.": b"others"})
    config = place.train_config(tmp_path / "run")
    return replace(
        config,
        data=replace(config.data, prompt_template=str(tmp_path / "prompt.jinja")),
        reward=RewardConfig(name="rules", class_rates=str(tmp_path / "rates.json")),
        clinical=ClinicalConfig(store=str(tmp_path / "store")),
    )


def other_weights(folder: Path) -> None:
    """Overwrite a model with one of the same shapes: the files keep their sizes."""
    path = folder / "model.safetensors"
    size = path.stat().st_size
    weights = {name: tensor + 0.01 for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    assert path.stat().st_size == size


def change_text(path: Path) -> None:
    path.write_text(path.read_text() + " ")


def change_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def change_store(folder: Path) -> None:
    FactStore(folder, writable=True).put("rate/1", {"Clear.": b"another"})


def reseal(folder: Path) -> None:
    """Stand for a preparation of other images: it seals other hashes."""
    prepared = json.loads((folder / "prepared.json").read_text())
    name = next(name for name in prepared["files"] if name.startswith("images/"))
    prepared["files"][name] = "0" * 64
    (folder / "prepared.json").write_text(json.dumps(prepared))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda at: other_weights(at / "model"), "model.safetensors of model.path"),
        (lambda at: change_text(at / "model/config.json"), "config.json of model.path"),
        (lambda at: change_text(at / "model/tokenizer.json"), "tokenizer.json of model.path"),
        (
            lambda at: change_text(at / "model/chat_template.jinja"),
            "chat_template.jinja of model.path",
        ),
        (
            lambda at: change_last_byte(at / "studies/studies/train.arrow"),
            "studies/train.arrow of data.folder",
        ),
        (lambda at: reseal(at / "studies"), "images/.* of data.folder"),
        (lambda at: change_text(at / "prompt.jinja"), "the template of data.prompt_template"),
        (lambda at: change_text(at / "rates.json"), "the file of reward.class_rates"),
        (lambda at: change_store(at / "store"), "the store of clinical.store"),
    ],
)
def test_whatever_changes_is_named(place: Tiny, tmp_path: Path, change: Any, name: str) -> None:
    config = config_of(place, tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    write_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    change(tmp_path)
    with pytest.raises(TrainingError, match=f"run: {name} has changed since") as raised:
        check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    assert "\n" not in str(raised.value)


def test_places_may_move(place: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = config_of(place, tmp_path)
    write_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("model", "studies", "prompt.jinja", "rates.json", "store"):
        shutil.move(tmp_path / name, moved / name)
    there = replace(
        config,
        data=replace(
            config.data,
            folder=str(moved / "studies"),
            prompt_template=str(moved / "prompt.jinja"),
        ),
        reward=replace(config.reward, class_rates=str(moved / "rates.json")),
        clinical=ClinicalConfig(store=str(moved / "store")),
    )
    check_same_inputs(run, run_inputs(there, moved / "model"), run_store(there))


def test_a_store_may_grow_and_what_was_there_may_not_change(place: Tiny, tmp_path: Path) -> None:
    """`editgrpo annotate` of another split adds to a store that runs share."""
    config = config_of(place, tmp_path)
    run, store = tmp_path / "run", FactStore(tmp_path / "store", writable=True)
    run.mkdir()
    write_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    store.put("rate/1", {"Other.": b"new"})
    store.put("another/1", {"Clear.": b"new"})
    check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    # From now on the run may have read what was added.
    store.put("rate/1", {"Other.": b"newer"})
    with pytest.raises(TrainingError, match=r"the store of clinical\.store has changed"):
        check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    store.put("rate/1", {"Other.": b"new"})
    check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    store.put("rate/1", {"Third.": b"new", "Clear.": b"another"})  # added to, and changed
    with pytest.raises(TrainingError, match=r"the store of clinical\.store has changed"):
        check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))


def test_without_a_note_of_its_entries_a_store_must_be_the_same(
    place: Tiny, tmp_path: Path
) -> None:
    """Runs of version 0.1 keep one hash of the whole store."""
    config = config_of(place, tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    write_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    (run / "store-entries.bin").unlink()
    check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    FactStore(tmp_path / "store", writable=True).put("rate/1", {"Other.": b"new"})
    with pytest.raises(TrainingError, match=r"the store of clinical\.store has changed"):
        check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))


def test_a_damaged_note_of_entries_is_named(place: Tiny, tmp_path: Path) -> None:
    config = config_of(place, tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    write_inputs(run, run_inputs(config, place.checkpoint), run_store(config))
    (run / "store-entries.bin").write_bytes(b"123")
    FactStore(tmp_path / "store", writable=True).put("rate/1", {"Other.": b"new"})
    with pytest.raises(DataError, match=r"store-entries\.bin: cannot be read .*; delete it"):
        check_same_inputs(run, run_inputs(config, place.checkpoint), run_store(config))


def test_what_is_missing_or_new_is_named(tmp_path: Path) -> None:
    write_inputs(tmp_path, {"model.path": {"a": "1", "b": "2"}}, None)
    with pytest.raises(TrainingError, match=r"b of model\.path is missing"):
        check_same_inputs(tmp_path, {"model.path": {"a": "1"}}, None)
    with pytest.raises(TrainingError, match=r"clinical\.store has changed"):
        check_same_inputs(
            tmp_path,
            {"model.path": {"a": "1", "b": "2"}, "clinical.store": {"the store": "3"}},
            FactStore(tmp_path / "store", writable=True),
        )


def test_the_weights_of_scorers_and_annotator_count(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "model_identity", lambda model, _: f"content of {model.value}")
    config = tiny.train_config(
        tmp_path, reward=RewardConfig(name="paper"), edit=EditConfig(annotator="rate")
    )
    found = run_inputs(config, tiny.checkpoint)["clinical.models"]
    assert found.keys() == {"radgraph-xl", "chexbert", "rate-ner", "biolord"}
    assert found["chexbert"] == "content of chexbert"
    served = replace(
        config,
        reward=RewardConfig(name="custom", weights={"green@radllama2-7b-guarded": 1}),
        clinical=ClinicalConfig(green_endpoint="http://localhost:8001/v1"),
    )
    found = run_inputs(served, tiny.checkpoint)["clinical.models"]
    assert found.keys() == {"rate-ner", "biolord"}, "nobody needs the weights of a served judge"
    plain = SFTConfig(data=tiny.data())
    assert run_inputs(plain, tiny.checkpoint)["clinical.models"] == {}  # its reward is `rules`


@pytest.mark.parametrize("name", [name for name in COMPONENT_NAMES if name in METRICS])
def test_the_models_of_a_component_are_those_of_the_metric(name: str) -> None:
    assert {model.value for model in component_models(name)} == set(METRICS[name].models)


def test_every_annotator_says_which_models_it_reads_with() -> None:
    assert {name: annotator_models(name) for name in ANNOTATOR_NAMES}["rules"] == ()
    assert all(annotator_models(name) for name in ANNOTATOR_NAMES if name != "rules")


def test_a_run_of_an_earlier_version_goes_on_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_same_inputs(tmp_path, {"model.path": {"a": "1"}}, None)
    assert "does not say what it was started with" in caplog.text
    with pytest.raises(TrainingError, match="has changed"):
        check_same_inputs(tmp_path, {"model.path": {"a": "2"}}, None)


def test_a_reward_of_ones_own_is_known_by_its_source(
    place: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = tmp_path / "hashed_reward.py"
    module.write_text("def score(reports, references):\n    return [1.0 for _ in reports]\n")
    config = place.train_config(tmp_path / "run")
    config = replace(config, reward=RewardConfig(name="custom", custom="hashed_reward:score"))
    hashes = [run_inputs(config, place.checkpoint)["reward.custom"]]
    module.write_text("def score(reports, references):\n    return [2.0 for _ in reports]\n")
    hashes.append(run_inputs(config, place.checkpoint)["reward.custom"])
    assert hashes[0] != hashes[1]
