"""The metrics of an evaluation, and sets of them, by name."""

from collections.abc import Sequence

from editgrpo.errors import ConfigError, nearest_name
from editgrpo.metrics import table
from editgrpo.metrics.metric import Metric

METRICS: dict[str, Metric] = {
    name: metric for name, metric in table.TABLE.items() if not metric.only_reward
}
"""Every metric that an evaluation can show, by name."""

METRIC_SETS: dict[str, tuple[Metric, ...]] = {
    # The first, the default: what needs no weights.
    "rules": (
        table.RULES_AVERAGE,
        *table.RULES_LABELS[:6],
        table.RULES_TOTAL,
        *table.RULES_COMPONENTS,
        *table.TEXT,
        table.BLEU[3],
    ),
    "paper": (table.PAPER_AVERAGE, *table.PAPER_SEVEN),
    "chexbert": (*table.CHEXBERT_LABELS, *table.CHEXBERT_REPORT[:2]),
    "radgraph": table.RADGRAPH,
    "ratescore": table.RATESCORE,
    "radcliq": (table.RADCLIQ, table.RADGRAPH[7], table.BERTSCORE[1], table.SEMB),
    # As ReXrank lists them. It names no version of RaTEScore; 0.6.0 is what its pipeline installs.
    "rexrank": (
        table.REXRANK_BLEU,
        table.BERTSCORE[1],
        table.SEMB,
        table.RADGRAPH[7],
        table.RADCLIQ,
        table.RATESCORE[1],
        table.GREEN,
    ),
    "text": (*table.TEXT, *table.BLEU),
    # Without what needs a file or a server besides weights.
    "all": tuple(
        metric
        for metric in METRICS.values()
        if not metric.needs_class_rates and metric is not table.CRIMSON
    ),
}
"""Sets of metrics by name, each in the order in which it is shown."""


def select_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Return metrics by their names and by the names of sets.

    Args:
        names: At least one; what appears twice counts once.

    Returns:
        The metrics in the order of the names.

    Raises:
        ConfigError: there is no name, or one is unknown (the message suggests the nearest).
    """
    chosen: dict[str, Metric] = {}
    for name in names:
        if name in METRIC_SETS:
            chosen |= {metric.name: metric for metric in METRIC_SETS[name]}
        elif name in METRICS:
            chosen[name] = METRICS[name]
        else:
            raise ConfigError(
                f"metric {name!r} is unknown{nearest_name(name, [*METRIC_SETS, *METRICS])} "
                "(`editgrpo score --list` shows all)"
            )
    if not chosen:
        raise ConfigError(f"no metric is named; name some, or a set: {', '.join(METRIC_SETS)}")
    return tuple(chosen.values())
