"""BERTScore against RadEval 2.2.1's copy of bert-score 0.3.13, on random checkpoints."""

from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.metrics.bert_score import BASELINES, BertScore, TokenVectors, greedy_f1, rescaled
from tests.checkpoints.bert_score import build_distilbert, build_distilroberta
from tests.parity.clinical.conftest import OracleRunner
from tests.parity.clinical.texts import iu_findings, report_pairs

pytestmark = pytest.mark.parity

MODELS = tuple(BASELINES)
# Rescaling divides by 1 - baseline, and so multiplies float32's error by 3 and by 6.5.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_distilbert(folder / ClinicalModel.DISTILBERT)
    build_distilroberta(folder / ClinicalModel.DISTILROBERTA)
    return folder


@pytest.fixture(scope="module")
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


RUNS = [(model, batch_size, False) for model in MODELS for batch_size in (1, 64)]
IDF_RUN = (ClinicalModel.DISTILROBERTA, 1, True)


def ask(
    run_oracle: OracleRunner, models: Path, run: tuple[ClinicalModel, int, bool]
) -> list[float]:
    """Return bert-score's F1 of all pairs; one process answers for all runs."""
    candidates, references = report_pairs()
    runs = [*RUNS, IDF_RUN]
    request = {
        "candidates": candidates,
        "references": references,
        "runs": [
            {
                "model": model.value,
                "folder": str(models / model),
                "idf_references": iu_findings(16) if idf else None,
                "batch_size": batch_size,
            }
            for model, batch_size, idf in runs
        ],
    }
    said = run_oracle(Path("bert_score_radeval.py"), request, package="radeval")["f1"]
    found: list[float] = said[runs.index(run)]
    return found


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_scores_are_those_of_bert_score(
    models: Path,
    config: ClinicalConfig,
    run_oracle: OracleRunner,
    run: tuple[ClinicalModel, int, bool],
) -> None:
    metric = BertScore(run[0], config)
    candidates, references = report_pairs()
    found = metric.compare(metric.read(candidates), metric.read(references))
    np.testing.assert_allclose(found, ask(run_oracle, models, run), **TOLERANCE)


def test_with_idf_weights_the_matching_is_that_of_bert_score(
    models: Path, config: ClinicalConfig, run_oracle: OracleRunner
) -> None:
    model, reports = IDF_RUN[0], iu_findings(16)
    metric = BertScore(model, config)
    encoder = metric._encoder()
    seen = Counter(id_ for row in encoder.tokenize(reports) for id_ in set(row))

    def weighted(text: str) -> TokenVectors:
        [vectors], [row] = metric._embedded([text.strip()]), encoder.tokenize([text])
        idf = np.array([log((len(reports) + 1) / (seen[id_] + 1)) for id_ in row])
        return replace(vectors, weight_T=idf)

    found = [
        rescaled(greedy_f1(weighted(candidate), weighted(reference)), BASELINES[model])
        for candidate, reference in zip(*report_pairs(), strict=True)
    ]
    np.testing.assert_allclose(found, ask(run_oracle, models, IDF_RUN), **TOLERANCE)
