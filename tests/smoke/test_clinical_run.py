"""Whole runs with the clinical models, small and random ones in the true file formats."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editgrpo.clinical.store import FactStore
from editgrpo.config import ClinicalConfig, EditConfig, RewardConfig, TrainConfig
from editgrpo.data.study import Split
from editgrpo.errors import ModelError
from editgrpo.reports.references import read_references
from editgrpo.training.train import run_training
from tests.checkpoints.all_models import build_paper_models
from tests.smoke.test_resume import die
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow

PAPER = (
    "radgraph/partial@radgraph-xl",
    "chexbert/report-micro-f1-14",
    "ratescore@0.5.0-guarded",
)


@pytest.fixture(scope="module")
def clinical(tmp_path_factory: pytest.TempPathFactory) -> ClinicalConfig:
    models = build_paper_models(tmp_path_factory.mktemp("models"))
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


def config(tiny: Tiny, output: Path, clinical: ClinicalConfig, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "edit": EditConfig(annotator="rate"),
        "reward": RewardConfig(name="paper"),
        "clinical": clinical,
        **changes,
    }
    return tiny.train_config(output, **settings)


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tiny: Tiny, clinical: ClinicalConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper") / "run"
    run_training(config(tiny, folder, clinical))
    return folder


def test_a_run_optimises_the_papers_reward(run: Path) -> None:
    for row in rows(run):
        parts = [row[f"reward/sampled/{name}"] for name in PAPER]
        assert row["reward/sampled/mean"] == pytest.approx(sum(parts), abs=1e-6)
        assert np.isfinite([row["loss"], row["grad_norm"], row["kl"]]).all()
        assert row["errors/dropped_groups"] == 0


def test_edits_come_from_the_annotator_rate(run: Path) -> None:
    edited = [row["edits/none"] for row in rows(run)]
    assert min(edited) < 1
    records = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    kinds = {
        entity["type"]
        for record in records
        if record["edit"]
        for entity in record["edit"]["entities"]
    }
    assert kinds <= {"ANATOMY", "ABNORMALITY", "NON-ABNORMALITY", "DISEASE", "NON-DISEASE"}


def test_annotations_made_ahead_change_rewards_by_rounding_only(
    tiny: Tiny, run: Path, clinical: ClinicalConfig, tmp_path: Path
) -> None:
    writing = replace(clinical, store=str(tmp_path / "store"), store_writes=True)
    studies, _ = tiny.encoder(Split.TRAIN)
    read_references([study.findings for study in studies], ["rate"], config=writing)
    before = FactStore(tmp_path / "store", writable=False).count()
    reading = replace(clinical, store=str(tmp_path / "store"))
    run_training(config(tiny, tmp_path / "run", reading, steps=1))
    assert FactStore(tmp_path / "store", writable=False).count() == before
    (first,) = rows(tmp_path / "run")
    # The first step's rollouts are the same; the last bits of an embedding depend on its batch.
    assert first["reward/all/mean"] == pytest.approx(rows(run)[0]["reward/all/mean"], abs=1e-5)


def test_the_same_run_twice_gives_the_same_bytes(
    tiny: Tiny, run: Path, clinical: ClinicalConfig, tmp_path: Path
) -> None:
    run_training(config(tiny, tmp_path / "again", clinical))
    assert_same_run(run, tmp_path / "again")


def test_a_killed_run_continues_with_the_very_same_annotations(
    tiny: Tiny, run: Path, clinical: ClinicalConfig, tmp_path: Path
) -> None:
    """Killed in step 4, its checkpoint is of step 2: what was annotated since is in its journal."""
    killed = config(tiny, tmp_path / "killed", clinical)
    die(
        "train",
        killed,
        at=("editgrpo.training.trainer", "tokens_of_passes", 4),
    )
    run_training(killed, resume=True)
    assert_same_run(run, tmp_path / "killed")


def test_edits_by_radgraph_train_too(tiny: Tiny, clinical: ClinicalConfig, tmp_path: Path) -> None:
    edit = EditConfig(annotator="radgraph")
    run_training(config(tiny, tmp_path / "run", clinical, edit=edit, steps=2))
    assert len(rows(tmp_path / "run")) == 2


def test_missing_weights_stop_a_run_before_its_first_step(tiny: Tiny, tmp_path: Path) -> None:
    nowhere = ClinicalConfig(models=str(tmp_path / "none"), offline=True)
    with pytest.raises(ModelError, match="editgrpo models fetch"):
        run_training(config(tiny, tmp_path / "run", nowhere))
    assert not (tmp_path / "run/metrics.jsonl").exists()
