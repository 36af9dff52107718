"""What TRL is told of vLLM, and whether it can be used here (docs/vllm.md)."""

from typing import Any

import torch
from accelerate import PartialState
from trl.generation.vllm_client import VLLMClient
from trl.import_utils import is_vllm_available

from editgrpo.config import RolloutConfig, RolloutEngine, VLLMConfig
from editgrpo.errors import ConfigError, MissingExtraError
from editgrpo.extras import Extra, installation


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
        MissingExtraError: vLLM is not installed.
        ConfigError: a GPU or the server is missing, or the server was started with other settings
            than training needs.
    """
    if rollout.engine is RolloutEngine.NATIVE:
        return
    chosen = f"rollout.engine is {rollout.engine.value!r}"
    if not is_vllm_available():
        raise MissingExtraError(
            f"{chosen}, but vLLM is not installed; {installation(Extra.VLLM)}, or choose 'native'"
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
