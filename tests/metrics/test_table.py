"""One table says of every metric whether it may be trained on, and rewards and lists follow it."""

import pytest

from editgrpo.errors import ConfigError
from editgrpo.evaluation.catalogue import METRICS
from editgrpo.metrics.metric import Direction, Level, SourceKind
from editgrpo.metrics.table import TABLE
from editgrpo.rewards import COMPONENT_NAMES, load_reward
from editgrpo.rewards.components import TRAINABLE_NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_a_reward_takes_what_the_table_does_not_refuse(name: str) -> None:
    """Weight 0 loads nothing but says whether the name would do."""
    metric = TABLE[name]
    if metric.refusal is None and not metric.needs_class_rates:
        assert load_reward("custom", {name: 0.0}).component_names == (name,)
    elif metric.refusal is not None:
        with pytest.raises(ConfigError) as refused:
            load_reward("custom", {name: 0.0})
        assert str(refused.value).startswith(f"reward.weights: {name} {metric.refusal}")
        assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_what_may_be_trained_on_scores_one_report_and_rises(name: str) -> None:
    metric = TABLE[name]
    if name in TRAINABLE_NAMES:
        assert metric.level is Level.REPORT
        assert metric.direction is Direction.HIGHER
    assert (name in COMPONENT_NAMES) == (metric.load is not None)
    if metric.load is not None:
        (source,) = metric.sources
        assert (source.kind, source.name) == (SourceKind.COMPONENT, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rules/micro-f1-14", "only a test set has a value; did you mean 'rules/report-micro-f1"),
        ("text/rouge-l", "is no reward: it is for evaluation only; "),
        ("reward/total@rules", "is no reward: it is for evaluation only; "),
        ("ratescore@0.6.0-long", "without entities; take ratescore@0.6.0-long-guarded"),
        ("radcliq-v1", "lower is better; take radcliq-v1-negated"),
        ("green@radllama2-7b", "cannot read; take green@radllama2-7b-guarded"),
        ("temporal-f1@keywords", "is no reward: it pays 1 wherever neither"),
        ("rules/report-micro-f1", "is unknown; did you mean 'rules/report-micro-f1-14'?"),
    ],
)
def test_a_refusal_says_what_to_take(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward("custom", {name: 1.0})


def test_only_what_is_paid_in_another_form_is_no_column() -> None:
    assert set(TABLE) - set(METRICS) == {
        "ratescore@0.5.0-guarded",
        "ratescore@0.6.0-long-guarded",
        "ratescore@0.6.0-short-guarded",
        "radcliq-v1-negated",
        "green@radllama2-7b-guarded",
        "text/new-sentences",
    }
