"""The studies of the report's pages: their images, small enough to travel inside one file."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from editgrpo.config import Target
from editgrpo.data.prepared.boxes import Box, read_boxes
from editgrpo.data.prepared.store import PREPARED_FILE, StudySet
from editgrpo.data.prompt import choose_images
from editgrpo.data.study import Study, StudyImage, Timepoint
from editgrpo.display.html.runs import Run
from editgrpo.errors import DataError
from editgrpo.files import real_path

# Large enough to see a small effusion, small enough that 80 studies stay below 10 MB.
LONGEST_SIDE_PX = 448
JPEG_QUALITY = 80

# The most images of one study that the training default shows to the model.
MAX_IMAGES = 6


def find_studies(run: Run, studies: Path | None) -> list[Path]:
    """Find the folders that may hold the studies of a run.

    Args:
        run: The run, whose configuration names its folder of studies.
        studies: A folder of studies, or a folder of such folders, that is looked at first; or None.

    Returns:
        Prepared folders, the likeliest first.

    Raises:
        DataError: `studies` is given and holds no studies.
    """
    found = []
    if studies is not None:
        found = [path.parent for path in (studies / PREPARED_FILE,) if path.is_file()]
        found += [path.parent for path in sorted(studies.glob(f"*/{PREPARED_FILE}"))]
        if not found:
            raise DataError(f"{studies}: no {PREPARED_FILE} here or one folder below")
    data = run.config.get("data")
    named = data.get("folder") if isinstance(data, dict) else None
    if isinstance(named, str):
        # The path was relative to where the run was started, which may not be where we are now.
        bases = (Path(), run.folder, *real_path(run.folder).parents[:3])
        candidates = [base / named for base in bases]
        found += [path for path in candidates if (path / PREPARED_FILE).is_file()][:1]
    return list({real_path(path): path for path in found}.values())


class StudyCatalogue:
    """Collects the studies that the pages refer to, each once."""

    def __init__(self) -> None:
        self._sets: dict[Path, StudySet] = {}
        self._boxes: dict[Path, Mapping[str, tuple[Box, ...]]] = {}
        self._wanted: dict[str, tuple[Path, Study]] = {}

    def key(self, study_id: str, reference: str, folders: Iterable[Path]) -> str | None:
        """Find a study and remember that it is wanted.

        Two data sets may use one study id, so a study that the reference is of goes before one that
        only has the id.

        Args:
            study_id: The study.
            reference: The reference report that was used for it.
            folders: Folders of studies, the likeliest first.

        Returns:
            A key that is unique in the report, or None if no folder has the study.
        """
        found = [(one, study) for one in folders if (study := self._set(one).find(study_id))]
        if not found:
            return None
        words = reference.split()
        same = [item for item in found if any(words == text.split() for text in _texts(item[1]))]
        folder, study = (same or found)[0]
        key = f"{list(self._sets).index(folder)}/{study_id}"
        self._wanted[key] = (folder, study)
        return key

    def __len__(self) -> int:
        """Return how many studies are wanted."""
        return len(self._wanted)

    def wanted(self) -> Sequence[str]:
        """Return the keys of the studies wanted so far."""
        return list(self._wanted)

    def shown(self, key: str) -> dict[str, Any]:
        """Return a study in the form that the page shows.

        Args:
            key: A key that `key` returned.

        Returns:
            `images` [{src, view, timepoint}], `unreadable` (count) and the sections of the prompt.
        """
        folder, study = self._wanted[key]
        images, unreadable = [], 0
        for image in choose_images(study, max_images=MAX_IMAGES):
            try:
                source = image_as_uri(self._sets[folder].images.load(image.image_id))
            except DataError:
                unreadable += 1
                continue
            view, timepoint = image.view.value, image.timepoint.value
            shown = {"src": source, "view": view, "timepoint": timepoint}
            images.append(shown | self._boxes_of(folder, study, image))
        return {
            "images": images,
            "unreadable": unreadable,
            "indication": study.indication,
            "comparison": study.comparison,
            "technique": study.technique,
        }

    def _boxes_of(self, folder: Path, study: Study, image: StudyImage) -> dict[str, Any]:
        """Return size and boxes of an image as the page draws them; nothing if it has no box."""
        if folder not in self._boxes:
            self._boxes[folder] = read_boxes(folder)
        own = [
            {
                "sides": [box.left, box.top, box.right, box.bottom],
                "extra": box.is_extra,
                "text": " ".join([box.sentence, *(f"({name})" for name in box.labels)]),
            }
            for box in self._boxes[folder].get(study.study_id, ())
            if box.image_id == image.image_id and image.timepoint is Timepoint.CURRENT
        ]
        if not own:
            return {}
        height, width = self._sets[folder].images.size(image.image_id)
        return {"size": [width, height], "boxes": own}

    def _set(self, folder: Path) -> StudySet:
        if folder not in self._sets:
            self._sets[folder] = StudySet.load(folder)
        return self._sets[folder]


def _texts(study: Study) -> Iterator[str]:
    """Yield what may have been the reference of a study, by what was asked for."""
    return (replace(study, target=target).reference for target in Target)


def image_as_uri(image: Image.Image) -> str:
    """Return an image, scaled down, as a `data:` address.

    Args:
        image: Mode "L" or "RGB"; it is scaled in place.

    Returns:
        A JPEG of at most 448 pixels a side; grey images stay grey.
    """
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
