"""What a report is worth against a reference: the edit, and metrics and reward before and after."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from editgrpo.config import ClinicalConfig, RewardConfig, Section, Target
from editgrpo.display.diff import Segment, diff_step
from editgrpo.edits import Edit, edit_report
from editgrpo.edits.rules import RULE_OF
from editgrpo.evaluation.scored_texts import scored_texts
from editgrpo.evaluation.scoring_plan import ScoringPlan, load_plan
from editgrpo.evaluation.statistics import study_statistics
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from editgrpo.metrics.metric import Direction, Level, Metric
from editgrpo.reports import load_annotator
from editgrpo.reports.headings import section_texts, with_headings
from editgrpo.reports.sectioned import annotator_of_target
from editgrpo.reports.types import AnnotatedReport
from editgrpo.rewards import load_reward
from editgrpo.rewards.sectioned import reward_of_target


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """A way to score.

    Attributes:
        reward: Name for `load_reward`.
        metrics: Names for `select_metrics`.
        annotator: Name for `load_annotator`; it reads the reports for the edit.
    """

    reward: str
    metrics: tuple[str, ...]
    annotator: str


RULES = "rules"
SCORINGS: Mapping[str, Scoring] = {
    RULES: Scoring(reward="rules", metrics=("rules",), annotator="rules"),
    "paper": Scoring(reward="paper", metrics=("paper", "text"), annotator="rate"),
}
"""Ways to score by name: offline, and with the clinical models of the paper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """One number of a report and of its edited version.

    Attributes:
        name: Of the reward, of a component or of a metric.
        report: Of the report as it was written.
        edited: Of its edited version.
        direction: Which values are better.
    """

    name: str
    report: float
    edited: float
    direction: Direction = Direction.HIGHER


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A report against a reference.

    Attributes:
        rule: The rule that the edit applied; `none` if there was nothing to edit.
        meaning: The rule in one sentence; empty for `none`.
        cause: What the entities are, such as `spurious`.
        entities: (text, type) of what caused the edit.
        sentences: Every sentence of before and after, in reading order.
        reward: The total reward.
        components: What it sums.
        metrics: The other metrics that have a value for one report.
    """

    rule: str
    meaning: str
    cause: str
    entities: tuple[tuple[str, str], ...]
    sentences: tuple[Segment, ...]
    reward: ScoreRow
    components: tuple[ScoreRow, ...]
    metrics: tuple[ScoreRow, ...]


class Judge:
    """Scores reports in one way; what it needs is loaded here.

    Args:
        scoring: The way.
        clinical: Where the clinical models lie and how they run.
        target: What reports and references hold; both sections are edited and scored one by one.

    Raises:
        ModelError: weights are missing; it names the command that gets them.
    """

    def __init__(
        self, scoring: Scoring, clinical: ClinicalConfig, target: Target = Target.FINDINGS
    ) -> None:
        self._reward = reward_of_target(load_reward(scoring.reward, clinical=clinical), target)
        self._annotator = annotator_of_target(load_annotator(scoring.annotator, clinical), target)
        self._target = target
        self._plan: ScoringPlan = load_plan(EvaluationOptions(metrics=scoring.metrics), clinical)
        known = set(self._reward.component_names)
        self._metrics: tuple[Metric, ...] = tuple(
            metric
            for metric in self._plan.metrics
            if metric.level is Level.REPORT and metric.name not in known
        )

    def judge(self, reports: Sequence[str], reference: str) -> list[Judgement]:
        """Edit reports of one study once, as the paper does, and score them.

        Args:
            reports: N reports.
            reference: The reference report of the study.

        Returns:
            N judgements.

        Raises:
            RewardError: a scorer fails.
        """
        *rollouts, target = self._annotator.annotate([*reports, reference])
        edits = [edit_report(one, target, rng=random.Random(0)) for one in rollouts]
        texts = [*reports, *(one.report.text for one in edits)]
        rewards = self._reward.score(texts, [reference] * len(texts))
        metrics = self._metric_values(texts, reference)
        count = len(edits)

        def row(name: str, values: Sequence[float], k: int, better: Direction) -> ScoreRow:
            before, after = float(values[k]), float(values[k + count])
            return ScoreRow(name=name, report=before, edited=after, direction=better)

        found = []
        for k, (one, rollout) in enumerate(zip(edits, rollouts, strict=True)):
            components = tuple(
                row(name, values.tolist(), k, Direction.HIGHER)
                for name, values in rewards.components.items()
            )
            others = tuple(
                row(metric.name, metrics[metric.name], k, metric.direction)
                for metric in self._metrics
            )
            total = row(self._reward.name, rewards.total.tolist(), k, Direction.HIGHER)
            found.append(_judgement(one, rollout, target, total, components, others))
        return found

    def _metric_values(self, texts: Sequence[str], reference: str) -> dict[str, list[float]]:
        pairs = [
            Prediction(study_id=str(k), prediction=text, reference=reference, target=self._target)
            for k, text in enumerate(texts)
        ]
        scored = scored_texts(pairs, None, where="the page")
        statistics = study_statistics(scored, self._plan)
        means = statistics.means(statistics.values_NK)
        return {
            metric.name: np.broadcast_to(metric.formula(means), len(texts)).tolist()
            for metric in self._metrics
        }


def sections_under_headings(findings: str, impression: str) -> str:
    """Write the sections that are there as one text; findings alone need no heading."""
    if not impression:
        return findings
    return with_headings(findings, impression) if findings else f"IMPRESSION: {impression}"


def text_of_target(reference: str, target: Target) -> str:
    """Return what a reference says of a target.

    Args:
        reference: A report that may hold both sections, see `read_passages`.
        target: What a model writes.

    Returns:
        The section, empty if it is missing; for both sections the text as it is.
    """
    if target is Target.BOTH:
        return reference
    return section_texts(reference)[Section(target.value)]


def available_scorings(clinical: ClinicalConfig) -> list[str]:
    """Say in which ways reports can be scored here: `rules`, and those whose models are fetched.

    Args:
        clinical: Where the models lie.

    Returns:
        Names in `SCORINGS`.
    """
    return [name for name, scoring in SCORINGS.items() if _is_here(scoring, clinical)]


def _is_here(scoring: Scoring, clinical: ClinicalConfig) -> bool:
    from editgrpo.clinical.sources import find_source
    from editgrpo.clinical.status import ModelState, model_status
    from editgrpo.evaluation.catalogue import select_metrics
    from editgrpo.reports.registry import annotator_models
    from editgrpo.rewards.registry import reward_models

    models = {
        *reward_models(RewardConfig(name=scoring.reward)),
        *annotator_models(scoring.annotator),
        *(model for metric in select_metrics(scoring.metrics) for model in metric.models),
    }
    states = {model_status(find_source(model, clinical)).state for model in models}
    return states <= {ModelState.PRESENT, ModelState.TOUCHED}


def _judgement(
    edit: Edit,
    rollout: AnnotatedReport,
    target: AnnotatedReport,
    reward: ScoreRow,
    components: tuple[ScoreRow, ...],
    metrics: tuple[ScoreRow, ...],
) -> Judgement:
    step = edit.steps[0] if edit.steps else None
    rule = RULE_OF[step.rule] if step is not None else None
    before = [sentence.text for sentence in rollout.sentences]
    return Judgement(
        rule=edit.rule.value,
        meaning=rule.sentence if rule is not None else "",
        cause=rule.cause if rule is not None else "",
        entities=tuple((e.text, str(e.type)) for e in step.causes) if step is not None else (),
        sentences=tuple(diff_step(step, before, target)) if step is not None else (),
        reward=reward,
        components=components,
        metrics=metrics,
    )
