"""The elements of a DICOM file that say how its pixels are stored and shown.

Values are checked here, so that whatever follows works on numbers that make sense.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from editgrpo.data.pixels.grey_levels import GreyScale, LookupTable, Window, WindowShape
from editgrpo.errors import DataError

KEYWORDS = [
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PresentationLUTShape",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SamplesPerPixel",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
]
"""Nothing else of a file is read."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_LEFT_OUT = ("PALETTE COLOR", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "HSV", "ARGB", "CMYK", "XYB")


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelModule:
    """How the pixels of one image are stored and shown."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    grey_scale: GreyScale

    @property
    def is_colour(self) -> bool:
        """Whether a pixel has three samples."""
        return self.photometric in _COLOUR

    def check_high_bit(self) -> None:
        """Check that the bits stored are the lowest ones.

        Raises:
            DataError: They are not; the message has no path.
        """
        if self.high_bit != self.bits_stored - 1:
            raise DataError("the bits stored are not the lowest ones; convert the image to PNG")

    def meant_by(self, raw: NDArray[np.int64], *, is_lossy: bool) -> NDArray[np.int64]:
        """Return which value each pattern of bits of a pixel stands for.

        Bits above those stored hold overlays, or rubbish: they are no grey levels. A value below
        zero has its sign in the highest bit stored, whatever stands above it.

        Args:
            raw: (V,) values of all bits allocated.
            is_lossy: Whether compression may have moved a value beyond the range of the bits
                stored; one that lies next to it then becomes its nearer end.

        Returns:
            (V,) values within the range of the bits stored. Padding beyond it stays as it is.
        """
        low, high = _range(self.bits_stored, self.is_signed)
        meant = (raw - low) % (high - low + 1) + low
        if is_lossy:
            # Overshoot at an edge is a small part of the range, an overlay at least all of it.
            most = (high - low + 1) // 8
            is_next = (raw >= low - most) & (raw <= high + most)
            meant = np.where(is_next, raw.clip(low, high), meant)
        if self.grey_scale.padding is not None:
            first, last = self.grey_scale.padding
            meant = np.where((raw >= first) & (raw <= last), raw, meant)
        return meant

    def decoding_options(self) -> dict[str, Any]:
        """Return the image's form as keyword arguments of pydicom's decoders."""
        options: dict[str, Any] = {
            "number_of_frames": 1,
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "photometric_interpretation": self.photometric,
            "bits_allocated": self.bits_allocated,
            "bits_stored": self.bits_stored,
            "pixel_representation": int(self.is_signed),
            # `meant_by` does this for each value, not for each pixel, and knows padding.
            "correct_unused_bits": False,
        }
        return options | ({"planar_configuration": self.planar} if self.is_colour else {})


def read_pixel_module(dataset: Dataset) -> PixelModule:
    """Read and check the elements of `KEYWORDS`, the pixel data aside.

    Args:
        dataset: Of a DICOM file.

    Returns:
        What they say.

    Raises:
        DataError: An element is missing, makes no sense or describes a kind of image that is left
            out. Damaged values raise errors of pydicom's, see `dicom.py`.
    """
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip()
    samples = _whole(dataset, "SamplesPerPixel", 1)
    if photometric not in _GREY + _COLOUR or samples != (3 if photometric in _COLOUR else 1):
        name = photometric if photometric in _GREY + _COLOUR + _LEFT_OUT else "not given or unknown"
        raise DataError(
            f"photometric interpretation is {name} with {samples} samples a pixel; "
            "convert the image to PNG"
        )
    # Some writers of single images put 0, or leave it empty; `dicom.py` looks whether it is one.
    frames = _whole(dataset, "NumberOfFrames", 1) or 1
    if frames != 1:
        raise DataError(f"has another number of frames than one; extract the right one of {frames}")
    allocated = _whole(dataset, "BitsAllocated")
    stored = _whole(dataset, "BitsStored", allocated)
    is_signed = bool(_whole(dataset, "PixelRepresentation", 0))
    most = 8 if photometric in _COLOUR else 16
    if allocated not in (8, most) or not 1 <= stored <= allocated or (is_signed and samples == 3):
        raise DataError(
            f"{allocated} bits allocated and {stored} stored are not supported for {photometric}; "
            "convert the image to PNG"
        )
    rows, columns = _whole(dataset, "Rows"), _whole(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise DataError(f"has no rows or columns; get the file again ({columns} x {rows} pixels)")
    return PixelModule(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        planar=_whole(dataset, "PlanarConfiguration", 0),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_whole(dataset, "HighBit", stored - 1),
        is_signed=is_signed,
        grey_scale=_read_grey_scale(dataset, photometric, value_range=_range(allocated, is_signed)),
    )


def _read_grey_scale(
    dataset: Dataset, photometric: str, *, value_range: tuple[int, int]
) -> GreyScale:
    shape = str(dataset.get("PresentationLUTShape") or "").strip()
    padding = None
    if dataset.get("PixelPaddingValue") is not None:
        value = _whole(dataset, "PixelPaddingValue")
        limit = _whole(dataset, "PixelPaddingRangeLimit", value)
        low, high = sorted(_wrapped(end, value_range) for end in (value, limit))
        padding = low, high
    return GreyScale(
        slope=_number(dataset, "RescaleSlope", 1.0),
        intercept=_number(dataset, "RescaleIntercept", 0.0),
        modality=_read_table(dataset, "ModalityLUTSequence"),
        voi=_read_table(dataset, "VOILUTSequence") or _read_window(dataset),
        padding=padding,
        # MONOCHROME1 with INVERSE is one inversion: the shape repeats what the other says.
        inverted=photometric == "MONOCHROME1" or shape == "INVERSE",
    )


def _read_window(dataset: Dataset) -> Window | None:
    name = str(dataset.get("VOILUTFunction") or "LINEAR").strip()
    if name not in [shape.value for shape in WindowShape]:
        raise DataError("VOI LUT Function is unknown; convert the image to PNG")
    window = Window(
        centre=_number(dataset, "WindowCenter", np.nan),
        width=_number(dataset, "WindowWidth", np.nan),
        shape=WindowShape(name),
    )
    return window if window.is_valid() else None


def _read_table(dataset: Dataset, keyword: str) -> LookupTable | None:
    """Return the first look-up table of a sequence."""
    items = dataset.get(keyword)
    if not items:
        return None
    item = items[0]
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    entries = entries & 0xFFFF or 65_536  # a count of 65,536 is stored as 0
    data = item.LUTData
    if isinstance(data, bytes):
        # Outputs of 8 bits may be packed two in a word.
        is_packed = len(data) < 2 * entries
        little = item.original_encoding[1] is not False
        outputs = np.frombuffer(data, "u1" if is_packed else ("<u2" if little else ">u2"))
    else:
        outputs = np.atleast_1d(np.asarray(data, np.int64) & 0xFFFF)
    if len(outputs) < entries or not 1 <= bits <= 16:
        raise DataError("a look-up table is truncated or damaged; get the file again")
    outputs = outputs[:entries].astype(np.float64)
    # Files whose outputs need more bits than they claim are shown by what they need.
    needed = int(outputs.max()).bit_length()
    return LookupTable(first=first, outputs=outputs, bits=max(bits, needed))


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    """Return a number, the first of several."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    return default if value is None or value == "" else float(value)


def _whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = _number(dataset, keyword, np.nan if default is None else default)
    if not float(value).is_integer():
        raise DataError(f"{keyword} is missing or no whole number; get the file again")
    return int(value)


def _range(bits: int, is_signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)


def _wrapped(value: int, value_range: tuple[int, int]) -> int:
    """Return a value written with the wrong sign as the stored one of the same bits."""
    low, high = value_range
    return (value - low) % (high - low + 1) + low
