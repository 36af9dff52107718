"""From the originals of a set to its image store: decode, resize, encode, in several processes."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from editgrpo.data.pixels.decode import decode_image
from editgrpo.data.pixels.resize import PixelBudget, is_blank, resize_image
from editgrpo.data.prepared.image_writer import ImageStoreWriter, StoredImage
from editgrpo.data.prepared.packed_images import file_of, open_packed
from editgrpo.data.prepared.workers import Progress, ordered_map
from editgrpo.data.study import Study
from editgrpo.errors import DataError

IMAGES_STAGE = "Preparing images"
"""What progress is told while images are made."""

# Images that a process is handed at once: a second of its time.
_CHUNK = 8
# The noise of a film hardly compresses: run lengths alone make it smaller than level 1 does, and
# several times faster than the default (benchmarks/prepare_images.py).
_PNG: dict[str, int] = {"compress_level": 1, "compress_type": zlib.Z_RLE}


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One image to be made.

    Attributes:
        image_id: Its key in the store.
        path: Of the original; without suffix if `suffixes` has others than "". Or the place of one
            that lies in a table, see `packed_images.py`.
        suffixes: Tried in turn; the first file that exists is taken.
    """

    image_id: str
    path: str
    suffixes: tuple[str, ...] = ("",)

    def original(self) -> Path:
        """Return the file that exists, or the first that was looked for."""
        candidates = [file_of(self.path + suffix) for suffix in self.suffixes]
        return next((path for path in candidates if path.is_file()), candidates[0])


def jobs_of(
    studies: Iterable[Study], files: Mapping[str, str], suffixes: tuple[str, ...]
) -> list[ImageJob]:
    """Return every image of some studies once, in order.

    Args:
        studies: The studies.
        files: Path of the original by image id.
        suffixes: Tried in turn behind each path.

    Returns:
        The jobs.

    Raises:
        DataError: An image has no file.
    """
    jobs: dict[str, ImageJob] = {}
    for study in studies:
        for image in study.images:
            if image.image_id in jobs:
                continue
            path = files.get(image.image_id)
            if path is None:
                raise DataError(
                    f"study {study.study_id!r}: image {image.image_id!r} has no file; give its path"
                )
            jobs[image.image_id] = ImageJob(image.image_id, path, suffixes)
    return list(jobs.values())


def encode_image(image_id: str, image: Image.Image, budget: PixelBudget) -> StoredImage:
    """Make an image ready for the store.

    Args:
        image_id: Its key.
        image: Mode "L" or "RGB", of any size.
        budget: The size that it shall have.

    Returns:
        The image as it is stored.

    Raises:
        DataError: It is too long and thin.
    """
    resized = resize_image(image, budget)
    resized.info = {}  # colour profiles and the like: equal pixels shall be equal bytes
    content = BytesIO()
    resized.save(content, "PNG", **_PNG)
    return StoredImage(
        image_id=image_id,
        png=content.getvalue(),
        height=resized.height,
        width=resized.width,
        is_blank=is_blank(resized),
    )


def make_image(job: ImageJob, budget: PixelBudget) -> StoredImage:
    """Decode, resize and encode an original.

    Args:
        job: The image.
        budget: The size that it shall have.

    Returns:
        The image, or its problem if it cannot be used.
    """
    path = job.original()
    try:
        return encode_image(job.image_id, decode_image(path, open_packed(job.path)), budget)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ").split("; ")[0]
        return StoredImage(image_id=job.image_id, problem=reason)


def fill_store(
    folder: Path,
    jobs: Sequence[ImageJob],
    budget: PixelBudget,
    *,
    workers: int,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Make every image of a set, after those that are safe already.

    Args:
        folder: Of the set.
        jobs: All images, in an order that every attempt shares.
        budget: The size that they shall have.
        workers: Processes.
        progress: Called after each image.

    Returns:
        The problem of each image that cannot be used, by its id.

    Raises:
        DataError: The folder cannot be written to, the disk is full, or a process died.
    """
    writer = ImageStoreWriter(folder, [job.image_id for job in jobs])
    done = writer.done
    make = partial(make_image, budget=budget)
    chunks = -(-(len(jobs) - done) // _CHUNK)
    workers = max(1, min(workers, chunks))  # a process that is given nothing is not worth its start
    # Closed here, for an error that somebody keeps would keep the processes as well.
    with closing(ordered_map(make, jobs[done:], workers=workers, chunk=_CHUNK)) as images:
        for image in images:
            writer.add(image)
            done += 1
            if progress is not None:
                progress(IMAGES_STAGE, done, len(jobs))
    return writer.finish()
