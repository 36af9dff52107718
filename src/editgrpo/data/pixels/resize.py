"""An image at the model's size: which size that is, and resizing to it.

Scaling and normalisation of values stay with the model's image processor, which must be told not to
resize again (`do_resize=False`).
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from editgrpo.errors import ConfigError, DataError

_MAX_ASPECT_RATIO = 200  # Qwen2-VL's own limit


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelBudget:
    """How large images are for the model."""

    min_pixels: int = 262_144
    """Smaller images are enlarged to at least this.

    Paper: 262,144.
    """

    max_pixels: int = 401_408
    """Larger images are reduced to at most this, unless a side is already `multiple_of`.

    Paper: 401,408.
    """

    multiple_of: int = 28
    """Both sides become multiples of it: patch size times merge size of the model; 28 for Qwen2-VL
    and Qwen2.5-VL, 32 for Qwen3-VL."""

    def __post_init__(self) -> None:
        if self.multiple_of < 1 or self.min_pixels < 1 or self.max_pixels < self.min_pixels:
            raise ConfigError(
                f"pixel budget min_pixels={self.min_pixels}, max_pixels={self.max_pixels}, "
                f"multiple_of={self.multiple_of}: each must be at least 1, and min_pixels at most "
                "max_pixels"
            )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size at which Qwen2-VL looks at an image.

        Args:
            height: Of the source, in pixels.
            width: Of the source, in pixels.

        Returns:
            (height, width), the aspect ratio kept as far as the multiples allow.

        Raises:
            DataError: One side is more than 200 times the other.

        Source: `smart_resize` of transformers' Qwen2-VL; equal over all sizes:
        tests/data/pixels/test_resize.py.
        """
        if max(height, width) > _MAX_ASPECT_RATIO * min(height, width):
            raise DataError(f"is too long and thin; crop its {width} x {height} pixels")
        factor = self.multiple_of
        rounded = round(height / factor) * factor, round(width / factor) * factor
        if rounded[0] * rounded[1] > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            return (
                max(factor, math.floor(height / shrink / factor) * factor),
                max(factor, math.floor(width / shrink / factor) * factor),
            )
        if rounded[0] * rounded[1] < self.min_pixels:
            enlarge = math.sqrt(self.min_pixels / (height * width))
            return (
                math.ceil(height * enlarge / factor) * factor,
                math.ceil(width * enlarge / factor) * factor,
            )
        return rounded


def resize_image(image: Image.Image, budget: PixelBudget) -> Image.Image:
    """Resize an image with the filter of Qwen2-VL's processor.

    Args:
        image: Mode "L" or "RGB".
        budget: The size that it shall have.

    Returns:
        The image; mode "L" if its channels are equal, a third of the bytes.

    Raises:
        DataError: It is too long and thin.
    """
    height, width = budget.size(image.height, image.width)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    if resized.mode == "L":
        return resized
    pixels = np.asarray(resized)
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        return Image.fromarray(pixels[..., 0])
    return resized


def is_blank(image: Image.Image) -> bool:
    """Say whether all pixels of an image have one value.

    A film is never like that: its file was empty, or its window lies beyond all its values.

    Args:
        image: Mode "L" or "RGB".

    Returns:
        Whether nothing can be seen in it.
    """
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)
