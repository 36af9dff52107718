"""What computes the numbers that metrics need: labelers, components and the word counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.memo import Memo
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.evaluation.catalogue import select_metrics
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.metrics.check import checked_read, read_labels, score_pairs
from editgrpo.metrics.class_rates import check_target
from editgrpo.metrics.component import Component
from editgrpo.metrics.label_metrics import study_counts
from editgrpo.metrics.loading import load_metric_labeler
from editgrpo.metrics.metric import Metric, Source, SourceKind, source_columns
from editgrpo.metrics.text_metrics import TextScorer
from editgrpo.reports import Labeler
from editgrpo.rewards.components import load_component

BATCH = 256
"""Studies scored between two reports of progress."""

JUDGE_BATCH = 32
"""The same where a language model judges, which takes seconds for a report."""

Scorer = Callable[[Sequence[str], Sequence[str]], NDArray[np.float64]]
"""Maps N predictions and N references to (N, width) numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringPlan:
    """Metrics with what computes their numbers.

    Attributes:
        metrics: In the order in which they are shown.
        scorers: One for each source of the metrics.
        scored_with: What the numbers depend on besides the texts: model name to the identity of
            its weights, number format, class rates.
        batch: Studies scored at a time.
    """

    metrics: tuple[Metric, ...]
    scorers: Mapping[Source, Scorer]
    scored_with: Mapping[str, str]
    batch: int = BATCH

    @property
    def columns(self) -> dict[Source, slice]:
        """Where the numbers of each source are in a study's row."""
        return source_columns(list(self.scorers))


def load_plan(options: EvaluationOptions, clinical: ClinicalConfig) -> ScoringPlan:
    """Load what the metrics of an evaluation need.

    Args:
        options: Names the metrics.
        clinical: Where the clinical models lie and how they run.

    Returns:
        The plan; each source stands in it once.

    Raises:
        ConfigError: a metric is unknown, or needs class rates and there are none, or none of the
            sections that are scored.
        ModelError: weights are missing (the message names the command that fetches them).
    """
    metrics = select_metrics(options.metrics)
    for metric in metrics:
        if metric.needs_class_rates and options.class_rates is None:
            raise ConfigError(
                f"{metric.name} needs the class rates of a training set; write them with "
                "`editgrpo annotate STUDIES --class-rates rates.json`, then give --class-rates"
            )
        if metric.needs_class_rates and options.class_rates is not None:
            check_target(options.class_rates, options.scored)
    models = dict.fromkeys(model for metric in metrics for model in metric.models)
    sources = dict.fromkeys(source for metric in metrics for source in metric.sources)
    return ScoringPlan(
        metrics=metrics,
        scorers={source: _load_scorer(source, clinical, options.class_rates) for source in sources},
        scored_with=_identities(tuple(models), metrics, clinical, options.class_rates),
        batch=JUDGE_BATCH if any(metric.judge for metric in metrics) else BATCH,
    )


def component_scorer(component: Component[Any]) -> Scorer:
    """Score with a component; what it reads from a text is remembered."""
    memo = Memo(checked_read(component))

    def score(predictions: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        facts = memo([*predictions, *references])
        count = len(predictions)
        return score_pairs(component, facts[:count], facts[count:])[:, None]

    return score


def label_scorer(labeler: Labeler) -> Scorer:
    """Count a labeler's true positives, false positives and misses of each finding."""

    def score(predictions: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        count = len(predictions)
        labels = read_labels(labeler, [*predictions, *references])
        return study_counts(labels[:count], labels[count:]).reshape(count, -1)

    return score


def text_scorers() -> dict[Source, Scorer]:
    """Return what scores words alone."""
    scorer = TextScorer()

    def over_pairs(one: Callable[[str, str], NDArray[np.float64]]) -> Scorer:
        return lambda predictions, references: np.stack(
            [one(*pair) for pair in zip(predictions, references, strict=True)]
        )

    return {
        Source(SourceKind.TEXT): over_pairs(scorer.scalars),
        Source(SourceKind.BLEU): over_pairs(scorer.bleu_statistics),
    }


def _load_scorer(source: Source, clinical: ClinicalConfig, class_rates: Path | None) -> Scorer:
    if source.kind is SourceKind.LABELS:
        return label_scorer(load_metric_labeler(source.name, clinical))
    if source.kind is SourceKind.COMPONENT:
        component = load_component(source.name, clinical, class_rates=class_rates)
        return component_scorer(component)
    return text_scorers()[source]


def _identities(
    models: Sequence[ClinicalModel],
    metrics: Sequence[Metric],
    clinical: ClinicalConfig,
    class_rates: Path | None,
) -> dict[str, str]:
    """Name everything but the code that the numbers depend on."""
    rates = {}
    if class_rates is not None and any(metric.needs_class_rates for metric in metrics):
        rates["class-rates"] = f"sha256:{sha256(class_rates.read_bytes()).hexdigest()}"
    judges = {}
    if any(metric.judge == "crimson" for metric in metrics):
        from editgrpo.metrics.crimson.judge import crimson_identity

        judges["crimson"] = crimson_identity(clinical)
    if not models:
        return judges | rates
    from editgrpo.clinical.sources import models_here
    from editgrpo.clinical.weights import model_identity

    here = models_here(models, clinical)
    found = {
        model.value: model_identity(model, clinical) if model in here else clinical.green_model
        for model in models
    }
    found["dtype"] = clinical.dtype.value
    return found | judges | rates
