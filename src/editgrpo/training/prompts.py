"""From a study to an encoded prompt: message, images of the store, token ids and patches."""

from collections.abc import Sequence
from pathlib import Path

from editgrpo.config import DataConfig
from editgrpo.data.image_store import ImageStore
from editgrpo.data.prompt import build_messages
from editgrpo.data.store import StudySet, read_prepared
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.training.processor import EncodedPrompt, StudyProcessor

# Images kept in memory as pixels: all of a small set's, and a bounded part of a large one's.
_MEMORY_BYTES = 256 * 2**20


class PromptEncoder:
    """Encodes studies of one set for one model.

    Args:
        studies: The set that the studies belong to; it holds their images.
        processor: Of the model.
        config: Number of images, prompt template.

    Raises:
        DataError: The set's images do not have a size that the model can read.
    """

    def __init__(self, studies: StudySet, processor: StudyProcessor, config: DataConfig) -> None:
        self.processor = processor
        self._config = config
        self._images = ImageStore.open(studies.folder, memory_bytes=_MEMORY_BYTES)
        multiple = int(read_prepared(studies.folder)["budget"]["multiple_of"])
        if multiple % processor.factor and len(self._images):
            raise DataError(
                f"{studies.folder}: sides of its images are multiples of {multiple}, and this "
                f"model reads multiples of {processor.factor}; prepare the set again with "
                f"--multiple-of {processor.factor} (the phantom: with a fitting --size-px)"
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
        try:
            pixels = [self._images.pixels(image.image_id) for image in prompt.images]
        except DataError as error:
            raise DataError(f"study {study.study_id!r}: {error}") from error
        return self.processor.encode(study.study_id, prompt, pixels)

    def encode_all(self, studies: Sequence[Study]) -> list[EncodedPrompt]:
        """Encode several studies, in order."""
        return [self.encode(study) for study in studies]


def load_split(folder: str, split: Split, limit: int | None) -> StudySet:
    """Load the studies of one split that a run or a generation uses.

    Args:
        folder: A prepared folder.
        split: Which part.
        limit: The first so many; None for all.

    Returns:
        The studies.

    Raises:
        DataError: there is none.
    """
    studies = StudySet.load(Path(folder), split=split)
    if not len(studies):
        raise DataError(
            f"{folder}: no {split.value} study; prepare it with another --seed or split column"
        )
    return studies if limit is None else studies[:limit]
