"""Whether a preparation finds what its source lists: a wrong folder of images must not pass."""

import logging
from collections.abc import Mapping, Sequence

from editgrpo.data.pixels.decode import MISSING_FILE
from editgrpo.data.prepared.flow import Flow
from editgrpo.data.prepared.image_jobs import ImageJob
from editgrpo.errors import DataError

# Of a whole data set a few files go astray; more are a wrong folder or a download cut short.
_MOST_MISSING = 0.1

_LOG = logging.getLogger(__name__)


def check_that_one_exists(jobs: Sequence[ImageJob]) -> None:
    """Stop before anything is written where the folder of images must be wrong.

    Args:
        jobs: All images.

    Raises:
        DataError: None of them has a file.
    """
    if not any(job.original().is_file() for job in jobs):
        raise DataError(
            f"{jobs[0].original()}: {MISSING_FILE}, as are all {len(jobs):,}; give the "
            "folder that holds the images, or ask for studies without images"
        )


def warn_of_missing(problems: Mapping[str, str], images: int, *, option: str) -> None:
    """Warn where so many listed images have no file that their folder may be wrong.

    Args:
        problems: The problem of each image that cannot be used.
        images: How many are listed.
        option: The command's option that says where they lie.
    """
    missing = sum(problem == MISSING_FILE for problem in problems.values())
    if missing > _MOST_MISSING * images:
        _LOG.warning(
            "%s of %s images are missing; is %s right?", f"{missing:,}", f"{images:,}", option
        )


def warn_of_empty_splits(flow: Flow) -> None:
    """Warn of each split that the source has studies of and of which none is kept.

    Args:
        flow: The account.
    """
    kept = flow.row("studies kept").counts
    for split, seen in flow.row("studies in the source").counts.items():
        if split is not None and seen and not kept.get(split, 0):
            _LOG.warning(
                "no study of split %s is kept, of %s in the source; the account says why",
                split.value,
                f"{seen:,}",
            )
