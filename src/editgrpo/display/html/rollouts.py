"""Which groups of rollouts the report shows, and what it shows of each.

A long run logs tens of thousands of rows. The first reading keeps only where each group stands, the
second reads the chosen ones.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from editgrpo.display.diff import Change, Segment
from editgrpo.display.html.runs import Row, Run, parse_line
from editgrpo.display.html.segments import cut_sentences, diff_reports

T = TypeVar("T")


@dataclass(slots=True)
class Group:
    """The logged rollouts of one study at one step of one run.

    Attributes:
        run: Index of the run in the report.
        step: Training step.
        study_id: The study.
        rules: Edit rules among the rows; empty if no edited response was logged.
        offsets: Where the rows stand in `rollouts.jsonl`, in bytes.
    """

    run: int
    step: int
    study_id: str
    rules: set[str] = field(default_factory=set)
    offsets: list[int] = field(default_factory=list)


def index_groups(path: Path, run: int) -> tuple[list[Group], int]:
    """Find the groups of one run.

    Args:
        path: `rollouts.jsonl`.
        run: Index of the run in the report.

    Returns:
        The groups by step, and the count of lines that are not whole rows.
    """
    groups: dict[tuple[int, str], Group] = {}
    broken = 0
    with path.open("rb") as stream:
        offset = 0
        for raw in stream:
            row = parse_line(raw)
            if row is not None and "step" in row and "study_id" in row and "report" in row:
                key = (int(row["step"]), str(row["study_id"]))
                group = groups.setdefault(key, Group(run, *key))
                group.offsets.append(offset)
                if (rule := _rule(row)) is not None:
                    group.rules.add(rule)
            elif raw.strip():
                broken += 1
            offset += len(raw)
    return sorted(groups.values(), key=lambda group: (group.step, group.study_id)), broken


def choose_groups(
    groups: Sequence[Group], limit: int, wanted: Sequence[tuple[int, int, str]] = ()
) -> list[Group]:
    """Choose groups so that every run and every rule is seen, from the first step to the last.

    Args:
        groups: The groups of all runs.
        limit: Most groups to choose.
        wanted: Run, step and study of groups that come before others; the first of them is among
            the chosen, and they are a quarter at most.

    Returns:
        At most `limit` groups, by run, step and study; the same for the same input.
    """
    buckets: dict[tuple[int, str], list[Group]] = defaultdict(list)
    for group in sorted(groups, key=lambda one: (one.run, one.step, one.study_id)):
        for rule in group.rules or {""}:
            buckets[group.run, rule].append(group)
    in_turn = [spread(bucket) for _, bucket in sorted(buckets.items())]
    by_key = {(one.run, one.step, one.study_id): one for one in groups}
    known = [key for key in wanted if key in by_key]
    chosen = {key: by_key[key] for key in spread(known)[: math.ceil(limit / 4)]}
    depth = 0
    while len(chosen) < limit and depth < max(map(len, in_turn), default=0):
        for bucket in in_turn:
            if depth < len(bucket) and len(chosen) < limit:
                group = bucket[depth]
                chosen[group.run, group.step, group.study_id] = group
        depth += 1
    return [chosen[key] for key in sorted(chosen)]


def spread(items: list[T]) -> list[T]:
    """Reorder a list so that every beginning of it is spread over the whole.

    Args:
        items: Any list.

    Returns:
        The same items: first, last, middle, quarters, and so on.
    """
    if len(items) < 3:
        return items
    order, seen = [0, len(items) - 1], {0, len(items) - 1}
    parts = 2
    while len(order) < len(items):
        for part in range(1, parts, 2):
            index = round(part * (len(items) - 1) / parts)
            if index not in seen:
                seen.add(index)
                order.append(index)
        parts *= 2
    return [items[index] for index in order]


def read_group(run: Run, group: Group) -> dict[str, Any]:
    """Read the rows of a group in the form that the page shows.

    Args:
        run: The run it belongs to.
        group: One of its groups.

    Returns:
        `run`, `step`, `study`, `rules`, `reference` (sentences), and `rows`, the best first.
    """
    rows = []
    if (path := run.rollouts) is not None:
        with path.open("rb") as stream:
            for offset in group.offsets:
                stream.seek(offset)
                rows.append(parse_line(stream.readline()) or {})
    rows.sort(key=lambda row: row.get("rank") != "best")
    reference = str(rows[0].get("reference", "")) if rows else ""
    sentences = cut_sentences(reference)
    return {
        "run": group.run,
        "step": group.step,
        "study": group.study_id,
        "rules": sorted(group.rules),
        "reference": sentences,
        "rows": [_shown_row(row, set(sentences)) for row in rows],
    }


def _rule(row: Row) -> str | None:
    """Return the rule of an edited response; an edited response without an edit appears twice."""
    if row.get("kind") != "edited":
        return None
    edit = row.get("edit")
    return str(edit.get("rule", "none")) if isinstance(edit, dict) else "none"


def _shown_row(row: Row, reference: set[str]) -> dict[str, Any]:
    edit = row["edit"] if isinstance(row.get("edit"), dict) else {}
    report = str(row.get("report", ""))
    known = [
        str(part.get("text", ""))
        for kind in ("removed", "inserted")
        for part in edit.get(kind) or ()
    ]
    segments = diff_reports(str(edit.get("source_report", report)), report, known)
    return {
        "rank": row.get("rank"),
        "kind": row.get("kind"),
        "rule": _rule(row),
        "reward": row.get("reward") or {},
        "advantage": row.get("advantage"),
        "sourceReward": edit.get("source_reward"),
        "entities": [[e.get("text"), e.get("type")] for e in edit.get("entities") or ()],
        "segments": [_shown_segment(segment, reference) for segment in segments],
    }


def _shown_segment(segment: Segment, reference: set[str]) -> list[Any]:
    is_verbatim = segment.change is not Change.REMOVED and segment.text in reference
    return [segment.change.value, segment.text, is_verbatim]
