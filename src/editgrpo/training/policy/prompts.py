"""From a study to an encoded prompt: message, images of the store, token ids and patches."""

import hashlib
import logging
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from editgrpo.config import DataConfig, Target
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.store import PREPARED_FILE, StudySet, read_prepared
from editgrpo.data.prepared.workers import default_workers
from editgrpo.data.prompt import Prompt, build_messages
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.training.policy.processor import EncodedPrompt, PromptProcessor
from editgrpo.training.policy.special_tokens import SpecialTokens

# Images kept in memory as pixels: all of a small set's, and a bounded part of a large one's.
_MEMORY_BYTES = 256 * 2**20
# Pillow and numpy let other threads run while they work. More than eight gain little, and take
# the cores from the other processes of a machine.
_MAX_THREADS = 8

_LOGGER = logging.getLogger(__name__)


class Images(Protocol):
    """Where the pixels of studies are, by image id."""

    def size(self, image_id: str) -> tuple[int, int]:
        """Return (height, width) of an image, in pixels."""

    def pixels(self, image_id: str) -> NDArray[np.uint8]:
        """Return the (H, W, 3) pixels of an image; threads may ask at once."""


class StudyEncoder:
    """Encodes studies for one model.

    Attributes:
        processor: Of the model.

    Args:
        images: Of the studies, at a size that the model can read.
        processor: Of the model.
        config: Number of images, prompt template.
    """

    def __init__(self, images: Images, processor: PromptProcessor, config: DataConfig) -> None:
        self.processor = processor
        self._special_tokens = SpecialTokens(processor.tokenizer)
        self._config = config
        self._images = images

    @property
    def max_images(self) -> int:
        """Most images of a prompt."""
        return self._config.max_images

    @property
    def target(self) -> Target:
        """What the prompts ask for."""
        return self._config.target

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
        return self.encode_all([study])[0]

    def encode_all(
        self, studies: Sequence[Study], *, known: Container[str] = ()
    ) -> list[EncodedPrompt]:
        """Encode several studies, their images in threads.

        Args:
            studies: Studies of the set.
            known: Ids of images whose features are known, a `FeatureStore` for example; their
                pixels are left out.

        Returns:
            Their encoded prompts, in order.

        Raises:
            DataError: an image cannot be read, a prompt's images do not match, or a text holds a
                special token of the model (names the study).
        """
        self._special_tokens.refuse(studies)
        prompts = [
            build_messages(
                study, max_images=self._config.max_images, template=self._config.prompt_template
            )
            for study in studies
        ]
        for study, prompt in zip(studies, prompts, strict=True):
            for part in prompt.messages[0]["content"]:
                place = f"study {study.study_id!r}: its prompt, by the template,"
                self._special_tokens.refuse_text(part.get("text", ""), place)
        wanted: dict[str, str] = {}  # and the first study that shows it
        for study, prompt in zip(studies, prompts, strict=True):
            for image in prompt.images:
                if image.image_id not in wanted and image.image_id not in known:
                    wanted[image.image_id] = study.study_id
        patches = self._patches(wanted)
        # Tokenizers change their settings while they work: they stay in this thread.
        return [
            self._assemble(study.study_id, prompt, patches)
            for study, prompt in zip(studies, prompts, strict=True)
        ]

    def pixels(self, prompt: EncodedPrompt) -> list[NDArray[np.uint8]]:
        """Read the images of a prompt that was encoded here.

        Args:
            prompt: The prompt, its images left out or not.

        Returns:
            (H, W, 3) uint8 each, in the order shown.

        Raises:
            DataError: an image cannot be read (the message names it).
        """
        return [self._images.pixels(image_id) for image_id in prompt.image_ids]

    def _patches(self, study_of_image: dict[str, str]) -> dict[str, torch.Tensor]:
        def cut(image_id: str) -> torch.Tensor:
            try:
                return self.processor.patches(self._images.pixels(image_id))
            except DataError as error:
                raise DataError(f"study {study_of_image[image_id]!r}: {error}") from error

        threads = min(len(study_of_image), default_workers(), _MAX_THREADS)
        if threads < 2:
            return {image_id: cut(image_id) for image_id in study_of_image}
        with ThreadPoolExecutor(threads, thread_name_prefix="images") as pool:
            parts = pool.map(cut, study_of_image)
            return dict(zip(study_of_image, parts, strict=True))

    def _assemble(
        self, study_id: str, prompt: Prompt, patches: dict[str, torch.Tensor]
    ) -> EncodedPrompt:
        image_ids = [image.image_id for image in prompt.images]
        try:
            sizes = [self._images.size(image_id) for image_id in image_ids]
        except DataError as error:
            raise DataError(f"study {study_id!r}: {error}") from error
        return self.processor.assemble(
            study_id,
            prompt,
            sizes,
            [patches.get(image_id) for image_id in image_ids],
            image_ids=image_ids,
        )


class PromptEncoder(StudyEncoder):
    """Encodes studies of one set for one model.

    Attributes:
        budget: How large the set's images are.

    Args:
        studies: The set that the studies belong to; it holds their images.
        processor: Of the model.
        config: Number of images, prompt template.

    Raises:
        DataError: The set's images do not have a size that the model can read, or a text holds a
            special token of the model (the message names the study).
    """

    def __init__(self, studies: StudySet, processor: PromptProcessor, config: DataConfig) -> None:
        store = ImageStore.open(studies.folder, memory_bytes=_MEMORY_BYTES)
        super().__init__(store, processor, config)
        self._special_tokens.refuse(studies)
        self._folder = studies.folder
        self.budget = PixelBudget(**read_prepared(studies.folder)["budget"])
        multiple = self.budget.multiple_of
        if multiple % processor.factor and len(store):
            raise DataError(
                f"{studies.folder}: sides of its images are multiples of {multiple}, and this "
                f"model reads multiples of {processor.factor}; prepare the set again with "
                f"--multiple-of {processor.factor} (the phantom: with a fitting --size-px)"
            )

    @property
    def pixel_identity(self) -> str:
        """What decides the patches of an image id: the set's content, and how images are cut."""
        digest = hashlib.sha256((self._folder / PREPARED_FILE).read_bytes())
        digest.update(self.processor.image_processor.to_json_string().encode())
        return digest.hexdigest()


def load_split(data: DataConfig, split: Split, *, without_references: bool = False) -> StudySet:
    """Load the studies of one split that a run or a generation uses; warn of what is left out.

    Args:
        data: Folder and target. `train_limit` takes the first so many of the training studies that
            have all sections of the target, `validation_limit` of those of the other splits.
        split: Which part.
        without_references: Whether studies without a report will do, if no study has one.

    Returns:
        The studies.

    Raises:
        DataError: there is none.
    """
    folder, target = data.folder, data.target
    studies = StudySet.load(Path(folder), split=split, target=target, needs_reference=True)
    every = len(studies) + studies.left_out
    if not every:
        raise DataError(
            f"{folder}: no {split.value} study; prepare it with another --seed or split column"
        )
    if not len(studies):
        if not without_references:
            raise DataError(
                f"{folder}: no {split.value} study has {' and '.join(target.sections)}, as "
                "data.target asks for; set another target, or prepare the set again with "
                "--keep-without-findings"
            )
        studies = StudySet.load(Path(folder), split=split, target=target)
    elif studies.left_out:
        _LOGGER.warning(
            "%s: %d of %d %s studies lack %s and are left out",
            folder,
            studies.left_out,
            every,
            split.value,
            " or ".join(target.sections),
        )
    limit = data.train_limit if split is Split.TRAIN else data.validation_limit
    return studies if limit is None else studies[:limit]
