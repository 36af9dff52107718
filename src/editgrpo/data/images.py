"""Images at the model's size: resized once to its pixel budget, and cached on disk.

Pixel values are uint8 here; scaling and normalisation stay with the model's image processor, which
must be told not to resize again (`do_resize=False`).
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from editgrpo.data.decode import decode_image
from editgrpo.data.prompt import choose_images
from editgrpo.data.store import StudySet
from editgrpo.data.study import Study, StudyImage
from editgrpo.errors import ConfigError, DataError
from editgrpo.files import replacing

CACHE_FOLDER = "image-cache"
_CACHE_FORM = 1
"""Part of every key; raised when decoding or resizing changes, so that no old file is used."""
_MAX_ASPECT_RATIO = 200  # Qwen2-VL's own limit


def budget_size(
    height: int, width: int, *, min_pixels: int, max_pixels: int, factor: int
) -> tuple[int, int]:
    """Return the size at which Qwen2-VL looks at an image.

    Args:
        height: Of the source, in pixels.
        width: Of the source, in pixels.
        min_pixels: Images below are enlarged to at least this.
        max_pixels: Images above are reduced to at most this, unless a side is already `factor`.
        factor: Both sides become multiples of it: patch size times merge size.

    Returns:
        (height, width), the aspect ratio kept as far as the multiples allow.

    Raises:
        DataError: One side is more than 200 times the other.

    Source: `smart_resize` of transformers' Qwen2-VL; equal over all sizes:
    tests/data/test_images.py.
    """
    if max(height, width) > _MAX_ASPECT_RATIO * min(height, width):
        raise DataError(f"an image of {width} x {height} pixels is too long and thin; crop it")
    rounded = round(height / factor) * factor, round(width / factor) * factor
    if rounded[0] * rounded[1] > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        return (
            max(factor, math.floor(height / shrink / factor) * factor),
            max(factor, math.floor(width / shrink / factor) * factor),
        )
    if rounded[0] * rounded[1] < min_pixels:
        enlarge = math.sqrt(min_pixels / (height * width))
        return (
            math.ceil(height * enlarge / factor) * factor,
            math.ceil(width * enlarge / factor) * factor,
        )
    return rounded


class ImageCache:
    """Images of a study set at the model's size, each decoded and resized once.

    A file of the cache is keyed by the source's absolute path, size and time of change, by the
    budget and by the version of this code: a source that changes or another budget gives another
    file, never a stale one. Files are lossless 8-bit PNG, written whole or not at all, and equal
    whoever writes them, so any number of processes may share a folder and a stopped run continues
    where it was. A file that cannot be read is made again.
    """

    def __init__(
        self,
        studies: StudySet,
        folder: Path | str | None = None,
        *,
        min_pixels: int,
        max_pixels: int,
        factor: int = 28,
        memory_items: int = 0,
    ) -> None:
        """Set up a cache; nothing is written before the first `load`.

        Args:
            studies: Where relative image paths start.
            folder: Of the cache; None takes `image-cache` beside the studies.
            min_pixels: See `budget_size`.
            max_pixels: See `budget_size`.
            factor: Patch size times merge size of the model; 28 for Qwen2-VL and Qwen2.5-VL.
            memory_items: So many images, the last ones used, stay in memory too.

        Raises:
            ConfigError: The budget or the factor is out of range.
        """
        if factor < 1 or min_pixels < 1 or max_pixels < min_pixels:
            raise ConfigError(
                f"image budget min_pixels={min_pixels}, max_pixels={max_pixels}, factor={factor}: "
                "each must be at least 1, and min_pixels at most max_pixels"
            )
        self.studies = studies
        self.folder = Path(folder) if folder is not None else studies.folder / CACHE_FOLDER
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels
        self.factor = factor
        self._memory_items = memory_items
        self._memory: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()

    def load(self, image: StudyImage) -> NDArray[np.uint8]:
        """Return an image at the model's size.

        Args:
            image: An image of the study set.

        Returns:
            (H, W, 3) uint8, read-only, H and W multiples of `factor`; a grey image has three equal
            channels.

        Raises:
            DataError: The source cannot be decoded, or the cache folder cannot be written to.
        """
        cached = self._cached_path(image)
        pixels = self._memory.pop(cached, None)
        if pixels is None:
            resized = _read_png(cached) or self._make(image, cached)
            pixels = np.array(resized.convert("RGB"))
            pixels.flags.writeable = False
        if self._memory_items:
            self._memory[cached] = pixels
            while len(self._memory) > self._memory_items:
                self._memory.popitem(last=False)
        return pixels

    def warm(self, image: StudyImage) -> bool:
        """Put an image into the cache on disk if it is not there; say whether it was made now."""
        cached = self._cached_path(image)
        if cached.exists():
            return False
        self._make(image, cached)
        return True

    def _cached_path(self, image: StudyImage) -> Path:
        source = self.studies.image_path(image).absolute()
        try:
            status = source.stat()
        except OSError as error:
            raise DataError(
                f"{source}: image cannot be read ({error.strerror}); restore it or prepare again"
            ) from error
        key = (
            f"{_CACHE_FORM}\0{source}\0{status.st_size}\0{status.st_mtime_ns}\0"
            f"{self.min_pixels}\0{self.max_pixels}\0{self.factor}"
        )
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:32]
        return self.folder / digest[:2] / f"{digest[2:]}.png"

    def _make(self, image: StudyImage, cached: Path) -> Image.Image:
        source = self.studies.image_path(image)
        decoded = decode_image(source)
        try:
            height, width = budget_size(
                decoded.height,
                decoded.width,
                min_pixels=self.min_pixels,
                max_pixels=self.max_pixels,
                factor=self.factor,
            )
        except DataError as error:
            raise DataError(f"{source}: {error}") from error
        resized = _grey_if_grey(decoded.resize((width, height), Image.Resampling.BICUBIC))
        try:
            with replacing(cached) as partial:
                resized.save(partial, "PNG", compress_level=1)
        except OSError as error:
            raise DataError(
                f"{self.folder}: the image cache cannot be written ({error.strerror}); "
                "choose another folder for it"
            ) from error
        return resized


def prepare_images(
    studies: StudySet,
    cache: ImageCache,
    *,
    max_images: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> int:
    """Fill the cache with every image of some studies, before anything waits for them.

    Args:
        studies: The studies whose images will be needed.
        cache: The cache to fill; images it already holds cost one look-up.
        max_images: Most images shown of a study, see `prompt.choose_images`; None takes all.
        progress: Called with (images done, images in all).
        workers: Threads; decoding and resizing run outside the interpreter lock.

    Returns:
        How many images were made now.

    Raises:
        DataError: Images cannot be decoded; says how many, and names the first with its study.
    """
    images: dict[str, tuple[Study, StudyImage]] = {}
    for study in studies:
        shown = study.images if max_images is None else choose_images(study, max_images=max_images)
        images.update((image.path, (study, image)) for image in shown)
    failures: list[DataError] = []
    made = 0

    def warm(item: tuple[Study, StudyImage]) -> bool | DataError:
        try:
            return cache.warm(item[1])
        except DataError as error:
            return DataError(f"study {item[0].study_id!r}: {error}")

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, outcome in enumerate(pool.map(warm, images.values()), start=1):
            if isinstance(outcome, DataError):
                failures.append(outcome)
            else:
                made += outcome
            if progress is not None:
                progress(done, len(images))
    if failures:
        raise DataError(f"{len(failures)} of {len(images)} images are unusable; {failures[0]}")
    return made


def _grey_if_grey(image: Image.Image) -> Image.Image:
    """Return the image as mode "L" if its channels are equal: a third of the bytes."""
    if image.mode == "L":
        return image
    pixels = np.asarray(image)
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        return Image.fromarray(pixels[..., 0])
    return image


def _read_png(path: Path) -> Image.Image | None:
    """Return the cached image, or None if there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        return decode_image(path)
    except DataError:
        return None
