"""Metrics by name: what there is, what each needs, and how values follow from means."""

import numpy as np
import pytest

from editgrpo.clinical.catalogue import USES
from editgrpo.errors import ConfigError
from editgrpo.evaluation.catalogue import METRIC_SETS, METRICS, select_metrics
from editgrpo.metrics.metric import (
    Direction,
    Level,
    Means,
    Metric,
    Source,
    SourceKind,
    source_columns,
)
from editgrpo.metrics.rexrank_bleu import REXRANK_BLEU_2
from editgrpo.metrics.table import TABLE
from editgrpo.metrics.text_metrics import TEXT_SCALARS
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards.components import COMPONENT_NAMES


def means_of(metric: Metric, values: dict[str, list[float]]) -> Means:
    """Put the numbers of named components and labelers beside each other."""
    columns = source_columns(metric.sources)
    row = np.concatenate([values[source.name] for source in columns])
    return Means(row, columns)


def test_the_papers_average_is_the_mean_of_its_seven() -> None:
    average = METRICS["average/paper-7"]
    # TP 1/4 and FN 1/4 of Edema, one of the five; TP 1/4 of Fracture, which is not.
    counts = np.zeros((3, 14))
    counts[[0, 2], FINDINGS.index("Edema")] = 0.25
    counts[0, FINDINGS.index("Fracture")] = 0.25
    means = means_of(
        average,
        {
            "chexbert": counts.ravel().tolist(),
            "radgraph/partial@radgraph-xl": [0.3],
            "ratescore@0.5.0": [0.5],
            "green@radllama2-7b": [0.4],
        },
    )
    # F1: Edema 2/3, Fracture 1. Micro-14: TP 2, FN 1: 4/5. Macro-14: 5/3/14. Micro-5: 2/3.
    # Macro-5: 2/15.
    seven = [4 / 5, 5 / 3 / 14, 2 / 3, 2 / 15, 0.3, 0.5, 0.4]
    assert average.formula(means) == pytest.approx(sum(seven) / 7)
    parts = METRIC_SETS["paper"][1:]
    assert [part.formula(means) for part in parts] == pytest.approx(seven)


def test_a_total_is_the_sum_of_its_components() -> None:
    total = METRICS["reward/total@paper"]
    means = means_of(
        total,
        {
            "radgraph/partial@radgraph-xl": [0.3],
            "chexbert/report-micro-f1-14": [0.6],
            "ratescore@0.5.0-guarded": [0.5],
        },
    )
    assert total.formula(means) == pytest.approx(1.4)
    assert (total.level, total.direction) == (Level.REPORT, Direction.HIGHER)


def test_the_offline_set_needs_no_weights() -> None:
    assert all(metric.models == () for metric in METRIC_SETS["rules"])
    assert METRIC_SETS["rules"][0].name == "average/clinical@rules"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_states_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert 0 < len(metric.description) <= 80
    assert metric.sources
    # Words are counted, and CRIMSON's judge is a server's.
    without = ("rules", "@keywords", "crimson@judge", REXRANK_BLEU_2)
    needs_model = any(
        not source.name.endswith(without)
        and not source.name.startswith("rules/")
        and source.kind in (SourceKind.LABELS, SourceKind.COMPONENT)
        for source in metric.sources
    )
    assert bool(metric.models) == needs_model


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_keeps_leading_axes(name: str) -> None:
    metric = METRICS[name]
    columns = source_columns([Source(SourceKind.LABELS, "other"), *metric.sources])
    width = sum(source.width for source in columns)
    values = np.random.default_rng(0).random((4, 2, width)) / 3
    found = metric.formula(Means(values, columns, ("Fracture", "Edema")))
    assert found.shape == (4, 2)
    alone = metric.formula(Means(values[3, 1], columns, ("Fracture", "Edema")))
    assert found[3, 1] == pytest.approx(float(alone))


def test_every_component_that_is_not_for_rewards_alone_is_a_metric() -> None:
    for_rewards_alone = {name for name, metric in TABLE.items() if metric.only_reward}
    components = set(COMPONENT_NAMES) - for_rewards_alone
    named = {
        source.name
        for metric in METRICS.values()
        for source in metric.sources
        if source.kind is SourceKind.COMPONENT and source.name not in for_rewards_alone
    }
    assert named == components


def test_less_is_better_only_where_it_is() -> None:
    lower = {name for name, metric in METRICS.items() if metric.direction is Direction.LOWER}
    assert lower == {
        "radcliq-v1",
        "text/empty",
        "text/repeated-4-grams",
        "text/repeated-sentences",
    }
    neither = {name for name, metric in METRICS.items() if metric.direction is Direction.NEITHER}
    assert neither == {"text/words", "text/reference-words"}
    assert {name for name in METRICS if name.startswith("text/")} >= set(TEXT_SCALARS)


def test_names_and_sets_may_be_mixed() -> None:
    chosen = [metric.name for metric in select_metrics(["text/bleu-4", "radcliq", "radcliq-v1"])]
    assert chosen == [
        "text/bleu-4",
        "radcliq-v1",
        "radgraph/rexrank@radgraph",
        "bertscore@distilroberta-base",
        "semb@chexbert",
    ]


def test_rexranks_metrics_need_the_models_that_are_fetched_for_it() -> None:
    chosen = METRIC_SETS["rexrank"]
    assert [metric.name for metric in chosen] == [
        "bleu-2@rexrank",
        "bertscore@distilroberta-base",
        "semb@chexbert",
        "radgraph/rexrank@radgraph",
        "radcliq-v1",
        "ratescore@0.6.0-long",
        "green@radllama2-7b",
    ]
    assert all(metric.level is Level.REPORT for metric in chosen)  # means over reports
    assert {model for metric in chosen for model in metric.models} == set(USES["rexrank"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["radgraph/partial"], r"metric 'radgraph/partial' is unknown; did you mean 'radgraph/"),
        (["chexbert/micro-14"], "did you mean 'chexbert/micro-f1-14'"),
        (["zzzz"], "choose one of rules, paper"),
        ([], "no metric is named; name some, or a set: rules, paper"),
    ],
)
def test_unknown_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select_metrics(names)
