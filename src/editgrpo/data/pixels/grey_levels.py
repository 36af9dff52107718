"""From stored values to the grey levels that a reader sees: the grey scale pipeline of DICOM.

Modality transformation, then value-of-interest (VOI) transformation, then presentation: PS3.3
C.11.1, C.11.2 and C.7.6.3.1.2. Everything is worked out once for each value that a pixel can hold
(256 or 65,536), never for each pixel. Percentiles are clipped nowhere: one hot pixel in a file
without a window darkens all others, as it does at a workstation.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.errors import DataError

Values = NDArray[np.float64]
WHITE = 255


class WindowShape(Enum):
    """The names of VOI LUT Function."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The range of values that is shown between black and white."""

    centre: float
    width: float
    shape: WindowShape = WindowShape.LINEAR

    def is_valid(self) -> bool:
        """Say whether the standard allows these numbers: widths from 1; above 0 if not LINEAR."""
        is_wide_enough = self.width >= 1 if self.shape is WindowShape.LINEAR else self.width > 0
        return is_wide_enough and math.isfinite(self.centre) and math.isfinite(self.width)

    def grey(self, values: Values) -> Values:
        """Return the grey of values, 0 (black) to 255 (white), not rounded.

        Source: PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), C.11.2.1.3.1 (SIGMOID).
        """
        if self.shape is WindowShape.SIGMOID:
            # tanh(x / 2) is 2 / (1 + exp(-x)) - 1, and overflows nowhere.
            share = 0.5 + 0.5 * np.tanh(2 * (values - self.centre) / self.width)
        elif self.shape is WindowShape.LINEAR_EXACT:
            share = (values - self.centre) / self.width + 0.5
        elif self.width == 1:
            share = (values > self.centre - 0.5).astype(np.float64)
        else:
            share = (values - (self.centre - 0.5)) / (self.width - 1) + 0.5
        grey: Values = np.clip(share * WHITE, 0, WHITE)
        return grey


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupTable:
    """A Modality or VOI LUT: outputs of `first`, `first + 1`, ...; beyond its ends, of its ends."""

    first: int
    outputs: Values
    bits: int
    """Of an output; 2**bits - 1 is white."""

    def look_up(self, values: Values) -> Values:
        """Return the outputs of values, which are rounded to whole numbers first."""
        positions = np.clip(np.rint(values) - self.first, 0, len(self.outputs) - 1)
        return np.take(self.outputs, positions.astype(np.int64))

    def grey(self, values: Values) -> Values:
        """Return the grey of values, 0 (black) to 255 (white), not rounded."""
        grey: Values = np.clip(self.look_up(values) * WHITE / (2**self.bits - 1), 0, WHITE)
        return grey


@dataclass(frozen=True, kw_only=True, slots=True)
class GreyScale:
    """How stored values of one image become grey levels."""

    slope: float = 1.0
    intercept: float = 0.0
    modality: LookupTable | None = None
    """Takes the place of slope and intercept."""
    voi: LookupTable | Window | None = None
    """None shows the whole range of the values present."""
    padding: tuple[int, int] | None = None
    """Least and greatest stored value that fill up the frame and do not count as present."""
    inverted: bool = False
    """Whether small values are bright."""

    def levels(self, stored: NDArray[np.int64], present: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the grey level of each value that a pixel can hold.

        Args:
            stored: (V,) the values.
            present: (V,) whether a pixel has the value; looked at only without a VOI.

        Returns:
            (V,) 0 (black) to 255 (white), rounded. Without a VOI, the least value present becomes
            0 and the greatest 255 (the other way round if inverted), padding beyond them becomes
            the nearer of the two, and an image of one value becomes black.

        Raises:
            DataError: Slope, intercept or window overflow; the message has no path.
        """
        with np.errstate(all="ignore"):
            grey = self._grey(stored, present)
        if not np.isfinite(grey).all():
            raise DataError("rescale or window values are out of range; convert the image to PNG")
        return np.rint(WHITE - grey if self.inverted else grey).astype(np.uint8)

    def _grey(self, stored: NDArray[np.int64], present: NDArray[np.bool_]) -> Values:
        values = stored.astype(np.float64)
        if self.modality is not None:
            values = self.modality.look_up(values)
        else:
            values = values * self.slope + self.intercept
        if self.voi is not None:
            return self.voi.grey(values)
        if self.padding is not None:
            present = present & ((stored < self.padding[0]) | (stored > self.padding[1]))
        shown = values[present]
        if not shown.size or shown.max() == shown.min():
            return np.full(len(values), WHITE if self.inverted else 0, np.float64)
        low, high = shown.min(), shown.max()
        grey: Values = np.clip((values - low) * WHITE / (high - low), 0, WHITE)
        return grey


def map_pixels(pixels: NDArray[np.generic], levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace each pixel by the level of its value.

    Args:
        pixels: (H, W) of 8- or 16-bit integers.
        levels: (256,) or (65536,) in the order of `all_values` of the same type.

    Returns:
        (H, W).
    """
    return np.take(levels, _unsigned(pixels))


def all_values(dtype: np.dtype[np.generic]) -> NDArray[np.int64]:
    """Return every value of an 8- or 16-bit type, in the order of its bits read without sign."""
    count = 256**dtype.itemsize
    return np.arange(count, dtype=f"u{dtype.itemsize}").view(dtype).astype(np.int64)


def values_present(pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return, in the order of `all_values`, which values some pixel has."""
    present = np.zeros(256**pixels.dtype.itemsize, np.bool_)
    present[_unsigned(pixels)] = True
    return present


def _unsigned(pixels: NDArray[np.generic]) -> NDArray[np.unsignedinteger[Any]]:
    return pixels.view(f"u{pixels.dtype.itemsize}")
