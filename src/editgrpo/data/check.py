"""Looking at every image before a study is accepted."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from editgrpo.data.decode import decode_image
from editgrpo.data.store import Rejection
from editgrpo.data.study import Study, Timepoint
from editgrpo.errors import DataError

NO_CURRENT_IMAGE = "no readable current image"
_WORKERS = min(8, os.cpu_count() or 1)


def check_images(
    studies: Sequence[Study],
    folder: Path,
    *,
    require_images: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Study], list[Rejection]]:
    """Decode every image once, and leave out what does not decode.

    Args:
        studies: Studies in any order.
        folder: Where relative image paths start.
        require_images: Whether a study without a readable current image is left out; else it is
            kept with the images it has.
        progress: Called with (images done, images in all).

    Returns:
        The studies that are kept, in their order and without unreadable images; and one rejection
        for each image and each study left out, in the same order.
    """
    paths = list(dict.fromkeys(folder / image.path for study in studies for image in study.images))
    problem_of_path: dict[Path, str] = {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        for done, (path, problem) in enumerate(
            zip(paths, pool.map(_problem, paths), strict=True), start=1
        ):
            if problem is not None:
                problem_of_path[path] = problem
            if progress is not None:
                progress(done, len(paths))
    kept: list[Study] = []
    rejections: list[Rejection] = []
    for study in studies:
        good = tuple(i for i in study.images if folder / i.path not in problem_of_path)
        rejections += (
            Rejection(
                study_id=study.study_id,
                image=image.path,
                reason=problem_of_path[folder / image.path],
            )
            for image in study.images
            if folder / image.path in problem_of_path
        )
        if require_images and not any(i.timepoint is Timepoint.CURRENT for i in good):
            rejections.append(
                Rejection(study_id=study.study_id, image=None, reason=NO_CURRENT_IMAGE)
            )
        else:
            kept.append(study if len(good) == len(study.images) else replace(study, images=good))
    return kept, rejections


def _problem(path: Path) -> str | None:
    """Return why an image cannot be used, in a phrase without its path; None if it can."""
    try:
        decode_image(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ").split("; ")[0]
    return None
