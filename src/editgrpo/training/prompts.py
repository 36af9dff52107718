"""From a study to an encoded prompt: message, cached images, token ids and patches."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from editgrpo.config import DataConfig
from editgrpo.data.images import ImageCache, prepare_images
from editgrpo.data.prompt import build_messages
from editgrpo.data.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.training.processor import EncodedPrompt, StudyProcessor

# Resized images kept in memory: all of a small set's, and a bounded part of a large one's.
_MEMORY_BYTES = 256 * 2**20


class PromptEncoder:
    """Encodes studies of one set for one model.

    Args:
        studies: The set that the studies belong to; it knows where images lie.
        processor: Of the model.
        config: Pixel budget, number of images, prompt template, cache folder.
    """

    def __init__(self, studies: StudySet, processor: StudyProcessor, config: DataConfig) -> None:
        self._studies = studies
        self.processor = processor
        self._config = config
        cache = Path(config.image_cache) if config.image_cache else studies.folder / "image-cache"
        self.images = ImageCache(
            studies,
            cache,
            min_pixels=config.min_pixels,
            max_pixels=config.max_pixels,
            factor=processor.factor,
            memory_items=_MEMORY_BYTES // (3 * config.max_pixels),
        )

    def prepare_images(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Decode and resize every image that will be shown, so that no step waits or fails.

        Args:
            progress: Called with (images done, images in all).

        Returns:
            How many images were not in the cache yet.

        Raises:
            DataError: images cannot be decoded; says how many, and names the first with its study.
        """
        return prepare_images(
            self._studies,
            self.images,
            max_images=self._config.max_images,
            progress=progress,
            workers=os.cpu_count() or 1,
        )

    def encode(self, study: Study) -> EncodedPrompt:
        """Encode the prompt of one study.

        Args:
            study: A study of the set.

        Returns:
            Its encoded prompt.

        Raises:
            DataError: an image cannot be read, or the prompt's images do not match (names the
                study).
        """
        prompt = build_messages(
            study, max_images=self._config.max_images, template=self._config.prompt_template
        )
        pixels = [self.images.load(image) for image in prompt.images]
        return self.processor.encode(study.study_id, prompt, pixels)

    def encode_all(self, studies: Sequence[Study]) -> list[EncodedPrompt]:
        """Encode several studies, in order."""
        return [self.encode(study) for study in studies]


def load_split(folder: str, split: Split, limit: int | None) -> StudySet:
    """Load the studies of one split that a run or a generation uses.

    Args:
        folder: Holds `studies.jsonl`.
        split: Which part.
        limit: The first so many; None for all.

    Returns:
        The studies.

    Raises:
        DataError: there is none.
    """
    studies = StudySet.load(Path(folder), split=split)
    if not len(studies):
        raise DataError(f"{folder}: no {split.value} study; check the split field of studies.jsonl")
    return studies if limit is None else studies[:limit]
