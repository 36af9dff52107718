"""The table of metrics: name, definition, direction, models, and whether it may be trained on.

Rewards (`rewards/components.py`) and evaluations (`evaluation/catalogue.py`) take their metrics
from here. A name carries its variant, since a metric's name is not its definition: docs/metrics.md
says what each number means and what it may be compared with.
"""

from collections.abc import Mapping
from functools import partial

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.metrics.bert_score import BertScore
from editgrpo.metrics.crimson import CrimsonJudge
from editgrpo.metrics.entity_f1 import EntityF1
from editgrpo.metrics.entity_similarity import EntitySimilarity
from editgrpo.metrics.green import GreenJudge
from editgrpo.metrics.kinds import (
    average_metric,
    bleu_metric,
    component_metric,
    label_metrics,
    sum_metric,
    text_metric,
)
from editgrpo.metrics.label_f1 import LabelF1
from editgrpo.metrics.label_rewards import LabelBalancedAccuracy
from editgrpo.metrics.loading import (
    load_inverse_frequency,
    load_metric_labeler,
    load_radcliq,
    load_radgraph,
    load_semb,
    rules_annotator,
)
from editgrpo.metrics.metric import Direction, Metric
from editgrpo.metrics.new_sentences import NewSentences
from editgrpo.metrics.radcliq import NegatedRadCliQ
from editgrpo.metrics.radgraph_f1 import RadGraphLevel
from editgrpo.metrics.ratescore import RateScore, RateVariant
from editgrpo.metrics.rexrank_bleu import REXRANK_BLEU_2, RexrankBleu2
from editgrpo.metrics.temporal_f1 import TemporalF1
from editgrpo.metrics.text_metrics import (
    EMPTY,
    NEW_SENTENCES,
    REFERENCE_WORDS,
    REPEATED_NGRAMS,
    REPEATED_SENTENCES,
    ROUGE_L,
    WORDS,
)
from editgrpo.reports import load_annotator

_RATE = (ClinicalModel.RATE_NER, ClinicalModel.BIOLORD)
_MODELS_OF_LABELER: Mapping[str, tuple[ClinicalModel, ...]] = {
    "rules": (),
    "chexbert": (ClinicalModel.CHEXBERT,),
}
_RADGRAPH_LEVELS = {
    RadGraphLevel.SIMPLE: "F1 of entities (words and label)",
    RadGraphLevel.PARTIAL: "F1 of entities that also agree on having a relation",
    RadGraphLevel.COMPLETE: "F1 of entities with their relations and targets",
    RadGraphLevel.REXRANK: "mean of entity F1 and relation F1, as on ReXrank",
}
_RATE_VARIANTS = {
    RateVariant.V0_5_0: "RaTEScore as the paper used it",
    RateVariant.V0_6_0_LONG: "RaTEScore 0.6.0, its default",
    RateVariant.V0_6_0_SHORT: "RaTEScore 0.6.0 for short texts",
}


def _report_label_metrics(labeler: str) -> tuple[Metric, Metric, Metric]:
    """Define what a labeler says of one report."""
    models = _MODELS_OF_LABELER[labeler]
    return (
        component_metric(
            f"{labeler}/report-micro-f1-14",
            "F1 of the 14 findings of one report",
            lambda config, _: LabelF1(load_metric_labeler(labeler, config)),
            models=models,
        ),
        component_metric(
            f"{labeler}/report-balanced-accuracy-14",
            "balanced accuracy of the 14 findings of one report",
            lambda config, _: LabelBalancedAccuracy(load_metric_labeler(labeler, config)),
            models=models,
        ),
        component_metric(
            f"{labeler}/report-inverse-frequency-14",
            "agreement on findings, rare ones weighing more",
            partial(load_inverse_frequency, labeler),
            models=models,
            needs_class_rates=True,
        ),
    )


def _ratescore(variant: RateVariant, description: str) -> tuple[Metric, Metric]:
    """Define a variant of RaTEScore, and the form of it that is paid."""
    name = f"ratescore@{variant}"
    return (
        component_metric(
            name,
            description,
            lambda config, _: RateScore(load_annotator("rate", config), variant),
            models=_RATE,
            no_reward=f"pays 0.5 for a report without entities; take {name}-guarded",
        ),
        component_metric(
            f"{name}-guarded",
            "RaTEScore as it is paid",
            lambda config, _: RateScore(load_annotator("rate", config), variant, guarded=True),
            models=_RATE,
            only_reward=True,
        ),
    )


RULES_LABELS = label_metrics("rules")
_RULES_REPORT_F1, *_RULES_REWARDS = _report_label_metrics("rules")
RULES_COMPONENTS = (
    _RULES_REPORT_F1,
    component_metric(
        "entity_f1/partial@rules",
        "F1 of entities, in the manner of RadGraph-F1",
        lambda *_: EntityF1(rules_annotator()),
    ),
    component_metric(
        "entity_similarity@rules",
        "likeness of entities, in the manner of RaTEScore",
        lambda *_: EntitySimilarity(rules_annotator()),
    ),
)
RULES_AVERAGE = average_metric(
    "average/clinical@rules",
    "mean of the four F1 and the two entity scores of `rules`",
    (*RULES_LABELS[:4], *RULES_COMPONENTS[1:]),
)
RULES_TOTAL = sum_metric(
    "reward/total@rules", "sum of the three components of `rules`", RULES_COMPONENTS
)

CHEXBERT_LABELS = label_metrics("chexbert", models=_MODELS_OF_LABELER["chexbert"])
CHEXBERT_REPORT = _report_label_metrics("chexbert")
RADGRAPH = tuple(
    component_metric(
        f"radgraph/{level}@{model}",
        description,
        partial(load_radgraph, level, model),
        models=(model,),
    )
    for model in (ClinicalModel.RADGRAPH_XL, ClinicalModel.RADGRAPH)
    for level, description in _RADGRAPH_LEVELS.items()
)
RATESCORE, _RATESCORE_GUARDED = zip(
    *(_ratescore(variant, words) for variant, words in _RATE_VARIANTS.items()), strict=True
)
BERTSCORE = (
    component_metric(
        "bertscore@distilbert-base-uncased",
        "BERTScore as RadEval computes it, rescaled",
        lambda config, _: BertScore(ClinicalModel.DISTILBERT, config),
        models=(ClinicalModel.DISTILBERT,),
    ),
    component_metric(
        "bertscore@distilroberta-base",
        "BERTScore as RadCliQ-v1 needs it, rescaled",
        lambda config, _: BertScore(ClinicalModel.DISTILROBERTA, config),
        models=(ClinicalModel.DISTILROBERTA,),
    ),
)
SEMB = component_metric(
    "semb@chexbert",
    "cosine of CheXbert's embeddings of both reports",
    load_semb,
    models=(ClinicalModel.CHEXBERT,),
)
_RADCLIQ_MODELS = (ClinicalModel.RADGRAPH, ClinicalModel.DISTILROBERTA, ClinicalModel.CHEXBERT)
RADCLIQ = component_metric(
    "radcliq-v1",
    "predicted number of errors; perfect is -1.44",
    load_radcliq,
    models=_RADCLIQ_MODELS,
    direction=Direction.LOWER,
    no_reward="is an error, lower is better; take radcliq-v1-negated",
)
_RADCLIQ_NEGATED = component_metric(
    "radcliq-v1-negated",
    "RadCliQ-v1 as it is paid",
    lambda config, rates: NegatedRadCliQ(load_radcliq(config, rates)),
    models=_RADCLIQ_MODELS,
    only_reward=True,
)
GREEN = component_metric(
    "green@radllama2-7b",
    "judged by a 7B language model; slow",
    lambda config, _: GreenJudge(config),
    models=(ClinicalModel.GREEN,),
    judge="green",
    no_reward="gives 0 for an answer that it cannot read; take green@radllama2-7b-guarded",
)
_GREEN_GUARDED = component_metric(
    "green@radllama2-7b-guarded",
    "GREEN as it is paid",
    lambda config, _: GreenJudge(config, guarded=True),
    models=(ClinicalModel.GREEN,),
    judge="green",
    only_reward=True,
)
CRIMSON = component_metric(
    "crimson@judge",
    "errors weighed by their consequence, judged by a language model on a server",
    lambda config, _: CrimsonJudge(config),
    judge="crimson",
)
TEMPORAL = component_metric(
    "temporal-f1@keywords",
    "F1 of the words of change",
    lambda *_: TemporalF1(),
    no_reward="is no reward: it pays 1 wherever neither report has a word of change",
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

REXRANK_BLEU = component_metric(
    REXRANK_BLEU_2,
    "BLEU-2 of one report, smoothed, as on ReXrank",
    lambda *_: RexrankBleu2(),
    no_reward="is no reward: it counts words, whatever they say",
)

NEW = component_metric(
    NEW_SENTENCES,
    "share of sentences that repeat no earlier one",
    lambda *_: NewSentences(),
    only_reward=True,
)

# In the order of the paper's tables.
PAPER_SEVEN = (*CHEXBERT_LABELS[:4], RADGRAPH[1], RATESCORE[0], GREEN)
PAPER_AVERAGE = average_metric(
    "average/paper-7", "mean of the seven metrics of EditGRPO's tables", PAPER_SEVEN
)
PAPER_TOTAL = sum_metric(
    "reward/total@paper",
    "the paper's reward: RadGraph-F1 + CheXbert-F1 + RaTEScore (0 without entities)",
    (RADGRAPH[1], CHEXBERT_REPORT[0], _RATESCORE_GUARDED[0]),
)

TABLE: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        RULES_AVERAGE,
        RULES_TOTAL,
        *RULES_LABELS,
        *RULES_COMPONENTS,
        *_RULES_REWARDS,
        PAPER_AVERAGE,
        PAPER_TOTAL,
        *CHEXBERT_LABELS,
        *CHEXBERT_REPORT,
        *RADGRAPH,
        *RATESCORE,
        *_RATESCORE_GUARDED,
        *BERTSCORE,
        SEMB,
        RADCLIQ,
        _RADCLIQ_NEGATED,
        GREEN,
        _GREEN_GUARDED,
        CRIMSON,
        TEMPORAL,
        NEW,
        *TEXT,
        *BLEU,
        REXRANK_BLEU,
    )
}
"""Every metric by name, in the order in which lists show them."""
