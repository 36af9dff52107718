"""Measure how fast full-size radiographs become a prepared set's images, and what takes the time.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.prepare_images [--images 96] [--films 6]

Films of the phantom are enlarged to 3,056 x 2,544 pixels with noise of a detector and written in
the forms of the data sets: JPEG of quality 90 (MIMIC-CXR-JPG), 16-bit PNG (PadChest) and DICOM of
12 bits, as JPEG 2000 and as lossless JPEG (MIMIC-CXR). For each form:

- processor time of one image: the bare decoder, what the library's `decode_image` takes beyond it
  (parsing, grey levels), resizing, encoding, and what the job from files to shards takes beyond all
  of these: Python, hand-over and writing;
- images/s of that job with 1 and 2 processes, starting them included.

The claim: compiled code that decodes, resizes and encodes takes the time, and all else next to
nothing. The last line printed is one JSON object.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread, uid
from pydicom.encaps import get_frame
from tests.data.pixels.dicom_files import dicom, encode

from editgrpo.data.pixels.decode import decode_image
from editgrpo.data.pixels.resize import PixelBudget, resize_image
from editgrpo.data.prepared.image_jobs import ImageJob, encode_image, fill_store
from editgrpo.data.study import View
from editgrpo.phantom.anatomy import draw_anatomy
from editgrpo.phantom.render import render_film
from editgrpo.phantom.sites import PROFILES, Site

HEIGHT, WIDTH = 3056, 2544
_BUDGET = PixelBudget()
_WORKERS = (1, 2)


def main() -> None:
    """Write the films, measure each form, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=96, help="images prepared of each form")
    parser.add_argument("--films", type=int, default=6, help="different ones among them")
    arguments = parser.parse_args()
    result: dict[str, object] = {"cores": os.cpu_count(), "pixels": HEIGHT * WIDTH}
    with tempfile.TemporaryDirectory(prefix="editgrpo-films-") as temporary:
        films = [draw_film(seed) for seed in range(arguments.films)]
        for form, (write, bare) in FORMS.items():
            folder = Path(temporary) / form
            folder.mkdir()
            paths = [folder / str(k) for k in range(len(films))]
            for path, film in zip(paths, films, strict=True):
                write(path, film)
            result[form] = measured = measure(paths, bare, arguments.images)
            print(form, json.dumps(measured), flush=True)
    print(json.dumps(result))


def draw_film(seed: int) -> NDArray[np.uint16]:
    """Return a full-size film of 12 bits."""
    rng = np.random.default_rng(seed)
    small = render_film(
        draw_anatomy(rng),
        (),
        view=View.PA,
        rendering=PROFILES[Site.A].rendering,
        size_px=560,
        rng=rng,
    )
    large = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noisy = np.asarray(large, np.float32) * 15.9 + rng.normal(0, 12, (HEIGHT, WIDTH))
    return noisy.clip(0, 4095).astype(np.uint16)


def write_jpeg(path: Path, film: NDArray[np.uint16]) -> None:
    """Write 8 bits of a film as JPEG."""
    Image.fromarray((film >> 4).astype(np.uint8)).save(path, "JPEG", quality=90)


def write_png(path: Path, film: NDArray[np.uint16]) -> None:
    """Write a film as PNG of 16 bits."""
    Image.fromarray(film).save(path, "PNG", compress_level=6)


def write_jpeg_2000(path: Path, film: NDArray[np.uint16]) -> None:
    """Write a film as DICOM with a window, compressed by JPEG 2000 without loss."""
    frame = encode(film, uid.JPEG2000Lossless)
    path.write_bytes(_windowed(film, uid.JPEG2000Lossless, frame))


def write_lossless_jpeg(path: Path, film: NDArray[np.uint16]) -> None:
    """Write a film as DICOM with a window, compressed by lossless JPEG."""
    frame = imagecodecs.jpeg8_encode(film, lossless=True, predictor=1, bitspersample=12)
    path.write_bytes(_windowed(film, uid.JPEGLosslessSV1, frame))


def decode_by_pillow(path: Path) -> Callable[[], object]:
    """Return what decodes a JPEG or PNG file and does nothing else."""
    content = path.read_bytes()
    return lambda: Image.open(BytesIO(content)).load()


def decode_by_imagecodecs(path: Path) -> Callable[[], object]:
    """Return what decodes the frame of a DICOM file and does nothing else."""
    frame = get_frame(dcmread(path).PixelData, 0, number_of_frames=1)
    is_jpeg = frame.startswith(b"\xff\xd8")
    return lambda: (
        imagecodecs.jpeg8_decode(frame)
        if is_jpeg
        else imagecodecs.jpeg2k_decode(frame, numthreads=1)
    )


Write = Callable[[Path, NDArray[np.uint16]], None]
Bare = Callable[[Path], Callable[[], object]]
FORMS: dict[str, tuple[Write, Bare]] = {
    "jpeg": (write_jpeg, decode_by_pillow),
    "png of 16 bits": (write_png, decode_by_pillow),
    "dicom, jpeg 2000": (write_jpeg_2000, decode_by_imagecodecs),
    "dicom, lossless jpeg": (write_lossless_jpeg, decode_by_imagecodecs),
}


def measure(paths: Sequence[Path], bare: Bare, images: int) -> dict[str, object]:
    """Measure one form."""
    jobs = [ImageJob(str(k), str(paths[k % len(paths)])) for k in range(images)]
    stages = _stages_ms(paths, bare)
    rates = {}
    for workers in _WORKERS:
        folder = paths[0].parent / f"by {workers}"
        processor, wall = time.process_time(), time.perf_counter()
        problems = fill_store(folder, jobs, _BUDGET, workers=workers)
        rates[workers] = round(images / (time.perf_counter() - wall), 1)
        assert not problems, problems
        if workers == 1:
            job_ms = 1000 * (time.process_time() - processor) / images
    stages["rest"] = job_ms - sum(stages.values())
    compiled = stages["decoder"] + stages["resize"] + stages["encode"]
    return {
        "file_kb": sum(path.stat().st_size for path in paths) // len(paths) // 1000,
        "processor_ms": {name: round(ms, 1) for name, ms in stages.items()},
        "share_of_decoder": round(stages["decoder"] / job_ms, 2),
        "share_of_compiled_code": round(compiled / job_ms, 2),
        "images_per_s": rates,
    }


def _stages_ms(paths: Sequence[Path], bare: Bare) -> dict[str, float]:
    """Return the processor time of the median image in each stage, in milliseconds."""
    decode_image(paths[0])  # what is loaded once is no part of an image
    rows = []
    for path in paths:
        decoder = bare(path)
        clock = [time.process_time()]
        decoder()
        clock.append(time.process_time())
        image = decode_image(path)
        clock.append(time.process_time())
        resize_image(image, _BUDGET)
        clock.append(time.process_time())
        encode_image("", image, _BUDGET)
        clock.append(time.process_time())
        bare_ms, decode, resize, both = np.diff(clock) * 1000
        rows.append((bare_ms, decode - bare_ms, resize, both - resize))
    names = "decoder", "decode, beyond it", "resize", "encode"
    return dict(zip(names, np.median(rows, axis=0).tolist(), strict=True))


def _windowed(film: NDArray[np.uint16], syntax: uid.UID, frame: bytes) -> bytes:
    return dicom(
        film, syntax=syntax, frame=frame, BitsStored=12, WindowCenter=2048, WindowWidth=4096
    )


if __name__ == "__main__":
    main()
