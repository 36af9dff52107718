"""Reading reference reports ahead of time, so that no training run reads them again; and whether an
annotator can read them at all.

References come back in every epoch and in every run. What the clinical models find in them is kept
on disk (`clinical/store.py`); edits, rewards and metrics look there first.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.store import FactStore, open_store
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.reports.registry import ANNOTATOR_NAMES, load_annotator, load_labeler
from editgrpo.reports.types import Annotator, Labeler

READER_NAMES = ("rate", "radgraph", "chexbert")
"""The annotators and labelers whose findings are worth keeping; `rules` is faster than a disk."""

BATCH = 512
"""Distinct reports read between two reports of progress; a stopped command loses no more."""

# References looked at to tell whether an annotator can read them. A share of one half is then known
# within .12 (95 %), and RaTE-NER on a CPU takes seconds.
_SAMPLE = 64

_LOG = logging.getLogger(__name__)

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadReferences:
    """What reading the references of some studies added to the store.

    Attributes:
        reports: How many there are.
        distinct: How many of them differ.
        added: Values that the store did not have, by annotator or labeler: sentences, entities or
            reports, whatever it remembers.
        size_bytes: Size of the store's file.
    """

    reports: int
    distinct: int
    added: dict[str, int]
    size_bytes: int


def read_references(
    texts: Sequence[str],
    names: Sequence[str],
    config: ClinicalConfig,
    *,
    progress: ProgressCallback | None = None,
) -> ReadReferences:
    """Read reports with clinical models and keep what they find; what is in the store is not read
    again. Reports that an annotator finds nothing in are warned of, as `warn_of_silence` does.

    Args:
        texts: Reference reports.
        names: Of `READER_NAMES`, at least one.
        config: Names the store, which must be writable.
        progress: Called with distinct reports done and all of them, over all names.

    Returns:
        What was added.

    Raises:
        ConfigError: there is no writable store, no name, or one is unknown.
        ModelError: weights are missing.
    """
    # Before a folder is made: an empty store would later pass for one that has everything.
    _check_names(names)
    for name in names:
        _reader(name, replace(config, store=None, store_writes=False))(["No pleural effusion."])
    store = open_store(config)
    if store is None or not store.writable:
        raise ConfigError("clinical.store must name a folder, and clinical.store_writes be true")
    readers = {name: _reader(name, config) for name in names}
    distinct = list(dict.fromkeys(texts))
    added = {}
    for position, (name, read) in enumerate(readers.items()):
        before = _values(store)
        # A labeler does not say where it read nothing; `rules` stands in, it costs no time.
        is_annotator = name in ANNOTATOR_NAMES
        warn_of_silence(load_annotator(name if is_annotator else "rules", config), distinct)
        for done in _read_batches(distinct, read):
            if progress is not None:
                progress(position * len(distinct) + done, len(readers) * len(distinct))
        added[name] = _values(store) - before
    return ReadReferences(
        reports=len(texts),
        distinct=len(distinct),
        added=added,
        size_bytes=store.path.stat().st_size,
    )


def warn_of_silence(annotator: Annotator, references: Sequence[str]) -> None:
    """Warn, in one line, where an annotator finds nothing in most references: edits and rewards
    would be empty without a sign, as with reports in another language.

    Args:
        annotator: Finds entities.
        references: Reference reports; some evenly spaced ones are read, blank ones aside.
    """
    texts = [text for text in references if any(map(str.isalpha, text))]
    texts = texts[:: max(1, len(texts) // _SAMPLE)][:_SAMPLE]
    # Anatomy says nothing of a patient, and "base" and "pleural" are words of other languages too.
    found = [[e for e in r.entities if e.type.presence] for r in annotator.annotate(texts)]
    silent = sum(not entities for entities in found)
    if 2 * silent > len(texts):
        _LOG.warning(
            "annotator %s finds nothing in %d of %d references looked at (%.0f %%): annotators and "
            "labelers read English only; take English reports (such as padchest-gr --language en)",
            annotator.name,
            silent,
            len(texts),
            100 * silent / len(texts),
        )


def label_references(labeler: Labeler, texts: Sequence[str]) -> NDArray[np.uint8]:
    """Label reports, a batch at a time.

    Args:
        labeler: Assigns the 14 findings.
        texts: N reports, N at least 1.

    Returns:
        (N, 14) uint8, 1 where a finding is positive or uncertain.
    """
    starts = range(0, len(texts), BATCH)
    return np.concatenate([labeler.label(texts[start : start + BATCH]) for start in starts])


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigError(f"no annotator is named; name some of {', '.join(READER_NAMES)}")
    for name in names:
        if name in ANNOTATOR_NAMES and name not in READER_NAMES:
            raise ConfigError(
                f"{name!r} needs no annotations ahead of time; choose among "
                f"{', '.join(READER_NAMES)}"
            )
        if name not in READER_NAMES:
            raise ConfigError(f"annotator {name!r} is unknown{nearest_name(name, READER_NAMES)}")


def _reader(name: str, config: ClinicalConfig) -> Callable[[Sequence[str]], Any]:
    if name == "chexbert":
        return load_labeler(name, config).classify
    return load_annotator(name, config).annotate


def _read_batches(texts: Sequence[str], read: Callable[[Sequence[str]], Any]) -> Iterator[int]:
    """Read texts and yield how many are done."""
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        read(batch)
        yield start + len(batch)


def _values(store: FactStore) -> int:
    return sum(store.count().values())
