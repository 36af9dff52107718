"""What the metrics of one report need, loaded when it first reads a text.

Parts that read with the same model share one copy of it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from editgrpo.clinical.memo import Memo
from editgrpo.clinical.shared import shared
from editgrpo.clinical.weights import ClinicalModel, model_identity
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.metrics.bert_score import BertScore
from editgrpo.metrics.class_rates import read_class_rates
from editgrpo.metrics.component import Component
from editgrpo.metrics.label_rewards import LabelInverseFrequency
from editgrpo.metrics.radcliq import Embedder, RadCliQ, SembScore
from editgrpo.metrics.radgraph_f1 import RadGraphF1, RadGraphLevel
from editgrpo.metrics.silence import StatedLabeler
from editgrpo.reports import (
    AnnotatedReport,
    Annotator,
    Labeler,
    Span,
    load_annotator,
    load_labeler,
)


class _RememberingAnnotator:
    """An annotator whose reports are remembered, so that two components annotate a text once."""

    def __init__(self, annotator: Annotator) -> None:
        self.name = annotator.name
        self.split: Callable[[str], list[Span]] = annotator.split
        self._reports: Memo[AnnotatedReport] = Memo(annotator.annotate)

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports, each distinct text once."""
        return self._reports(texts)


def rules_annotator() -> Annotator:
    """Return the annotator `rules`, which needs no weights, the same one each time."""
    return shared(
        ("remembering annotator", "rules"), lambda: _RememberingAnnotator(load_annotator("rules"))
    )


def load_metric_labeler(name: str, config: ClinicalConfig | None = None) -> Labeler:
    """Load the labeler that rewards and metrics use.

    Args:
        name: `rules` or `chexbert`.
        config: Where its model lies and how it runs; None takes the defaults.

    Returns:
        For `rules` the labeler whose No Finding needs a statement (`silence.py`); CheXbert as it
        is, since its numbers are to be compared with other people's.

    Raises:
        ConfigError: the name is unknown.
    """
    labeler = load_labeler(name, config)
    return StatedLabeler(labeler, rules_annotator()) if name == "rules" else labeler


def load_inverse_frequency(
    labeler: str, config: ClinicalConfig, class_rates: Path | None
) -> Component[Any]:
    """Load the F1 in which rare findings weigh more; ConfigError without class rates."""
    if class_rates is None:
        raise ConfigError(
            f"{labeler}/report-inverse-frequency-14 needs the class rates of the training set; "
            "write them with `editgrpo annotate --class-rates` and name the file "
            "(reward.class_rates, --class-rates)"
        )
    rates = read_class_rates(class_rates)
    _, _, counted_with = rates.labeler.partition("@")
    if counted_with and counted_with != model_identity(ClinicalModel.CHEXBERT, config):
        raise ConfigError(
            f"{class_rates}: counted with other weights of CheXbert than are here; count them "
            "again with `editgrpo annotate --class-rates`"
        )
    return LabelInverseFrequency(load_metric_labeler(labeler, config), rates)


def load_radgraph(
    level: RadGraphLevel, model: ClinicalModel, config: ClinicalConfig, _: Path | None
) -> Component[Any]:
    """Load one level of RadGraph-F1 with one of its models."""
    from editgrpo.reports.radgraph.extractor import load_extractor

    return RadGraphF1(load_extractor(config, model), level)


def load_semb(config: ClinicalConfig, _: Path | None) -> Component[Any]:
    """Load the cosine of CheXbert's embeddings."""
    return SembScore(cast(Embedder, load_labeler("chexbert", config)))


def load_radcliq(config: ClinicalConfig, rates: Path | None) -> Component[Any]:
    """Load RadCliQ-v1 with its three parts."""
    return RadCliQ(
        load_radgraph(RadGraphLevel.REXRANK, ClinicalModel.RADGRAPH, config, rates),
        BertScore(ClinicalModel.DISTILROBERTA, config),
        load_semb(config, rates),
    )
