"""Films on the page: read from a file that was dropped there, or taken from a prepared set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from editgrpo.data.pixels.decode import decode_image, read_view_name
from editgrpo.data.pixels.resize import PixelBudget, resize_image
from editgrpo.data.study import StudyImage, Timepoint, View
from editgrpo.data.views import normalise_view
from editgrpo.errors import DataError, MissingExtraError


@dataclass(frozen=True, kw_only=True, slots=True)
class Film:
    """One radiograph.

    Attributes:
        name: Of its file, or its id in a set.
        image: Mode "L" or "RGB".
        view: Its projection.
        timepoint: Whether it is of the current or of the prior study.
        is_sized: Whether it has the size at which the model reads it, as films of a set have.
    """

    name: str
    image: Image.Image
    view: View
    timepoint: Timepoint
    is_sized: bool = False


def read_film(path: Path, name: str, timepoint: Timepoint) -> Film:
    """Read a film as the preparation of a data set does.

    Args:
        path: A JPEG, PNG or DICOM file, or one inside gzip.
        name: What the file is called, which `path` may not say.
        timepoint: Whether it is of the current or of the prior study.

    Returns:
        The film. Its view is what a DICOM file says, else what the name says, as in
        `lateral.png`; UNKNOWN if neither does.

    Raises:
        DataError: The file cannot be read; the message begins with `name`.
        MissingExtraError: What reads DICOM is not installed.
    """
    try:
        image = decode_image(path)
        view = normalise_view(read_view_name(path))
    except DataError as error:
        raise DataError(str(error).replace(str(path), name, 1)) from None
    except MissingExtraError as error:
        raise MissingExtraError(f"{name}: {error}") from None
    if view is View.UNKNOWN:
        view = normalise_view(Path(name).stem)
    return Film(name=name, image=image, view=view, timepoint=timepoint)


class FilmPixels:
    """The pixels of some films at the model's size, by image id.

    Args:
        films: The films.
        budget: The size that those of files shall have.

    Raises:
        DataError: A film is too long and thin (the message names it).
    """

    def __init__(self, films: Sequence[Film], budget: PixelBudget) -> None:
        self.images = tuple(
            StudyImage(image_id=f"{number}", view=film.view, timepoint=film.timepoint)
            for number, film in enumerate(films, start=1)
        )
        self._pixels: Mapping[str, NDArray[np.uint8]] = {
            image.image_id: _at_size(film, budget)
            for image, film in zip(self.images, films, strict=True)
        }

    def size(self, image_id: str) -> tuple[int, int]:
        """Return (height, width) of a film, in pixels."""
        height, width, _ = self._pixels[image_id].shape
        return height, width

    def pixels(self, image_id: str) -> NDArray[np.uint8]:
        """Return the pixels of a film.

        Args:
            image_id: Its number, from 1.

        Returns:
            (H, W, 3) uint8; a grey film has three equal channels.
        """
        return self._pixels[image_id]


def _at_size(film: Film, budget: PixelBudget) -> NDArray[np.uint8]:
    try:
        sized = film.image if film.is_sized else resize_image(film.image, budget)
    except DataError as error:
        raise DataError(f"{film.name}: {error}") from None
    return np.array(sized.convert("RGB"))
