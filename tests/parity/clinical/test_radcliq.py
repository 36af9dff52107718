"""RadCliQ-v1 and SembScore against RadEval 2.2.1; RadGraph's part is given to both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.metrics.bert_score import BertScore
from editgrpo.metrics.radcliq import SembScore, radcliq_v1
from editgrpo.reports.chexbert_model import CheXbertLabeler
from tests.checkpoints.bert_score import build_distilroberta
from tests.checkpoints.chexbert import build_chexbert
from tests.parity.clinical.conftest import OracleRunner
from tests.parity.clinical.texts import report_pairs

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_chexbert(folder / ClinicalModel.CHEXBERT)
    build_distilroberta(folder / ClinicalModel.DISTILROBERTA)
    return folder


@pytest.fixture(scope="module")
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


def ask(run_oracle: OracleRunner, models: Path, *, first: int | None = None) -> dict[str, Any]:
    candidates, references = report_pairs()
    request = {
        "chexbert": str(models / ClinicalModel.CHEXBERT),
        "distilroberta": str(models / ClinicalModel.DISTILROBERTA),
        "candidates": candidates[:first],
        "references": references[:first],
        "radgraph": np.linspace(0, 1, len(candidates))[:first].tolist(),
    }
    return run_oracle(Path("radcliq_radeval.py"), request, package="radeval")


def test_semb_is_that_of_radeval(
    models: Path, config: ClinicalConfig, run_oracle: OracleRunner
) -> None:
    said = ask(run_oracle, models)["parts"]["semb_score"]
    metric = SembScore(CheXbertLabeler(config))
    candidates, references = report_pairs()
    found = metric.compare(metric.read(candidates), metric.read(references))
    np.testing.assert_allclose(found, said, rtol=1e-5, atol=1e-5)


def test_the_combination_is_that_of_radeval_without_its_bleu(
    models: Path, run_oracle: OracleRunner
) -> None:
    said = ask(run_oracle, models)
    parts = {name: np.array(values) for name, values in said["parts"].items()}
    found = radcliq_v1(parts["radgraph"], parts["bertscore"], parts["semb_score"])
    # What is left out moves no value by more than 4.3e-12 * (1 - 0.447) / 0.299.
    np.testing.assert_allclose(found, said["per_sample"], rtol=0, atol=1e-11)


def test_radeval_s_value_of_a_report_depends_on_the_other_references(
    models: Path, config: ClinicalConfig, run_oracle: OracleRunner
) -> None:
    few = ask(run_oracle, models, first=4)["per_sample"]
    many = ask(run_oracle, models)["per_sample"][:4]
    assert np.abs(np.subtract(few, many)).max() > 1e-4  # a hundred times the rounding
    metric = BertScore(ClinicalModel.DISTILROBERTA, config)
    candidates, references = (metric.read(texts) for texts in report_pairs())
    np.testing.assert_allclose(
        metric.compare(candidates[:4], references[:4]),
        metric.compare(candidates, references)[:4],
        rtol=1e-5,
        atol=1e-5,
    )


def test_radeval_s_aggregate_is_one_over_the_mean(models: Path, run_oracle: OracleRunner) -> None:
    said = ask(run_oracle, models)
    assert said["aggregate"] == pytest.approx(1 / np.mean(said["per_sample"]))
