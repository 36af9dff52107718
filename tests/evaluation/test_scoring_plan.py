"""What a plan loads for the metrics that are asked for, and what it puts on record."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.config import ClinicalConfig, DType, Section, Target
from editgrpo.errors import ConfigError, DataError, ModelError
from editgrpo.evaluation.catalogue import METRIC_SETS
from editgrpo.evaluation.scoring_plan import BATCH, JUDGE_BATCH, load_plan
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.metrics.class_rates import ClassRates, write_class_rates
from editgrpo.metrics.metric import Source, SourceKind
from editgrpo.reports.chexpert import FINDINGS
from tests.checkpoints.chexbert import build_chexbert


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ClinicalConfig:
    models = tmp_path_factory.mktemp("models")
    build_chexbert(models / "chexbert")
    return ClinicalConfig(models=str(models), device="cpu", offline=True)


def options(*names: str, class_rates: Path | None = None) -> EvaluationOptions:
    return EvaluationOptions(metrics=names, class_rates=class_rates)


def test_a_source_stands_once_for_all_metrics_that_need_it(config: ClinicalConfig) -> None:
    plan = load_plan(options("chexbert"), config)
    assert len(plan.metrics) == 9
    assert list(plan.scorers) == [
        Source(SourceKind.LABELS, "chexbert"),
        Source(SourceKind.COMPONENT, "chexbert/report-micro-f1-14"),
        Source(SourceKind.COMPONENT, "chexbert/report-balanced-accuracy-14"),
    ]
    assert [slice_.start for slice_ in plan.columns.values()] == [0, 42, 43]
    assert plan.batch == BATCH


def test_what_needs_no_model_has_nothing_on_record() -> None:
    plan = load_plan(options("rules", "text"), ClinicalConfig(models="/nowhere", offline=True))
    assert plan.scored_with == {}
    assert len(plan.metrics) == len({*METRIC_SETS["rules"], *METRIC_SETS["text"]})


def test_weights_number_format_and_class_rates_are_on_record(
    config: ClinicalConfig, tmp_path: Path
) -> None:
    rates = tmp_path / "rates.json"
    counted = ClassRates(labeler="chexbert", n=10, rates=dict.fromkeys(FINDINGS, 0.1))
    write_class_rates(rates, counted)
    plan = load_plan(options("chexbert/report-inverse-frequency-14", class_rates=rates), config)
    assert list(plan.scored_with) == ["chexbert", "dtype", "class-rates"]
    assert plan.scored_with["dtype"] == DType.FLOAT32.value
    digest = hashlib.sha256(rates.read_bytes()).hexdigest()
    assert plan.scored_with["class-rates"] == f"sha256:{digest}"
    write_class_rates(rates, replace(counted, target=Target.FINDINGS))
    wanted = options("chexbert/report-inverse-frequency-14", class_rates=rates)
    load_plan(replace(wanted, target=Target.BOTH, section=Section.FINDINGS), config)
    for other in ({"target": Target.BOTH}, {"target": Target.BOTH, "section": Section.IMPRESSION}):
        with pytest.raises(ConfigError, match=r"class rates of findings, but .*impression"):
            load_plan(replace(wanted, **other), config)
    # Rates that no metric needs are not on record.
    others = load_plan(options("chexbert/micro-f1-14", class_rates=rates), config)
    assert list(others.scored_with) == ["chexbert", "dtype"]


def test_a_judge_on_a_server_is_known_by_its_name_alone() -> None:
    config = ClinicalConfig(
        green_endpoint="http://localhost:1/v1", green_model="served", offline=True
    )
    plan = load_plan(options("green@radllama2-7b"), config)
    assert plan.scored_with["green"] == "served"
    assert plan.batch == JUDGE_BATCH


def test_what_is_missing_is_named(config: ClinicalConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inverse-frequency-14 needs the class rates of a trai"):
        load_plan(options("chexbert/report-inverse-frequency-14"), config)
    absent = tmp_path / "absent.json"
    with pytest.raises(DataError, match=r"absent\.json"):
        load_plan(options("chexbert/report-inverse-frequency-14", class_rates=absent), config)
    with pytest.raises(ModelError, match="editgrpo models fetch radgraph-xl"):
        load_plan(options("radgraph/partial@radgraph-xl"), config)
