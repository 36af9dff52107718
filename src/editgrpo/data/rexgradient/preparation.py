"""ReXGradient-160K: the metadata with view positions, and the images of `deid_png`.

Left out: the two smaller forms of the metadata, which lack views or image paths, and the boxes of
interstitial patterns. The reports have no TECHNIQUE, and the set names no prior studies.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.config import Target
from editgrpo.data.prepare import Candidates, Inclusion
from editgrpo.data.prepared.flow import with_sections
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.priors import attach_priors
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.rexgradient.files import (
    METADATA_NAMES,
    find_images,
    find_metadata,
    read_metadata,
)
from editgrpo.data.rexgradient.records import ListedImage, Record
from editgrpo.data.study import Split, Study, StudyImage
from editgrpo.data.views import normalise_view
from editgrpo.errors import ConfigError

REXGRADIENT_INCLUSION = Inclusion(most_current=6)
"""Studies with more than six images are left out, as in the paper (Data)."""

_CHEST = ("CHEST", "THORAX", "LUNG")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReXGradientSource:
    """Where the files of ReXGradient-160K are, and what is made of them."""

    root: Path
    """The folder that holds `metadata`, and `deid_png` unless `images` says otherwise."""

    images: Path | None = None
    """`deid_png`, or the folder that holds it, if it lies elsewhere."""

    longitudinal: bool = False
    """Show the images of the patient's most recent earlier study.

    The set names no prior studies and the paper shows none; they are found by PatientID and
    StudyDate.
    """

    splits: tuple[Split, ...] = tuple(Split)
    """Which of the three metadata files are read; each of them must be there."""

    def __post_init__(self) -> None:
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise ConfigError("splits must be one or more of train, validation, test, each once")


def read_rexgradient(source: ReXGradientSource, how: ReadOptions | None = None) -> Candidates:
    """Read the metadata into studies; no image is opened.

    Args:
        source: The files.
        how: Whether a missing folder of images is an error; None takes the defaults.

    Returns:
        Every study that could be put together, and why others could not.

    Raises:
        DataError: A file is missing or not of the documented form, or a study appears twice.
    """
    how = how or ReadOptions()
    metadata = find_metadata(source.root, source.splits)
    folder = find_images(source.root, source.images, metadata, must_exist=how.images_must_exist)
    records: list[Record] = []
    rejections: list[Rejection] = []
    for record in read_metadata(metadata):
        if isinstance(record, Rejection):
            rejections.append(record)
        else:
            records.append(record)
            rejections += record.rejections
    names = _ImageNames(records)
    unrecognised: Counter[str] = Counter()
    studies = [_with_images(record, names, unrecognised) for record in records]
    facts = _facts(records)
    if source.longitudinal:
        studies = attach_priors(studies)
    return Candidates(
        dataset="rexgradient",
        images_option="--images",
        studies=studies,
        image_files={
            names.image_id(record.study.study_id, image): f"{folder}/{image.path}"
            for record in records
            for image in record.images
        },
        split_rule="official: " + ", ".join(METADATA_NAMES[split] for split in source.splits),
        rejections=rejections,
        facts=facts,
        unrecognised_views=unrecognised,
    )


class _ImageNames:
    """Short names for images: the SopInstanceUid that is the file's stem.

    It should be unique in the world. Where two files share one all the same, both are named by
    their study too.
    """

    def __init__(self, records: list[Record]) -> None:
        path_of_stem: dict[str, str] = {}
        self._shared = {
            image.stem
            for record in records
            for image in record.images
            if path_of_stem.setdefault(image.stem, image.path) != image.path
        }

    def image_id(self, study_id: str, image: ListedImage) -> str:
        """Return the name of an image, unique in the set."""
        return f"{study_id}/{image.stem}" if image.stem in self._shared else image.stem


def _with_images(record: Record, names: _ImageNames, unrecognised: Counter[str]) -> Study:
    study = record.study
    return replace(
        study,
        images=tuple(
            StudyImage(
                image_id=names.image_id(study.study_id, image),
                view=normalise_view(image.view, unrecognised=unrecognised),
            )
            for image in record.images
        ),
    )


def _facts(records: list[Record]) -> dict[str, Counter[Split]]:
    """Count what the source holds; rows that are all zero say nothing and are left out."""
    facts: dict[str, Counter[Split]] = {
        **with_sections((r.study for r in records), Target.FINDINGS, Target.IMPRESSION),
        "with a body part other than the chest": Counter(
            r.study.split for r in records if any(_is_elsewhere(part) for part in r.body_parts)
        ),
        "without a study date": Counter(r.study.split for r in records if not r.study.time),
    }
    return {name: counts for name, counts in facts.items() if counts}


def _is_elsewhere(body_part: str) -> bool:
    # Kept all the same: the reports describe the chest, and the field is typed in by hand.
    return bool(body_part) and not any(name in body_part.upper() for name in _CHEST)
