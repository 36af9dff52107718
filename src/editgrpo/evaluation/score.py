"""Scoring a file of predictions with a reward, study by study, so that it can be stopped and taken
up again.

Rewards with large models take hours over a test set. Scores are appended to a hidden file as they
come; the final file appears when the last study is scored.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import read_predictions
from editgrpo.evaluation.statistics import BATCH
from editgrpo.evaluation.types import Prediction, ProgressCallback
from editgrpo.files import json_line, read_jsonl, write_jsonl
from editgrpo.rewards import Reward, load_reward

StudyScores = Mapping[str, Any]
"""`study_id` and the value of the total and of each component."""


def score_file(
    path: Path,
    *,
    output: Path,
    reward: str = "rules",
    weights: Mapping[str, float] | None = None,
    progress: ProgressCallback | None = None,
) -> list[StudyScores]:
    """Score every study of a file of predictions.

    A run that was stopped goes on where it ended, if predictions, reward and weights are the same;
    else it starts anew.

    Args:
        path: `predictions.jsonl`.
        output: JSON lines to write, one study a line in the order of `path`.
        reward: Name for `load_reward`.
        weights: Component name to weight of the total; a component left out keeps 1.
        progress: Called with studies scored and all studies.

    Returns:
        The lines of `output`: study_id, `reward/total@<reward>`, then the components.

    Raises:
        DataError: the predictions do not have the documented form.
        ConfigError: the reward or a component is unknown, or a weight is out of range.
        RewardError: a component is NaN or infinite.
    """
    predictions = read_predictions(path)
    scorer = load_reward(reward, weights)
    partial = output.with_name(f".{output.name}.partial")
    run = {"run": _fingerprint(predictions, reward, weights or {})}
    rows = _resumed(partial, run)
    output.parent.mkdir(parents=True, exist_ok=True)
    # Rewritten whole first: a line that was cut off by a kill must not precede new ones.
    write_jsonl(partial, [run, *rows])
    with partial.open("a", encoding="utf-8", newline="\n") as stream:
        for batch in _score_batches(predictions[len(rows) :], scorer):
            rows.extend(batch)
            stream.writelines(json_line(row) for row in batch)
            stream.flush()
            if progress is not None:
                progress(len(rows), len(predictions))
    write_jsonl(output, rows)
    partial.unlink()
    return rows


def _score_batches(
    predictions: Sequence[Prediction], reward: Reward
) -> Iterator[list[dict[str, Any]]]:
    """Score studies a batch at a time."""
    for start in range(0, len(predictions), BATCH):
        batch = predictions[start : start + BATCH]
        scores = reward.score([one.prediction for one in batch], [one.reference for one in batch])
        columns = {f"reward/total@{reward.name}": scores.total, **scores.components}
        yield [
            {
                "study_id": one.study_id,
                **{name: float(values[k]) for name, values in columns.items()},
            }
            for k, one in enumerate(batch)
        ]


def _resumed(partial: Path, run: Mapping[str, str]) -> list[StudyScores]:
    """Return the whole lines of an earlier attempt at the same run, in order."""
    if not partial.exists():
        return []
    rows: list[StudyScores] = []
    try:
        for _, row in read_jsonl(partial):
            rows.append(row)
    except DataError:
        pass  # the last line was cut off by a kill; what stands before it is whole
    return rows[1:] if rows and rows[0] == run else []


def _fingerprint(
    predictions: Sequence[Prediction], reward: str, weights: Mapping[str, float]
) -> str:
    """Return a digest of everything that the scores depend on but the code."""
    digest = hashlib.sha256(json.dumps([reward, sorted(weights.items())]).encode())
    for one in predictions:
        digest.update(json.dumps([one.study_id, one.prediction, one.reference]).encode())
    return digest.hexdigest()
