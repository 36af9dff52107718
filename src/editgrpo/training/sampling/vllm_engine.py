"""vLLM as the engine that samples responses, through TRL's own integration (docs/vllm.md).

TRL starts or reaches vLLM, gives it the policy's weights and asks it for responses
(`trl.generation.vllm_generation.VLLMGeneration`). Here is what lies between that and this package:
prompts and images in the form that vLLM takes, and its answers, checked.

Left out on purpose: settings (vllm_settings.py), and the weights of sampled tokens
(step/importance.py).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from editgrpo.errors import DataError, TrainingError
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.processor import EncodedPrompt, StudyProcessor
from editgrpo.training.sampling.sampler import Asked, SampledResponse

# vLLM takes biases from -100 to 100; a probability below e^-100 is none.
_FORBIDDEN_BIAS = -100.0

Pixels = Callable[[EncodedPrompt], Sequence[NDArray[np.uint8]]]


class VLLMSampler:
    """Samples responses by TRL's connection to vLLM.

    Args:
        generation: The `VLLMGeneration` that TRL's trainer has made; two of its settings are
            changed.
        processor: Of the policy.
        settings: How to draw; the temperature is the one that TRL was given.
        pixels: Gives the images of a prompt, (H, W, 3) uint8, as they were encoded.
        importance_cap: Largest weight of a sampled token.
    """

    def __init__(
        self,
        generation: Any,
        processor: StudyProcessor,
        settings: SamplingSettings,
        *,
        pixels: Pixels,
        importance_cap: float,
    ) -> None:
        self.importance_cap = importance_cap
        self._generation = generation
        self._processor = processor
        self._pixels = pixels
        self._settings = settings
        self._synced_step: int | None = None
        # In server mode TRL looks the images' places up by this object's `image_token_id`, which a
        # tokenizer alone does not have.
        generation.processing_class = processor
        forbidden = dict.fromkeys(settings.forbidden_token_ids, _FORBIDDEN_BIAS)
        if forbidden:
            generation.generation_kwargs = {
                **generation.generation_kwargs,
                "logit_bias": forbidden,
            }

    def check(self, prompt: EncodedPrompt) -> None:
        """Check nothing: each token is weighed by how far vLLM is from the policy."""

    def sample(self, step: int, asked: Sequence[Asked], rows: range) -> list[list[SampledResponse]]:
        """Sample as many responses for each study as there are rows.

        The first call of a step gives vLLM the policy's weights. All processes must call this
        together, with equally many studies.

        Args:
            step: Steps taken before this one.
            asked: P studies of this process.
            rows: How many rollouts; vLLM draws by its own generator, whatever their numbers.

        Returns:
            For each study one response a row, ended by an end-of-sequence token unless it reached
            the length limit.

        Raises:
            DataError: vLLM would see an image otherwise than the policy does (names the study).
            TrainingError: vLLM does not answer, or its answer cannot be trained on.
        """
        samples = len(rows)
        given = [self._row(one.prompt, self._pixels(one.prompt)) for one in asked]
        repeated = [row for row in given for _ in range(samples)]
        pictures = [row_pictures for _, row_pictures in repeated]
        try:
            if step != self._synced_step:
                self._generation.sync_weights()
                self._synced_step = step
            _, token_ids, log_probs, named_ids = self._generation.generate(
                prompts=[ids for ids, _ in repeated],
                images=None if all(one is None for one in pictures) else pictures,
                num_generations=samples,
            )
        except OSError as error:  # what `requests` raises
            if self._generation.mode != "server":
                raise
            raise TrainingError(
                f"the vLLM server does not answer any more ({type(error).__name__}); start it again"
                " and go on with --resume"
            ) from error
        if log_probs is None or not len(token_ids) == len(log_probs) == len(repeated):
            raise TrainingError(
                f"vLLM was asked for {len(repeated)} responses with log-probabilities and gave "
                f"{len(token_ids)} with {0 if log_probs is None else len(log_probs)}"
            )
        answers = iter(zip(token_ids, log_probs, named_ids, strict=True))
        return [
            [self._response(one.prompt.study_id, *next(answers)) for _ in range(samples)]
            for one in asked
        ]

    def _row(
        self, prompt: EncodedPrompt, images: Sequence[NDArray[np.uint8]]
    ) -> tuple[list[int], list[Image.Image] | None]:
        """Return a prompt's token ids and pictures as vLLM takes them."""
        grids = [] if prompt.image_grid_thw is None else prompt.image_grid_thw.tolist()
        if len(grids) != len(images):
            raise DataError(
                f"study {prompt.study_id}: {len(images)} images are at hand for a prompt of "
                f"{len(grids)}"
            )
        for pixels, grid in zip(images, grids, strict=True):
            self._check_size(prompt.study_id, pixels, grid)
        ids = prompt.input_ids_T.tolist()
        collapsed = collapse_runs(ids, self._processor.image_token_id)
        if collapsed.count(self._processor.image_token_id) != len(images):
            raise DataError(
                f"study {prompt.study_id}: its images are side by side in the prompt; vLLM needs "
                "a chat template with something between them"
            )
        pictures = [Image.fromarray(pixels) for pixels in images] or None
        if self._generation.mode == "server":
            return ids, pictures
        # In the training process vLLM itself puts a run of image tokens in the place of each that
        # it finds: it would expand a run once more.
        return collapsed, pictures

    def _check_size(self, study_id: str, pixels: NDArray[np.uint8], grid: list[int]) -> None:
        height, width = pixels.shape[:2]
        image_processor = self._processor.image_processor
        patch, limits = image_processor.patch_size, image_processor.size
        if (height, width) != (grid[1] * patch, grid[2] * patch):
            raise DataError(
                f"study {study_id}: an image of {width} x {height} pixels is at hand for one that "
                f"was encoded as {grid[2] * patch} x {grid[1] * patch}"
            )
        smallest, largest = limits["shortest_edge"], limits["longest_edge"]
        if not smallest <= height * width <= largest:
            raise DataError(
                f"study {study_id}: vLLM would resize an image of {width} x {height} pixels to "
                f"between {smallest} and {largest} pixels; widen `size`, "
                "`min_pixels` and `max_pixels` in the model's preprocessor_config.json, or prepare "
                "the studies within them"
            )

    def _response(
        self,
        study_id: str,
        token_ids: Sequence[int],
        log_probs: Sequence[Sequence[float | None]],
        named_ids: Sequence[Sequence[int]],
    ) -> SampledResponse:
        """Return one response, checked."""
        settings = self._settings
        is_end = [token in settings.eos_token_ids for token in token_ids]
        if not token_ids or not len(token_ids) == len(log_probs) == len(named_ids):
            fault = f"{len(token_ids)} tokens with {len(log_probs)} log-probabilities"
        elif len(token_ids) > settings.max_tokens or any(is_end[:-1]):
            fault = "a response that goes on after its end"
        elif not is_end[-1] and len(token_ids) < settings.max_tokens:
            fault = (
                f"a response cut at {len(token_ids)} tokens; raise rollout.vllm.max_model_length, "
                "or --max-model-len of the server"
            )
        elif not set(settings.forbidden_token_ids).isdisjoint(token_ids):
            fault = "a response with an image token"
        elif any(one not in ids for one, ids in zip(token_ids, named_ids, strict=True)):
            fault = "log-probabilities of other tokens than those of the response"
        else:
            found = [
                values[ids.index(token)]
                for token, values, ids in zip(token_ids, log_probs, named_ids, strict=True)
            ]
            given = tuple(math.nan if value is None else float(value) for value in found)
            return SampledResponse(tuple(token_ids), given)
        raise TrainingError(f"study {study_id}: vLLM gave {fault}")


def collapse_runs(token_ids: Sequence[int], image_token_id: int) -> list[int]:
    """Return a prompt with one image token in the place of each run of them.

    Args:
        token_ids: A prompt; the images are apart from each other.
        image_token_id: Stands for a piece of an image.

    Returns:
        The prompt as its chat template wrote it, before images were known.
    """
    return [
        token
        for index, token in enumerate(token_ids)
        if token != image_token_id or index == 0 or token_ids[index - 1] != image_token_id
    ]
