"""What a training step records: its metrics, and its best and worst responses.

The names of the metrics are explained in docs/report.md. All values are plain numbers; formatting
is in `display`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from editgrpo.edits import EditRule, Origin
from editgrpo.training.step.responses import SHORTENED, Kind, Response
from editgrpo.training.step.scoring import SAME_REWARD, ScoredGroup, teaches_nothing

_LOG = logging.getLogger(__name__)

_TREATMENTS = (
    *(rule.value for rule in EditRule if rule is not EditRule.NONE),
    SHORTENED,
    EditRule.NONE.value,
)


# TRL's name, or that of our KL term, to ours.
_LOSS_METRICS = {
    "kl": "kl",
    "kl_capped_share": "kl_capped_share",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_share",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseRow:
    """The numbers of one response, small enough to be gathered over processes."""

    kind: Kind
    total: float
    components: dict[str, float]
    advantage: float
    length: int
    is_truncated: bool
    treatment: str | None
    """For an edited response: the rule that applied, or `SHORTENED`."""
    gain: float
    """Reward of an edited response above that of its source; 0 for the others."""
    is_unused_edit: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRows:
    """The numbers of one group."""

    is_dropped: bool
    rows: tuple[ResponseRow, ...]


def group_rows(scored: ScoredGroup) -> GroupRows:
    """Reduce a scored group to its numbers."""
    if scored.is_dropped:
        return GroupRows(is_dropped=True, rows=())
    return GroupRows(
        is_dropped=False,
        rows=tuple(
            _response_row(scored, index, response)
            for index, response in enumerate(scored.group.responses)
        ),
    )


def _response_row(scored: ScoredGroup, index: int, response: Response) -> ResponseRow:
    gain = 0.0
    if response.source is not None:
        gain = scored.totals_G[index] - scored.totals_G[response.source]
    return ResponseRow(
        kind=response.kind,
        total=scored.totals_G[index],
        components={name: values[index] for name, values in scored.components.items()},
        advantage=scored.advantages_G[index],
        length=len(response.token_ids),
        is_truncated=response.is_truncated,
        treatment=response.treatment,
        gain=gain,
        is_unused_edit=response.is_unused_edit,
    )


def step_metrics(groups: Sequence[GroupRows]) -> dict[str, float]:
    """Compute the metrics of one step from all groups of all processes.

    Args:
        groups: The groups of the step, in prompt order.

    Returns:
        Metric name to value; a metric without any response to measure is left out.
    """
    kept = [group for group in groups if not group.is_dropped]
    rows = [row for group in kept for row in group.rows]
    metrics: dict[str, float] = {"errors/dropped_groups": float(len(groups) - len(kept))}
    _put_mean(metrics, "reward/all/mean", (row.total for row in rows))
    for kind in Kind:
        by_group = ([row for row in group.rows if row.kind is kind] for group in kept)
        of_kind_PG = [of_kind for of_kind in by_group if of_kind]  # not every group is edited
        if of_kind_PG:
            metrics |= _kind_metrics(kind, of_kind_PG)
    if rows:
        metrics["zero_advantage_groups"] = fmean(map(_teaches_nothing, kept))
        metrics["advantage/std"] = stdev(row.advantage for row in rows) if len(rows) > 1 else 0.0
    metrics |= _edit_metrics([row for row in rows if row.kind is Kind.EDITED])
    return metrics


def _teaches_nothing(group: GroupRows) -> bool:
    return teaches_nothing([row.total for row in group.rows], [row.advantage for row in group.rows])


def _put_mean(metrics: dict[str, float], name: str, values: Iterable[float]) -> None:
    numbers = list(values)
    if numbers:
        metrics[name] = fmean(numbers)


def _kind_metrics(kind: Kind, rows_PG: Sequence[Sequence[ResponseRow]]) -> dict[str, float]:
    rows = [row for group in rows_PG for row in group]
    metrics = {f"reward/{kind}/mean": fmean(row.total for row in rows)}
    if len(rows_PG) > 1:
        # Responses of one prompt are not independent: the error is that of the prompts' means.
        means = [fmean(row.total for row in group) for group in rows_PG]
        metrics[f"reward/{kind}/se"] = stdev(means) / len(means) ** 0.5
    for name in rows[0].components:
        metrics[f"reward/{kind}/{name}"] = fmean(row.components[name] for row in rows)
    metrics[f"advantage/{kind}/mean"] = fmean(row.advantage for row in rows)
    metrics[f"length/{kind}/mean"] = fmean(row.length for row in rows)
    if kind is Kind.SAMPLED:
        metrics["truncated_share"] = fmean(row.is_truncated for row in rows)
    return metrics


def _edit_metrics(rows: Sequence[ResponseRow]) -> dict[str, float]:
    if not rows:
        return {}
    metrics: dict[str, float] = {}
    for treatment in _TREATMENTS:
        treated = [row for row in rows if row.treatment == treatment]
        metrics[f"edits/{treatment}"] = len(treated) / len(rows)
        if treatment != EditRule.NONE:
            _put_mean(metrics, f"edit_gain/{treatment}", (row.gain for row in treated))
    changed = [row for row in rows if row.treatment != EditRule.NONE]
    _put_mean(metrics, "edits/raised", (row.gain > SAME_REWARD for row in changed))
    metrics["edits/unused"] = sum(row.is_unused_edit for row in changed) / len(rows)
    return metrics


def loss_metrics(
    collected: Mapping[str, Sequence[float]], tokens: Sequence[float]
) -> dict[str, float]:
    """Take what the loss collected pass by pass to metrics of the step.

    Args:
        collected: TRL's name to a value a pass, a mean over the tokens of the pass.
        tokens: How many tokens each pass has, over all processes.

    Returns:
        Our name to the mean over the tokens of the step; what was not collected is left out.
    """
    return {
        ours: fmean(collected[theirs], weights=tokens)
        for theirs, ours in _LOSS_METRICS.items()
        if collected.get(theirs) and any(tokens)
    }


class UnusedEdits:
    """Tells, once a run, that the length limit leaves most edits of a step unused.

    Args:
        max_tokens: Most tokens of a response.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._is_told = False

    def look(self, groups: Sequence[GroupRows]) -> None:
        """Warn if most edits of a step were not used.

        Args:
            groups: The groups of the step, of all processes.
        """
        rows = [row for group in groups for row in group.rows if row.kind is Kind.EDITED]
        edits = [row for row in rows if row.treatment != EditRule.NONE]
        unused = sum(row.is_unused_edit for row in edits)
        if self._is_told or 2 * unused <= len(edits):
            return
        self._is_told = True
        _LOG.warning(
            "%d of %d edits pass the limit of %d tokens and were not used; raise "
            "rollout.max_completion_tokens",
            unused,
            len(edits),
            self._max_tokens,
        )


def rollout_records(step: int, scored: ScoredGroup) -> list[dict[str, Any]]:
    """Describe the best and the worst response of a group, with the edit that made it.

    Args:
        step: The training step.
        scored: The group.

    Returns:
        Two rows for `rollouts.jsonl`, one if all rewards are equal, none if the group was dropped.
    """
    if scored.is_dropped:
        return []
    order = sorted(range(len(scored.totals_G)), key=lambda index: -scored.totals_G[index])
    best, worst = order[0], order[-1]
    chosen = [("best", best)]
    if scored.totals_G[best] - scored.totals_G[worst] > SAME_REWARD:
        chosen.append(("worst", worst))
    return [_rollout_record(step, scored, rank, index) for rank, index in chosen]


def _rollout_record(step: int, scored: ScoredGroup, rank: str, index: int) -> dict[str, Any]:
    response = scored.group.responses[index]
    return {
        "step": step,
        "study_id": scored.group.study_id,
        "reference": scored.group.reference,
        "rank": rank,
        "kind": response.kind.value,
        "index": index,
        "report": response.text,
        "reward": _reward_record(scored, index),
        "advantage": scored.advantages_G[index],
        "edit": _edit_record(scored, response),
    }


def _reward_record(scored: ScoredGroup, index: int) -> dict[str, float]:
    parts = {name: values[index] for name, values in scored.components.items()}
    return {"total": scored.totals_G[index], **parts}


def _edit_record(scored: ScoredGroup, response: Response) -> dict[str, Any] | None:
    edit = response.edit
    if edit is None or response.treatment == EditRule.NONE or response.is_unused_edit:
        return None  # the response is the rollout itself
    assert response.source is not None and response.before is not None  # an edited one has both
    source = scored.group.responses[response.source]
    before = [sentence.text for sentence in response.before.sentences]
    kept = {s.position for s in edit.sources if s.origin is Origin.ROLLOUT}
    return {
        "rule": response.treatment,
        "source_report": source.text,
        "source_reward": _reward_record(scored, response.source),
        "removed": [
            {"position": position, "text": text}
            for position, text in enumerate([*before, response.unfinished])
            if position not in kept and text
        ],
        "inserted": [
            {"position": position, "text": edit.report.sentences[position].text}
            for position, source in enumerate(edit.sources)
            if source.origin is Origin.REFERENCE
        ],
        "entities": [
            {"text": entity.text, "type": str(entity.type)}
            for step in edit.steps
            for entity in step.causes
        ],
    }
