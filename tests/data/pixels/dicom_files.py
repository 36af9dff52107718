"""Small DICOM files of every kind, with invented identifiers.

The RLE and the lossless JPEG encoder are written here from the standards, so that they share no
code with the decoders under test.
"""

import gzip
import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from editgrpo.data.pixels.decode import decode_image


def dicom(
    pixels: NDArray[Any],
    *,
    syntax: UID = uid.ExplicitVRLittleEndian,
    frame: bytes | None = None,
    frames: Sequence[bytes] = (),
    **elements: Any,
) -> bytes:
    """Return a DICOM file of one image.

    `frame` is the compressed image, `frames` are several; `elements` add to the image's description
    or replace parts of it, and leave out what is None.
    """
    bits = 8 * pixels.itemsize
    dataset = Dataset()
    described = {
        "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "2.25.1",
        "PatientName": "Invented^Person",
        "PatientID": "INVENTED-17",
        "SamplesPerPixel": pixels.shape[2] if pixels.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if pixels.ndim == 3:
        described["PlanarConfiguration"] = 0
    described |= elements
    described.setdefault("HighBit", described["BitsStored"] - 1)
    for keyword, value in described.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if syntax.is_encapsulated:
        dataset.PixelData = encapsulate(
            frames or [frame if frame is not None else encode(pixels, syntax)]
        )
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        if order == ">":
            for item in elements.get("VOILUTSequence", []):
                item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = data + bytes(len(data) % 2)
        dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def ramp(bits: int, *, height: int = 19, width: int = 23) -> NDArray[np.uint16]:
    """Return an image with edges, noise, and every bit of its values in use."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 9, (height, width))
    return ((x * 90 + y * 110 + noise + 2000 * (x > 11)) * 2**bits // 4096 % 2**bits).astype("u2")


def table(
    first: int, outputs: list[int], *, bits: int, entries: int | None = None
) -> list[Dataset]:
    """Return the value of a Modality or VOI LUT Sequence; `entries` is the number it claims."""
    item = Dataset()
    item.LUTDescriptor = [len(outputs) if entries is None else entries, first, bits]
    item.LUTData = struct.pack(f"<{len(outputs)}H", *outputs)
    item["LUTDescriptor"].VR, item["LUTData"].VR = ("SS" if first < 0 else "US"), "OW"
    return [item]


def encode(pixels: NDArray[Any], syntax: UID) -> bytes:
    """Return the compressed form of an image whose values have up to 12 bits, or 8 in 8."""
    bits = 8 if pixels.itemsize == 1 else 12
    if syntax == uid.RLELossless:
        return rle(pixels)
    if syntax == uid.JPEGBaseline8Bit:
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=90)
        return stream.getvalue()
    if syntax == uid.JPEGExtended12Bit:
        return imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=bits)
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        return lossless_jpeg(pixels, bits=bits, predictor=1 if syntax == uid.JPEGLosslessSV1 else 7)
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        return imagecodecs.jpegls_encode(pixels, level=2 * (syntax == uid.JPEGLSNearLossless))
    level = 0 if syntax == uid.JPEG2000Lossless else 70  # a signal-to-noise ratio in decibels
    return imagecodecs.jpeg2k_encode(
        pixels, level=level, codecformat="j2k", bitspersample=bits, reversible=not level
    )


def rle(pixels: NDArray[Any]) -> bytes:
    """Return RLE of literal runs alone: one segment for each byte of a pixel, highest first."""
    planes = pixels.astype(pixels.dtype.newbyteorder(">")).view(np.uint8)
    segments = []
    for k in range(pixels.itemsize):
        plane = planes[:, k :: pixels.itemsize].tobytes()
        runs = [plane[i : i + 128] for i in range(0, len(plane), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + bytes(len(segment) % 2))
    offsets = [64 + sum(map(len, segments[:k])) for k in range(len(segments))]
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def lossless_jpeg(pixels: NDArray[Any], *, bits: int, predictor: int) -> bytes:
    """Return lossless JPEG, process 14 of ITU-T T.81 (annex H), with codes of five bits each."""
    image = pixels.astype(np.int64)
    before = np.zeros((3, *image.shape), np.int64)  # a, b, c: left, above, above left
    before[0, :, 1:] = image[:, :-1]
    before[1, 1:] = image[:-1]
    before[2, 1:, 1:] = image[:-1, :-1]
    left, above, corner = before
    predicted = {1: left, 4: left + above - corner, 7: (left + above) >> 1}[predictor]
    predicted[0] = left[0]  # the first row always from the left, the first column from above
    predicted[1:, 0] = above[1:, 0]
    predicted[0, 0] = 1 << (bits - 1)
    code = ""
    for difference in ((image - predicted + 32_768) % 65_536 - 32_768).ravel().tolist():
        size = abs(difference).bit_length()
        extra = difference if difference > 0 else difference + (1 << size) - 1
        code += f"{size:05b}" + (f"{extra:0{size}b}" if 0 < size < 16 else "")
    code += "1" * (-len(code) % 8)
    scan = int(code, 2).to_bytes(len(code) // 8, "big").replace(b"\xff", b"\xff\x00")
    height, width = pixels.shape
    counts = bytes([0, 0, 0, 0, 17, *[0] * 11])  # 17 codes of five bits, for sizes 0 to 16
    return (
        b"\xff\xd8"
        + struct.pack(">HHB", 0xFFC4, 36, 0)
        + counts
        + bytes(range(17))
        + struct.pack(">HHBHHBBBB", 0xFFC3, 11, bits, height, width, 1, 1, 0x11, 0)
        + struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, predictor, 0, 0)
        + scan
        + b"\xff\xd9"
    )


def grey_levels(folder: Path, content: bytes, *, zipped: bool = False) -> NDArray[np.uint8]:
    """Write a file, decode it and return its pixels."""
    path = folder / ("image.dcm.gz" if zipped else "image.dcm")
    path.write_bytes(gzip.compress(content) if zipped else content)
    return np.asarray(decode_image(path))
