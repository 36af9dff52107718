"""The metrics of one report against its reference, by name.

Every name carries its variant. A component serves as a part of a reward (`registry.py`) and as a
column of an evaluation (`evaluation/`). What it needs is loaded when it first reads a text; parts
that read with the same model share one copy of it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from editgrpo.clinical.memo import Memo
from editgrpo.clinical.shared import shared
from editgrpo.clinical.weights import ClinicalModel, model_identity
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.reports import (
    AnnotatedReport,
    Annotator,
    Labeler,
    Span,
    load_annotator,
    load_labeler,
)
from editgrpo.rewards.class_rates import read_class_rates
from editgrpo.rewards.composite import Component
from editgrpo.rewards.entity_f1 import EntityF1
from editgrpo.rewards.entity_similarity import EntitySimilarity
from editgrpo.rewards.label_f1 import LabelF1
from editgrpo.rewards.label_rewards import LabelBalancedAccuracy, LabelInverseFrequency
from editgrpo.rewards.radgraph_f1 import RadGraphF1, RadGraphLevel
from editgrpo.rewards.ratescore import RateScore, RateVariant
from editgrpo.rewards.stated import StatedLabeler

Builder = Callable[[ClinicalConfig, Path | None], Component[Any]]


class _RememberingAnnotator:
    """An annotator whose reports are remembered, so that two components annotate a text once."""

    def __init__(self, annotator: Annotator) -> None:
        self.name = annotator.name
        self.split: Callable[[str], list[Span]] = annotator.split
        self._reports: Memo[AnnotatedReport] = Memo(annotator.annotate)

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports, each distinct text once."""
        return self._reports(texts)


def statement_annotator() -> Annotator:
    """Return what tells a report that states something from one that does not: `rules`, which needs
    no weights, whatever the reward."""
    return _rules_annotator()


def _rules_annotator() -> _RememberingAnnotator:
    return shared(
        ("remembering annotator", "rules"), lambda: _RememberingAnnotator(load_annotator("rules"))
    )


def load_metric_labeler(name: str, config: ClinicalConfig | None = None) -> Labeler:
    """Load the labeler that rewards and metrics use.

    Args:
        name: `rules` or `chexbert`.
        config: Where its model lies and how it runs; None takes the defaults.

    Returns:
        For `rules` the labeler whose No Finding needs a statement (`stated.py`); CheXbert as it is,
        since its numbers are to be compared with other people's.

    Raises:
        ConfigError: the name is unknown.
    """
    labeler = load_labeler(name, config)
    return StatedLabeler(labeler, _rules_annotator()) if name == "rules" else labeler


def _label_f1(labeler: str, config: ClinicalConfig, _: Path | None) -> Component[Any]:
    return LabelF1(load_metric_labeler(labeler, config))


def _balanced_accuracy(labeler: str, config: ClinicalConfig, _: Path | None) -> Component[Any]:
    return LabelBalancedAccuracy(load_metric_labeler(labeler, config))


def _inverse_frequency(
    labeler: str, config: ClinicalConfig, class_rates: Path | None
) -> Component[Any]:
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


def _radgraph(
    level: RadGraphLevel, model: ClinicalModel, config: ClinicalConfig, _: Path | None
) -> Component[Any]:
    from editgrpo.reports.radgraph.extractor import load_extractor

    return RadGraphF1(load_extractor(config, model), level)


def _ratescore(
    variant: RateVariant, guarded: bool, config: ClinicalConfig, _: Path | None
) -> Component[Any]:
    return RateScore(load_annotator("rate", config), variant, guarded=guarded)


def _bertscore(model: ClinicalModel, config: ClinicalConfig, _: Path | None) -> Component[Any]:
    from editgrpo.rewards.bert_score import BertScore

    return BertScore(model, config)


def _semb(config: ClinicalConfig, _: Path | None) -> Component[Any]:
    from editgrpo.rewards.radcliq import Embedder, SembScore

    return SembScore(cast(Embedder, load_labeler("chexbert", config)))


def _radcliq(config: ClinicalConfig, rates: Path | None) -> Component[Any]:
    from editgrpo.rewards.radcliq import RadCliQ

    return RadCliQ(
        _radgraph(RadGraphLevel.REXRANK, ClinicalModel.RADGRAPH, config, rates),
        _bertscore(ClinicalModel.DISTILROBERTA, config, rates),
        _semb(config, rates),
    )


def _green(config: ClinicalConfig, _: Path | None) -> Component[Any]:
    from editgrpo.rewards.green import GreenJudge

    return GreenJudge(config)


_BUILDERS: Mapping[str, Builder] = {
    "rules/report-micro-f1-14": partial(_label_f1, "rules"),
    "rules/report-balanced-accuracy-14": partial(_balanced_accuracy, "rules"),
    "rules/report-inverse-frequency-14": partial(_inverse_frequency, "rules"),
    "entity_f1/partial@rules": lambda *_: EntityF1(_rules_annotator()),
    "entity_similarity@rules": lambda *_: EntitySimilarity(_rules_annotator()),
    "chexbert/report-micro-f1-14": partial(_label_f1, "chexbert"),
    "chexbert/report-balanced-accuracy-14": partial(_balanced_accuracy, "chexbert"),
    "chexbert/report-inverse-frequency-14": partial(_inverse_frequency, "chexbert"),
    **{
        f"radgraph/{level}@{model}": partial(_radgraph, level, model)
        for model in (ClinicalModel.RADGRAPH_XL, ClinicalModel.RADGRAPH)
        for level in RadGraphLevel
    },
    **{f"ratescore@{variant}": partial(_ratescore, variant, False) for variant in RateVariant},
    **{
        f"ratescore@{variant}-guarded": partial(_ratescore, variant, True)
        for variant in RateVariant
    },
    "bertscore@distilbert-base-uncased": partial(_bertscore, ClinicalModel.DISTILBERT),
    "bertscore@distilroberta-base": partial(_bertscore, ClinicalModel.DISTILROBERTA),
    "semb@chexbert": _semb,
    "radcliq-v1": _radcliq,
    "green@radllama2-7b": _green,
}

COMPONENT_NAMES: tuple[str, ...] = tuple(_BUILDERS)
"""Names that `load_component` knows."""


def load_component(
    name: str, config: ClinicalConfig | None = None, *, class_rates: Path | None = None
) -> Component[Any]:
    """Load a metric of one report against its reference.

    Args:
        name: One of `COMPONENT_NAMES`.
        config: Where models lie and how they run; None takes the defaults.
        class_rates: File of class rates, for what is weighted by inverse frequency.

    Returns:
        The component; its models are loaded when it first reads a text.

    Raises:
        ConfigError: the name is unknown (the message suggests the nearest), or the class rates are
            missing or were counted with other weights.
    """
    if name not in _BUILDERS:
        raise ConfigError(f"metric {name!r} is unknown{nearest_name(name, COMPONENT_NAMES)}")
    return _BUILDERS[name](config or ClinicalConfig(), class_rates)


def component_models(name: str) -> tuple[ClinicalModel, ...]:
    """Return the models whose weights decide a component's value.

    Args:
        name: One of `COMPONENT_NAMES`.

    Returns:
        The models; none for what works by rules.
    """
    family, _, variant = name.partition("@")
    match family.partition("/")[0]:
        case "chexbert" | "semb":
            return (ClinicalModel.CHEXBERT,)
        case "ratescore":
            return (ClinicalModel.RATE_NER, ClinicalModel.BIOLORD)
        case "radgraph" | "bertscore":
            return (ClinicalModel(variant),)
        case "radcliq-v1":
            return (ClinicalModel.RADGRAPH, ClinicalModel.DISTILROBERTA, ClinicalModel.CHEXBERT)
        case "green":
            return (ClinicalModel.GREEN,)
    return ()
