"""Preparing a data set: which reader reads its files, and one function for all of them.

A new data set is a package with a source (where its files are) and a reader, and a row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editgrpo.data.chexpert_plus.preparation import CheXpertPlusSource, read_chexpert_plus
from editgrpo.data.folder.preparation import TableSource, read_folder
from editgrpo.data.huggingface.preparation import HuggingFaceSource, read_huggingface
from editgrpo.data.iu_xray.preparation import read_iu_xray
from editgrpo.data.iu_xray.source import IUXraySource
from editgrpo.data.mimic_cxr.preparation import MimicCXRSource, read_mimic_cxr
from editgrpo.data.padchest_gr.preparation import PadChestGRSource, read_padchest_gr
from editgrpo.data.prepare import Candidates, Inclusion, PrepareOptions, PrepareSummary, finish
from editgrpo.data.prepared.folder_state import check_place
from editgrpo.data.prepared.image_jobs import jobs_of
from editgrpo.data.prepared.workers import Progress
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.rexgradient.preparation import (
    REXGRADIENT_INCLUSION,
    ReXGradientSource,
    read_rexgradient,
)
from editgrpo.data.shortfall import check_that_one_exists
from editgrpo.data.splits import SplitRule
from editgrpo.errors import ConfigError

Source = (
    MimicCXRSource
    | ReXGradientSource
    | IUXraySource
    | PadChestGRSource
    | CheXpertPlusSource
    | TableSource
    | HuggingFaceSource
)
"""Where the files of a data set are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceKind:
    """How sources of one kind are prepared."""

    read: Callable[[Any, ReadOptions], Candidates]
    """Reads the files into candidates; opens no image."""

    originals: tuple[str, ...] = ("images",)
    """Fields of the source that may name folders of originals outside of its root; nothing is
    written in any of them."""

    inclusion: Inclusion = field(default_factory=Inclusion)
    """Which studies are kept if nothing else is asked for."""

    needs_images_to_count: bool = False
    """Whether a dry run stops if no image has a file. Reports of a published set may come first."""


SOURCES: Mapping[type, SourceKind] = {
    MimicCXRSource: SourceKind(read=read_mimic_cxr),
    ReXGradientSource: SourceKind(read=read_rexgradient, inclusion=REXGRADIENT_INCLUSION),
    IUXraySource: SourceKind(read=read_iu_xray),
    PadChestGRSource: SourceKind(read=read_padchest_gr),
    CheXpertPlusSource: SourceKind(read=read_chexpert_plus),
    # A user's own folder may hold the table, the images and what is made of them.
    TableSource: SourceKind(read=read_folder, originals=(), needs_images_to_count=True),
    HuggingFaceSource: SourceKind(
        read=read_huggingface, originals=("folder",), needs_images_to_count=True
    ),
}
"""Every kind of source; docs/data.md describes them."""


def source_kind(source: Source) -> SourceKind:
    """Return how a source is prepared.

    Args:
        source: The files.

    Returns:
        Its row of `SOURCES`.

    Raises:
        ConfigError: It is no source of this package.
    """
    try:
        return SOURCES[type(source)]
    except KeyError:
        known = ", ".join(kind.__name__ for kind in SOURCES)
        raise ConfigError(f"{type(source).__name__} is no source; give one of {known}") from None


def prepare(
    source: Source,
    output: Path | str,
    options: PrepareOptions | None = None,
    *,
    split_rule: SplitRule | None = None,
    progress: Progress | None = None,
) -> PrepareSummary:
    """Turn a data set into a folder of studies.

    Args:
        source: The files.
        output: Folder of the studies; made if missing.
        options: Which studies are kept, and how; None takes the defaults of this kind of source.
        split_rule: Used where the source gives no split; None takes its defaults.
        progress: Called as reports are read and images are made.

    Returns:
        The account of what was kept and left out.

    Raises:
        ConfigError: The output lies among the originals, or what is needed is not given.
        DataError: A file is missing or not of the documented form, a patient is in two splits,
            or no study is kept.
    """
    kind = source_kind(source)
    options = options or PrepareOptions(inclusion=kind.inclusion)
    for name in kind.originals:
        place = getattr(source, name, None)
        if place is not None:
            check_place(Path(output), place)
    require_images = options.inclusion.require_images
    how = ReadOptions(
        split_rule=split_rule or SplitRule(),
        require_images=require_images,
        images_must_exist=require_images and not options.dry_run,
        progress=progress,
    )
    candidates = kind.read(source, how)
    if options.dry_run and require_images and kind.needs_images_to_count:
        jobs = jobs_of(candidates.studies, candidates.image_files, candidates.suffixes)
        if jobs:
            check_that_one_exists(jobs)
    root = getattr(source, "root", None)
    return finish(candidates, output, options, root=root, progress=progress)
