"""The numbers kept of every study, computed batch by batch so that a run can be stopped and taken
up again.

Scoring with large models takes hours over a test set. Numbers are appended to a hidden file as they
come; a run that was stopped goes on behind its last whole batch. Every batch starts without memory
of earlier ones, so that its numbers are to the last bit those of a run that was not stopped, and
those of a system do not depend on what was scored before it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import editgrpo
from editgrpo.clinical.memo import forget_all
from editgrpo.errors import DataError, RewardError
from editgrpo.evaluation.scoring_plan import ScoringPlan
from editgrpo.evaluation.types import Prediction, ProgressCallback
from editgrpo.files import json_line, naming, open_to_append, read_jsonl, write_jsonl
from editgrpo.foreign import scoring
from editgrpo.metrics.metric import Means, Source


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStatistics:
    """One row of numbers for each study.

    Attributes:
        values_NK: (N, K) float64, the numbers of each source of the plan beside each other.
        plan: Tells what stands in which column, and which metrics follow.
    """

    values_NK: NDArray[np.float64]
    plan: ScoringPlan

    def means(self, values: NDArray[np.float64], rare_findings: tuple[str, ...] = ()) -> Means:
        """Name the columns of means over studies, (..., K)."""
        return Means(values, self.plan.columns, rare_findings)


def study_statistics(
    predictions: Sequence[Prediction],
    plan: ScoringPlan,
    *,
    partials: Path | None = None,
    progress: ProgressCallback | None = None,
) -> StudyStatistics:
    """Score every study once.

    Args:
        predictions: N studies, N at least 1.
        plan: What to compute.
        partials: Hidden folder for what is not complete; None cannot be taken up again. Its file
            stays: the caller removes the folder when the results are written.
        progress: Called after each batch with studies done and N.

    Returns:
        Statistics with the rows in the order of `predictions`.

    Raises:
        RewardError: a scorer failed (the message holds none of its words), a number is NaN or
            infinite (it names the study), or a source gave numbers of another shape.
    """
    count = len(predictions)
    rows: list[list[float]] = []
    stream, path = None, None
    with ExitStack() as opened:
        if partials is not None:
            path = partials / f"{_fingerprint(predictions, plan)}.jsonl"
            rows = _whole_batches(path, plan.batch, count)
            # Rewritten whole first: a line that was cut off by a kill must not precede new ones.
            write_jsonl(path, ({"values": row} for row in rows))
            stream = opened.enter_context(open_to_append(path))
        for batch_NK in _batches(predictions[len(rows) :], plan):
            rows.extend(batch_NK.tolist())
            if stream is not None and path is not None:
                with naming(path):
                    stream.writelines(json_line({"values": row}) for row in batch_NK.tolist())
                    stream.flush()
            if progress is not None:
                progress(len(rows), count)
    return StudyStatistics(values_NK=np.array(rows, dtype=np.float64), plan=plan)


def _batches(predictions: Sequence[Prediction], plan: ScoringPlan) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(predictions), plan.batch):
        forget_all()
        batch = predictions[start : start + plan.batch]
        texts = [one.prediction for one in batch]
        references = [one.reference for one in batch]
        blocks = []
        for source, score in plan.scorers.items():
            with scoring(source.name or source.kind):
                block = score(texts, references)
            _check_shape(source, block, len(batch))
            is_wrong = ~np.isfinite(block).all(axis=1)
            if is_wrong.any():
                raise RewardError(
                    f"study {batch[int(is_wrong.argmax())].study_id}: {source.name or source.kind} "
                    "is NaN or infinite; check the weights, and try clinical.dtype float32"
                )
            blocks.append(block)
        yield np.concatenate(blocks, axis=1)


def _check_shape(source: Source, block: NDArray[np.float64], count: int) -> None:
    if block.shape != (count, source.width):
        raise RewardError(
            f"{source.name or source.kind}: gave numbers of shape {block.shape} for {count} "
            f"studies; ({count}, {source.width}) are needed"
        )


def _whole_batches(path: Path, batch: int, count: int) -> list[list[float]]:
    """Return the rows of the whole batches of an earlier attempt, in order."""
    if not path.exists():
        return []
    rows: list[list[float]] = []
    try:
        for _, row in read_jsonl(path):
            rows.append(row["values"])
    except DataError:
        pass  # the last line was cut off by a kill; what stands before it is whole
    return rows if len(rows) == count else rows[: len(rows) // batch * batch]


def _fingerprint(predictions: Sequence[Prediction], plan: ScoringPlan) -> str:
    """Return a digest of everything that the numbers depend on."""
    sources = [[source.kind, source.name] for source in plan.scorers]
    settings = [editgrpo.__version__, sources, sorted(plan.scored_with.items()), plan.batch]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for one in predictions:
        digest.update(json.dumps([one.study_id, one.prediction, one.reference]).encode())
    return digest.hexdigest()[:32]
