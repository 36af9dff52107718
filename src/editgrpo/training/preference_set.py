"""A preference set for DPO: an edited report is chosen, the rollout that it was made from rejected.

The file is a Parquet table in TRL's conversational format with images, for TRL's DPOTrainer
(docs/adapters.md). Left out on purpose: where pairs come from (pairs.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from editgrpo.config import DataConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import build_messages
from editgrpo.errors import DataError
from editgrpo.files import replacing

Progress = Callable[[int, int], None]

# Rows that are in memory at a time, with their images.
_ROWS = 64

_PARTS = [{"type": datasets.Value("string"), "text": datasets.Value("string")}]
_MESSAGES = [{"role": datasets.Value("string"), "content": _PARTS}]
FEATURES = datasets.Features(
    {
        "prompt": _MESSAGES,
        "chosen": _MESSAGES,
        "rejected": _MESSAGES,
        "images": datasets.Sequence(datasets.Image()),
        "study_id": datasets.Value("string"),
        "rule": datasets.Value("string"),
        "chosen_reward": datasets.Value("float64"),
        "rejected_reward": datasets.Value("float64"),
    }
)
"""The columns. `prompt`, `chosen`, `rejected` and `images` are TRL's; images are embedded PNG."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """An edited report and its rollout.

    Attributes:
        study_id: What they were written for.
        chosen: The edited report.
        rejected: The rollout.
        rule: What was done to the rollout.
        chosen_reward: Reward of the edited report.
        rejected_reward: That of the rollout.
    """

    study_id: str
    chosen: str
    rejected: str
    rule: str
    chosen_reward: float
    rejected_reward: float

    @property
    def gain(self) -> float:
        """What the edit gained."""
        return self.chosen_reward - self.rejected_reward


def write_preference_set(
    path: Path,
    pairs: Sequence[Pair],
    studies: StudySet,
    data: DataConfig,
    progress: Progress | None = None,
) -> None:
    """Write pairs with their prompts and images, whole or not at all.

    Args:
        path: The Parquet file, its owner's alone.
        pairs: The pairs.
        studies: Holds their studies.
        data: How a study is shown.
        progress: Called with (pairs written, pairs in all).

    Raises:
        DataError: the set does not hold a study or an image of it.
        ConfigError: the prompt template cannot be used.
        StorageError: there is no room.
    """
    schema = FEATURES.arrow_schema
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for start in range(0, len(pairs), _ROWS):
            some = pairs[start : start + _ROWS]
            rows = list(_rows(some, studies, data))
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            if progress is not None:
                progress(start + len(some), len(pairs))


def _rows(
    pairs: Sequence[Pair], studies: StudySet, data: DataConfig
) -> Iterator[Mapping[str, Any]]:
    for pair in pairs:
        study = studies.find(pair.study_id)
        if study is None:
            raise DataError(
                f"{data.folder}: holds no study {pair.study_id!r}; name the set that the reports "
                "were written for with --studies"
            )
        prompt = build_messages(study, max_images=data.max_images, template=data.prompt_template)
        row = asdict(pair)
        yield row | {
            "prompt": prompt.messages,
            "chosen": _answer(pair.chosen),
            "rejected": _answer(pair.rejected),
            "images": [
                {"bytes": studies.images.png(one.image_id), "path": f"{one.image_id}.png"}
                for one in prompt.images
            ],
        }


def _answer(report: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": report}]}]
