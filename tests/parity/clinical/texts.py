"""Reports on which implementations are compared: real ones, and the awkward ones."""

import csv
from functools import cache

from tests.builders import shared_data
from tests.checkpoints.corpus import SENTENCES

AWKWARD = (
    "",
    " \n ",
    "normal",
    ".",
    "Naïve café: 5 µm — 心 ≥ 2\u00a0cm\u2003🫁",
    "The heart\n\nis  \t normal.\r\nNo effusion. ",
    " ".join(SENTENCES * 4),  # over 600 tokens
    "a " * 510,  # as long as fits, with [CLS] and [SEP]
    "a " * 511,
    "[SEP] effusion </s>",
)


@cache
def iu_findings(count: int) -> tuple[str, ...]:
    """Return the first findings sections of IU X-Ray that are not empty; skip without the data."""
    path = shared_data() / "iu_xray" / "indiana_reports.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        found = [row["findings"] for row in csv.DictReader(stream) if row["findings"].strip()]
    return tuple(found[:count])


def report_pairs() -> tuple[list[str], list[str]]:
    """Return candidates and references: real reports against their neighbours and themselves, and
    each awkward one against itself, the next, and a real one."""
    real = list(iu_findings(16))
    candidates = [*real, *real[:4], *AWKWARD, *AWKWARD, *AWKWARD, *real[:3]]
    references = [*real[1:], real[0], *real[:4], *AWKWARD, *AWKWARD[1:], AWKWARD[0]]
    references += [*real[: len(AWKWARD)], *AWKWARD[:3]]
    assert len(candidates) == len(references)
    return candidates, references
