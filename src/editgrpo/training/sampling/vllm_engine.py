"""vLLM as the engine that samples responses, through TRL's own integration (docs/vllm.md).

TRL starts or reaches vLLM, gives it the policy's weights and asks it for responses
(`trl.generation.vllm_generation.VLLMGeneration`). Here is what lies between that and this package:
settings, checks, prompts and images in the form that vLLM takes, and the weights of sampled tokens.

vLLM computes log-probabilities by other kernels than the policy in training, so that a response
comes from a slightly different distribution. Each sampled token is therefore weighted by
p_training / p_vLLM, cut at a cap, as TRL does by `token_truncate`. Tokens that nobody sampled,
those of an edited response or of a reference report, have no such weight.

Left out on purpose: the update itself (trainer.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from trl.generation.vllm_client import VLLMClient
from trl.import_utils import is_vllm_available

from editgrpo.config import RolloutConfig, RolloutEngine, VLLMConfig
from editgrpo.errors import ConfigError, DataError, TrainingError
from editgrpo.training.policy.processor import EncodedPrompt, StudyProcessor
from editgrpo.training.sampling.rollouts import SamplingSettings
from editgrpo.training.step.responses import Group, Response

# vLLM takes biases from -100 to 100; a probability below e^-100 is none.
_FORBIDDEN_BIAS = -100.0


@dataclass(frozen=True, slots=True)
class SampledResponse:
    """One response as it was sampled.

    Attributes:
        token_ids: Its tokens, the end-of-sequence token included.
        log_probs: For each token its log-probability in vLLM, NaN where vLLM gave none; None if the
            policy in training sampled it.
    """

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...] | None = None


def vllm_arguments(rollout: RolloutConfig) -> dict[str, Any]:
    """Return the arguments of TRL's GRPOConfig that choose and set up the engine.

    Args:
        rollout: The run's configuration of rollouts.

    Returns:
        Keyword arguments; that there is no vLLM if the policy itself samples.
    """
    if rollout.engine is RolloutEngine.NATIVE:
        return {"use_vllm": False}
    settings = rollout.vllm
    arguments: dict[str, Any] = {
        "use_vllm": True,
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": settings.importance_cap,
        "vllm_importance_sampling_clip_min": None,
        "vllm_model_impl": "vllm",
        "vllm_structured_outputs_regex": None,
    }
    if rollout.engine is RolloutEngine.VLLM_SERVER:
        return arguments | {
            "vllm_mode": "server",
            "vllm_server_base_url": settings.server_url,
            "vllm_server_timeout": settings.server_timeout_s,
            "vllm_group_port": settings.group_port,
        }
    return arguments | {
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": settings.gpu_memory_utilization,
        "vllm_tensor_parallel_size": settings.tensor_parallel_size,
        "vllm_max_model_length": settings.max_model_length,
        # Weights are given to vLLM anew in every step anyway, so that dropping them, and the
        # key/value cache with them, for the time of the update costs next to nothing.
        "vllm_enable_sleep_mode": True,
    }


def check_engine(rollout: RolloutConfig) -> None:
    """Check, before anything is loaded, that the engine can be used.

    Args:
        rollout: The run's configuration of rollouts.

    Raises:
        ConfigError: vLLM, a GPU or the server is missing, or the server was started with other
            settings than training needs.
    """
    if rollout.engine is RolloutEngine.NATIVE:
        return
    chosen = f"rollout.engine is {rollout.engine.value!r}"
    if not is_vllm_available():
        raise ConfigError(
            f"{chosen}, but vLLM is not installed; pip install 'trl[vllm]', or choose 'native'"
        )
    if not torch.cuda.is_available():
        raise ConfigError(f"{chosen}, but there is no CUDA device; choose 'native'")
    if rollout.engine is RolloutEngine.VLLM_SERVER:
        if PartialState().is_main_process:
            check_server(rollout.vllm)
        return
    processes, parts = PartialState().num_processes, rollout.vllm.tensor_parallel_size
    if processes % parts:
        raise ConfigError(
            f"rollout.vllm.tensor_parallel_size is {parts}; it must divide the number of "
            f"processes ({processes})"
        )


def check_server(settings: VLLMConfig) -> None:
    """Check that the server answers and was started as training needs it.

    Args:
        settings: Where it is and how long to wait for it.

    Raises:
        ConfigError: it cannot be reached, or one of its settings is another; the message names it.
    """
    try:
        client = VLLMClient(
            base_url=settings.server_url, connection_timeout=settings.server_timeout_s
        )
        found = client.get_server_info()
    except OSError as error:  # what `requests` raises
        raise ConfigError(
            f"rollout.vllm.server_url: no vLLM server answers at {settings.server_url} within "
            f"{settings.server_timeout_s:g} s; start it as docs/vllm.md says"
        ) from error
    except RuntimeError as error:
        raise ConfigError(
            f"the vLLM server at {settings.server_url} has no endpoints for weights; start it with "
            "VLLM_SERVER_DEV_MODE=1 in its environment"
        ) from error
    wanted = {
        "--logprobs-mode processed_logprobs": (
            found["model_config"]["logprobs_mode"] == "processed_logprobs"
        ),
        """--weight-transfer-config '{"backend": "nccl"}'""": (
            found["weight_transfer_config"] is not None
        ),
        "--enable-prefix-caching": found["cache_config"]["enable_prefix_caching"] is not False,
    }
    missing = [flag for flag, is_set in wanted.items() if not is_set]
    if missing:
        raise ConfigError(
            f"the vLLM server at {settings.server_url} was started with other settings than "
            f"training needs; start it with {' '.join(missing)}"
        )


class VLLMSampler:
    """Samples responses by TRL's connection to vLLM.

    Args:
        generation: The `VLLMGeneration` that TRL's trainer has made; two of its settings are
            changed.
        processor: Of the policy.
        settings: How to draw; the temperature is the one that TRL was given.
    """

    def __init__(
        self, generation: Any, processor: StudyProcessor, settings: SamplingSettings
    ) -> None:
        self._generation = generation
        self._processor = processor
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

    def sample(
        self,
        step: int,
        prompts: Sequence[EncodedPrompt],
        images_P: Sequence[Sequence[NDArray[np.uint8]]],
        samples: int,
    ) -> list[list[SampledResponse]]:
        """Sample K responses for each of P prompts.

        The first call of a step gives vLLM the policy's weights. All processes must call this
        together, with equally many prompts.

        Args:
            step: The training step.
            prompts: P prompts.
            images_P: For each prompt its images, (H, W, 3) uint8, as they were encoded.
            samples: K.

        Returns:
            For each prompt K responses, each ended by an end-of-sequence token unless it reached
            the length limit.

        Raises:
            DataError: vLLM would see an image otherwise than the policy does (names the study).
            TrainingError: vLLM does not answer, or its answer cannot be trained on.
        """
        rows = [self._row(p, images) for p, images in zip(prompts, images_P, strict=True)]
        repeated = [row for row in rows for _ in range(samples)]
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
            [self._response(prompt.study_id, *next(answers)) for _ in range(samples)]
            for prompt in prompts
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
                f"study {prompt.study_id}: its images stand side by side in the prompt; vLLM needs "
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
            fault = "a response that goes on behind its end"
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


def with_sampled_log_probs(
    groups: Sequence[Group], rollouts_PK: Sequence[Sequence[SampledResponse]]
) -> list[Group]:
    """Note in each response the log-probabilities that its tokens were sampled with.

    Args:
        groups: P groups whose first K responses are the sampled ones.
        rollouts_PK: For each the K responses.

    Returns:
        The groups. A response with the same tokens as the one that it was made from carries that
        one's; an edited response and a reference report have none.
    """
    return [
        _with_log_probs(group, rollouts)
        for group, rollouts in zip(groups, rollouts_PK, strict=True)
    ]


def _with_log_probs(group: Group, rollouts: Sequence[SampledResponse]) -> Group:
    def sampled(index: int, response: Response) -> tuple[float, ...] | None:
        source = index if index < len(rollouts) else response.source
        if source is None or response.token_ids != rollouts[source].token_ids:
            return None
        return rollouts[source].log_probs

    return replace(
        group,
        responses=tuple(
            replace(response, sampled_log_probs=sampled(index, response))
            for index, response in enumerate(group.responses)
        ),
    )


def sampled_log_prob_rows(groups: Sequence[Group], columns: int) -> Tensor:
    """Lay sampled log-probabilities out in rows, as TRL's loss reads responses.

    Args:
        groups: P groups of G responses.
        columns: C, at least the length of the longest response.

    Returns:
        (P*G, C) float32, NaN at padding and for tokens that nobody sampled.
    """
    responses = [response for group in groups for response in group.responses]
    rows_BC = torch.full((len(responses), columns), math.nan)
    for row, response in enumerate(responses):
        if response.sampled_log_probs is not None:
            values = torch.tensor(response.sampled_log_probs)
            rows_BC[row, : len(values)] = values
    return rows_BC


def importance_ratios(
    training_log_probs_BC: Tensor,
    sampled_log_probs_BC: Tensor,
    is_response_BC: Tensor,
    *,
    cap: float,
) -> Tensor:
    """Weigh each sampled token by how much likelier the policy in training finds it than vLLM did.

    Args:
        training_log_probs_BC: (B, C) log-probabilities by the policy in training before the update.
        sampled_log_probs_BC: (B, C) by vLLM; NaN for a token that nobody sampled or that vLLM gave
            none for.
        is_response_BC: (B, C) bool or 0/1, True at tokens of responses.
        cap: Largest weight.

    Returns:
        (B, C) float32 without gradient, above 0 and at most `cap`; 1 where there is nothing to
        compare, padding included.

    Source: TRL 1.16, `vllm_importance_sampling_mode="token_truncate"`:
    tests/training/sampling/test_vllm_engine.py.
    """
    difference_BC = _difference(training_log_probs_BC, sampled_log_probs_BC, is_response_BC)
    return difference_BC.nan_to_num(nan=0.0).exp().clamp(max=cap)


def sampling_gap(
    training_log_probs_BC: Tensor,
    sampled_log_probs_BC: Tensor,
    is_response_BC: Tensor,
    *,
    cap: float,
) -> Tensor:
    """Sum up how far vLLM is from the policy in training.

    Args:
        training_log_probs_BC: As for `importance_ratios`.
        sampled_log_probs_BC: As for `importance_ratios`.
        is_response_BC: As for `importance_ratios`.
        cap: As for `importance_ratios`.

    Returns:
        (3,) float32: how many tokens can be compared, the sum of their absolute differences of
        log-probabilities, and how many have a weight that is cut.
    """
    difference_BC = _difference(training_log_probs_BC, sampled_log_probs_BC, is_response_BC)
    compared = difference_BC[~difference_BC.isnan()]
    capped = compared > math.log(cap)
    return torch.stack([torch.ones_like(compared).sum(), compared.abs().sum(), capped.sum()])


def _difference(
    training_log_probs_BC: Tensor, sampled_log_probs_BC: Tensor, is_response_BC: Tensor
) -> Tensor:
    """Return log(p_training / p_vLLM) without gradient; NaN where there is nothing to compare."""
    difference_BC = training_log_probs_BC.detach().float() - sampled_log_probs_BC.float()
    return difference_BC.masked_fill(~is_response_BC.bool(), math.nan)
