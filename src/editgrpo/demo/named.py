"""What edits name that no sampled response of their group does: what they are for."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from editgrpo.files import read_jsonl
from editgrpo.metrics.check import read_labels
from editgrpo.reports import load_labeler
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.training.run.folder import append_line
from editgrpo.training.step.responses import Kind
from editgrpo.training.step.scoring import ScoredGroup

FILE = "named-by-edits.jsonl"
_LABELER = "rules"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedByEdit:
    """A study at a step whose edits named a finding.

    Attributes:
        step: Training step, from 1.
        study_id: The study.
        finding: What the reference and an edited response name, and no sampled response.
        reference: The reference.
        sampled: The rollout of that response.
        edited: The response.
        gain: Reward of the edited response above that of its rollout.
    """

    step: int
    study_id: str
    finding: str
    reference: str
    sampled: str
    edited: str
    gain: float


def naming_recorder(
    run: Path, findings: Sequence[str]
) -> Callable[[int, Sequence[ScoredGroup]], None]:
    """Return what notes, at each step, the studies of which edits name what no sample does.

    Args:
        run: The run folder; `named-by-edits.jsonl` there gets a row for each.
        findings: Those of interest, by their CheXpert names.

    Returns:
        For `run_training(on_groups=...)`.
    """

    def record(step: int, groups: Sequence[ScoredGroup]) -> None:
        for group in groups:
            found = None if group.is_dropped else _named(step, group, findings)
            if found is not None:
                append_line(run / FILE, asdict(found))

    return record


def _named(step: int, scored: ScoredGroup, findings: Sequence[str]) -> NamedByEdit | None:
    responses = scored.group.responses
    edits = [
        (number, one.source)
        for number, one in enumerate(responses)
        if one.kind is Kind.EDITED and one.source is not None
    ]
    if not edits:
        return None
    texts = [scored.group.reference, *(response.text for response in responses)]
    labels = read_labels(load_labeler(_LABELER), texts).astype(bool)
    sampled = [1 + n for n, one in enumerate(responses) if one.kind is Kind.SAMPLED]
    for finding in findings:
        says = labels[:, FINDINGS.index(finding)]
        if not says[0] or says[sampled].any():
            continue
        for number, source in edits:
            if says[1 + number]:
                return NamedByEdit(
                    step=step,
                    study_id=scored.group.study_id,
                    finding=finding,
                    reference=scored.group.reference,
                    sampled=responses[source].text,
                    edited=responses[number].text,
                    gain=scored.totals_G[number] - scored.totals_G[source],
                )
    return None


def named_by_edits(run: Path) -> list[NamedByEdit]:
    """Read what `naming_recorder` wrote.

    Args:
        run: The run folder.

    Returns:
        The rows by step; none where none was written. A step that a resumed run took twice counts
        once.
    """
    path = run / FILE
    if not path.is_file():
        return []
    rows = [NamedByEdit(**row) for _, row in read_jsonl(path)]
    return [*{(one.step, one.study_id): one for one in rows}.values()]
