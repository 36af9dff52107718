"""The metrics by name, and sets of them by name.

A name carries its variant, since a metric's name is not its definition: docs/metrics.md says what
each number means and what it may be compared with.
"""

from collections.abc import Sequence

from editgrpo.errors import ConfigError, nearest_name
from editgrpo.evaluation.definitions import (
    average_metric,
    bleu_metric,
    component_metric,
    label_metrics,
    sum_metric,
    text_metric,
)
from editgrpo.evaluation.metrics import Direction, Metric
from editgrpo.evaluation.text_metrics import (
    EMPTY,
    REFERENCE_WORDS,
    REPEATED_NGRAMS,
    REPEATED_SENTENCES,
    ROUGE_L,
    WORDS,
)

_RATE = ("rate-ner", "biolord")
_CHEXBERT = ("chexbert",)
_RADGRAPH_LEVELS = {
    "simple": "F1 of entities (words and label)",
    "partial": "F1 of entities that also agree on having a relation",
    "complete": "F1 of entities with their relations and targets",
    "rexrank": "mean of entity F1 and relation F1, as on ReXrank",
}

RULES_LABELS = label_metrics("rules")
RULES_COMPONENTS = (
    component_metric("rules/report-micro-f1-14", "F1 of the 14 findings of one report"),
    component_metric("entity_f1/partial@rules", "F1 of entities, in the manner of RadGraph-F1"),
    component_metric("entity_similarity@rules", "likeness of entities, in the manner of RaTEScore"),
)
RULES_REWARDS = (
    component_metric(
        "rules/report-balanced-accuracy-14", "balanced accuracy of the 14 findings of one report"
    ),
    component_metric(
        "rules/report-inverse-frequency-14",
        "agreement on findings, rare ones weighing more",
        needs_class_rates=True,
    ),
)
RULES_SUMS = (
    average_metric(
        "average/clinical@rules",
        "mean of the four F1 and the two entity scores of `rules`",
        (*RULES_LABELS[:4], *RULES_COMPONENTS[1:]),
    ),
    sum_metric("reward/total@rules", "sum of the three components of `rules`", RULES_COMPONENTS),
)

CHEXBERT_LABELS = label_metrics("chexbert", models=_CHEXBERT)
CHEXBERT_COMPONENTS = (
    component_metric(
        "chexbert/report-micro-f1-14", "F1 of the 14 findings of one report", models=_CHEXBERT
    ),
    component_metric(
        "chexbert/report-balanced-accuracy-14",
        "balanced accuracy of the 14 findings of one report",
        models=_CHEXBERT,
    ),
)
INVERSE_FREQUENCY = component_metric(
    "chexbert/report-inverse-frequency-14",
    "agreement on findings, rare ones weighing more",
    models=_CHEXBERT,
    needs_class_rates=True,
)

RADGRAPH = tuple(
    component_metric(f"radgraph/{level}@{model}", description, models=(model,))
    for model in ("radgraph-xl", "radgraph")
    for level, description in _RADGRAPH_LEVELS.items()
)

RATESCORE = (
    component_metric("ratescore@0.5.0", "RaTEScore as the paper used it", models=_RATE),
    component_metric("ratescore@0.6.0-long", "RaTEScore 0.6.0, its default", models=_RATE),
    component_metric("ratescore@0.6.0-short", "RaTEScore 0.6.0 for short texts", models=_RATE),
)

BERTSCORE = (
    component_metric(
        "bertscore@distilbert-base-uncased",
        "BERTScore as RadEval computes it, rescaled",
        models=("distilbert-base-uncased",),
    ),
    component_metric(
        "bertscore@distilroberta-base",
        "BERTScore as RadCliQ-v1 needs it, rescaled",
        models=("distilroberta-base",),
    ),
)
SEMB = component_metric(
    "semb@chexbert", "cosine of CheXbert's embeddings of both reports", models=_CHEXBERT
)
RADCLIQ = component_metric(
    "radcliq-v1",
    "predicted number of errors; perfect is -1.44",
    models=("radgraph", "distilroberta-base", "chexbert"),
    direction=Direction.LOWER,
)
GREEN = component_metric(
    "green@radllama2-7b", "judged by a 7B language model; slow", models=("green",)
)

BLEU = tuple(bleu_metric(order) for order in (1, 2, 3, 4))
TEXT = (
    text_metric(ROUGE_L, "F-measure of the longest common subsequence", Direction.HIGHER),
    text_metric(REPEATED_NGRAMS, "share of word 4-grams that repeat", Direction.LOWER),
    text_metric(REPEATED_SENTENCES, "share of sentences that repeat", Direction.LOWER),
    text_metric(EMPTY, "share of predictions without a word", Direction.LOWER),
    text_metric(WORDS, "words of a prediction", Direction.NEITHER),
    text_metric(REFERENCE_WORDS, "words of a reference", Direction.NEITHER),
)

PAPER_TOTAL = sum_metric(
    "reward/total@paper",
    "the paper's reward: RadGraph-F1 + CheXbert-F1 + RaTEScore (0 without entities)",
    (
        RADGRAPH[1],
        CHEXBERT_COMPONENTS[0],
        component_metric("ratescore@0.5.0-guarded", "RaTEScore as it is paid", models=_RATE),
    ),
)

# In the order of the paper's tables.
PAPER_SEVEN = (*CHEXBERT_LABELS[:4], RADGRAPH[1], RATESCORE[0], GREEN)
PAPER_AVERAGE = average_metric(
    "average/paper-7", "mean of the seven metrics of EditGRPO's tables", PAPER_SEVEN
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *RULES_SUMS,
        *RULES_LABELS,
        *RULES_COMPONENTS,
        *RULES_REWARDS,
        PAPER_AVERAGE,
        PAPER_TOTAL,
        *CHEXBERT_LABELS,
        *CHEXBERT_COMPONENTS,
        INVERSE_FREQUENCY,
        *RADGRAPH,
        *RATESCORE,
        *BERTSCORE,
        SEMB,
        RADCLIQ,
        GREEN,
        *TEXT,
        *BLEU,
    )
}
"""Every metric by name."""

METRIC_SETS: dict[str, tuple[Metric, ...]] = {
    # The first, the default: what needs no weights.
    "rules": (
        RULES_SUMS[0],
        *RULES_LABELS[:6],
        RULES_SUMS[1],
        *RULES_COMPONENTS,
        *TEXT,
        BLEU[3],
    ),
    "paper": (PAPER_AVERAGE, *PAPER_SEVEN),
    "chexbert": (*CHEXBERT_LABELS, *CHEXBERT_COMPONENTS),
    "radgraph": RADGRAPH,
    "ratescore": RATESCORE,
    "radcliq": (RADCLIQ, RADGRAPH[7], BERTSCORE[1], SEMB),
    "text": (*TEXT, *BLEU),
    "all": tuple(metric for metric in METRICS.values() if not metric.needs_class_rates),
}
"""Sets of metrics by name, each in the order in which it is shown."""


def select_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Return metrics by their names and by the names of sets.

    Args:
        names: At least one; what stands twice counts once.

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
