"""CheXbert against f1chexbert 0.0.2 and RadEval 2.2.1, on one random checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from editgrpo.config import ClinicalConfig
from editgrpo.metrics.label_f1 import label_f1
from editgrpo.metrics.label_metrics import finding_f1, macro_f1, micro_f1, study_counts
from editgrpo.reports.chexbert_model import CheXbertLabeler
from editgrpo.reports.chexpert import FINDINGS, FIVE_FINDINGS
from tests.checkpoints.chexbert import build_chexbert
from tests.parity.clinical.conftest import OracleRunner
from tests.parity.clinical.texts import AWKWARD, iu_findings

pytestmark = pytest.mark.parity

FIVE = [FINDINGS.index(finding) for finding in FIVE_FINDINGS]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_chexbert(folder / "chexbert")
    return folder


@pytest.fixture(scope="module")
def labeler(models: Path) -> CheXbertLabeler:
    return CheXbertLabeler(ClinicalConfig(models=str(models), offline=True, device="cpu"))


@pytest.fixture(scope="module")
def request_(models: Path) -> dict[str, Any]:
    real = iu_findings(40)
    return {
        "folder": str(models / "chexbert"),
        "texts": [*AWKWARD, *real],
        "candidates": list(real[:20]),
        "references": list(real[20:]),
    }


def labels_of_pairs(
    labeler: CheXbertLabeler, request_: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return labeler.label(request_["candidates"]), labeler.label(request_["references"])


def test_classes_and_labels_are_those_of_f1chexbert(
    labeler: CheXbertLabeler, request_: dict[str, Any], run_oracle: OracleRunner
) -> None:
    said = run_oracle(Path("chexbert_f1chexbert.py"), request_, package="f1chexbert")
    assert labeler.classify(request_["texts"]).tolist() == said["classes"]
    assert labeler.label(request_["texts"]).tolist() == said["labels"]


def test_f1chexbert_cannot_score_with_current_scikit_learn(
    request_: dict[str, Any], run_oracle: OracleRunner
) -> None:
    # It unpacks three values of a private function of scikit-learn, which now returns four.
    said = run_oracle(Path("chexbert_f1chexbert.py"), request_, package="f1chexbert")
    assert said["forward_error"] == "too many values to unpack (expected 3)"


def test_labels_and_embeddings_are_those_of_radeval(
    labeler: CheXbertLabeler, request_: dict[str, Any], run_oracle: OracleRunner
) -> None:
    said = run_oracle(Path("chexbert_radeval.py"), request_, package="radeval")
    assert labeler.label(request_["texts"]).tolist() == said["labels"]
    np.testing.assert_allclose(labeler.embed(request_["texts"]), said["embeddings"], **TOLERANCE)


def test_corpus_scores_are_those_of_radeval(
    labeler: CheXbertLabeler, request_: dict[str, Any], run_oracle: OracleRunner
) -> None:
    said = run_oracle(Path("chexbert_radeval.py"), request_, package="radeval")["corpus"]
    counts = study_counts(*labels_of_pairs(labeler, request_)).sum(axis=0)
    found = {
        "f1chexbert_all_micro_f1": micro_f1(counts),
        "f1chexbert_all_macro_f1": macro_f1(counts),
        "f1chexbert_5_micro_f1": micro_f1(counts[:, FIVE]),
        "f1chexbert_5_macro_f1": macro_f1(counts[:, FIVE]),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: said[name] for name in found}, abs=1e-12
    )
    by_finding = said["f1chexbert_label_scores_f1"]["f1chexbert_all"]
    assert dict(zip(FINDINGS, finding_f1(counts), strict=True)) == pytest.approx(
        by_finding, abs=1e-12
    )


def test_radeval_s_score_of_one_report_is_an_accuracy_and_no_f1(
    labeler: CheXbertLabeler, request_: dict[str, Any], run_oracle: OracleRunner
) -> None:
    said = run_oracle(Path("chexbert_radeval.py"), request_, package="radeval")["per_sample"]
    candidates, references = labels_of_pairs(labeler, request_)
    accuracy = (candidates == references).mean(axis=1)
    assert said["f1chexbert_sample_acc_all"] == pytest.approx(accuracy.tolist())
    assert not np.allclose(label_f1(candidates, references), accuracy)
