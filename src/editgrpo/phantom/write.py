"""Write a phantom data set: a prepared folder, and the truth of it."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from editgrpo.data.prepared import folder_state
from editgrpo.data.prepared.flow import make_flow
from editgrpo.data.prepared.image_writer import ImageStoreWriter
from editgrpo.data.prepared.store import write_tables
from editgrpo.data.prepared.workers import default_workers, ordered_map
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, DataError
from editgrpo.files import real_path, write_jsonl
from editgrpo.ownership import owning
from editgrpo.phantom.findings import Finding, Kind, Progress
from editgrpo.phantom.patient_files import (
    Drawing,
    PhantomStudy,
    PlannedPatient,
    draw_patient,
    patient_course,
    planned_images,
)
from editgrpo.phantom.sites import PROFILES, Site, SiteProfile

DEFAULT_SHARES = (0.7, 0.1, 0.2)
# Patients that one process is handed at once.
_CHUNK = 8
# Below this many patients, starting worker processes costs more time than it saves.
_POOL_FROM = 150
# A phantom is written anew as a whole; there is no --resume.
_AGAIN = "give the same command again"
# More processes than this wait for the disk.
_MOST_WORKERS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSummary:
    """What was written.

    Attributes:
        studies: Number of studies.
        patients: Number of patients.
        images: Number of image files.
        with_prior: Studies that show a prior study.
        normal: Studies without any finding or device; resolved findings do not count.
        splits: Studies of each split.
        findings: Studies in which each finding is present.
    """

    studies: int
    patients: int
    images: int
    with_prior: int
    normal: int
    splits: Mapping[Split, int]
    findings: Mapping[Kind, int]


def write_phantom(
    folder: Path | str,
    *,
    studies: int,
    site: Site | SiteProfile,
    seed: int,
    size_px: int = 112,
    split_shares: tuple[float, float, float] = DEFAULT_SHARES,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PhantomSummary:
    """Write a folder of phantom studies, whole or not at all.

    Args:
        folder: Must be missing or empty.
        studies: How many; prior studies count.
        site: A built-in site, or a profile of your own.
        seed: The same seed gives the same bytes, whatever `workers` is.
        size_px: Height and width of the images, at least 32.
        split_shares: Shares of train, validation and test; a patient is in one split only.
        workers: Processes; None takes one a core (8 at most), and only this one for a small set.
        progress: Called with studies written so far and in all.

    Returns:
        Counts of what was written.

    Raises:
        ConfigError: A number is out of range, or another process writes the folder.
        DataError: The folder holds files already, or cannot be written.
    """
    folder = Path(folder)
    _check(studies, size_px, split_shares)
    if seed < 0:
        raise ConfigError(f"seed is {seed}; it must be 0 or more")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    profile = site if isinstance(site, SiteProfile) else PROFILES[site]
    with owning(folder), _whole_or_nothing(folder) as unfinished:
        drawing = Drawing(profile=profile, seed=seed, size_px=size_px)
        plan = _plan(drawing, studies, split_shares)
        writer = ImageStoreWriter(
            unfinished,
            [name for patient in plan for name in planned_images(drawing, patient)],
            remedy=_AGAIN,
        )
        drawn: list[PhantomStudy] = []
        for item in _draw_all(drawing, plan, workers):
            for film in item.films:
                writer.add(film)
            drawn.append(replace(item, films=()))
            if progress is not None:
                progress(len(drawn), studies)
        writer.finish()
        write_jsonl(unfinished / folder_state.TRUTH_FILE, (_truth_record(item) for item in drawn))
        _complete(unfinished, drawing, [item.study for item in drawn])
    return _summarise(drawn)


def _complete(folder: Path, drawing: Drawing, studies: list[Study]) -> None:
    write_tables(folder, studies)
    account = folder_state.account_of(
        dataset="phantom",
        split_rule=f"by patient, in order; site {drawing.profile.name}, seed {drawing.seed}",
        budget=drawing.budget,
        flow=make_flow(kept=studies, rejections=(), facts={}, cut={}),
        mark=f"{drawing.profile.name}-{drawing.seed}-{len(studies)}",
        redaction="",
    )
    folder_state.complete(folder, account, (), remedy=_AGAIN)


def _check(studies: int, size_px: int, split_shares: tuple[float, float, float]) -> None:
    if studies < 1:
        raise ConfigError(f"studies is {studies}; it must be at least 1")
    if size_px < 32:
        raise ConfigError(f"size_px is {size_px}; it must be at least 32 for findings to be seen")
    if min(split_shares) < 0 or abs(sum(split_shares) - 1) > 1e-6:
        raise ConfigError(f"split_shares is {split_shares}; it must be 0 or more and sum to 1")


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a folder next to the wanted one, which this process owns; rename it at the end, delete
    it on any error."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is not empty; name a new folder, or delete this one")
    unfinished = real_path(folder).with_name(f".{real_path(folder).name}.phantom.partial")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a writer that was killed left
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        os.replace(unfinished, real_path(folder))
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _plan(
    drawing: Drawing, studies: int, split_shares: tuple[float, float, float]
) -> list[PlannedPatient]:
    ends = (split_shares[0] * studies, (split_shares[0] + split_shares[1]) * studies)
    plan: list[PlannedPatient] = []
    planned = 0
    while planned < studies:
        wanted = len(patient_course(drawing, len(plan)).findings)
        n_studies = min(wanted, studies - planned)
        # A patient belongs to the split in which the middle of their studies falls.
        middle = planned + n_studies / 2
        split = tuple(Split)[sum(middle > end for end in ends)]
        plan.append(PlannedPatient(len(plan), n_studies, split))
        planned += n_studies
    return plan


def _draw_all(
    drawing: Drawing, plan: list[PlannedPatient], workers: int | None
) -> Iterator[PhantomStudy]:
    if workers is None:
        workers = min(default_workers(), _MOST_WORKERS) if len(plan) >= _POOL_FROM else 1
    for patient in ordered_map(partial(draw_patient, drawing), plan, workers=workers, chunk=_CHUNK):
        yield from patient


def _truth_record(item: PhantomStudy) -> dict[str, Any]:
    return {
        "study_id": item.study.study_id,
        "findings": [_finding_record(finding) for finding in item.findings],
        "labels": list(item.labels),
    }


def _finding_record(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "size": finding.size.name.lower(), "offset": list(finding.offset)}


def _summarise(written: list[PhantomStudy]) -> PhantomSummary:
    present = [
        {f.kind for f in item.findings if f.progress is not Progress.RESOLVED} for item in written
    ]
    images = {image.image_id for item in written for image in item.study.images}
    kinds = Counter(kind for found in present for kind in found)
    splits = Counter(item.study.split for item in written)
    firsts = len({item.study.patient_id for item in written})
    return PhantomSummary(
        studies=len(written),
        patients=firsts,
        images=len(images),
        with_prior=len(written) - firsts,
        normal=sum(not found for found in present),
        splits={split: splits[split] for split in Split},
        findings={kind: kinds[kind] for kind in Kind},
    )
