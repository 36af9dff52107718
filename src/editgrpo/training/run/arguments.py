"""What transformers' Trainer and TRL are told: every field of theirs that can move a number.

A default of theirs that changes with a version would change results without a word, so none is
relied on: what is not a setting of ours stands here with its value. The fields of the installed
versions that are left out are listed in tests/training/run/test_arguments.py, with why they move
nothing.

No model and no data here; of the processes of a launch only their number.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from trl import GRPOConfig
from trl import SFTConfig as TRLSFTConfig

from editgrpo.config import DType, KLTerm, OptimConfig, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.run.folder import CHECKPOINTS
from editgrpo.training.run.launch import processes_of_launch
from editgrpo.training.run.optimizers import optimizer_arguments
from editgrpo.training.run.trackers import others, run_name
from editgrpo.training.sampling.vllm_settings import vllm_arguments

_LOGGER = logging.getLogger(__name__)

ADAM_BETA1, ADAM_EPSILON = 0.9, 1e-8
"""AdamW's usual values; the paper names none."""

_ACCELERATOR: dict[str, Any] = {
    # Each process draws its own part of a batch; the samplers yield whole steps.
    "split_batches": False,
    "dispatch_batches": None,
    "even_batches": True,
    "use_seedable_sampler": True,
    "non_blocking": False,
    "gradient_accumulation_kwargs": None,
}

_PLAIN_TRAINING: dict[str, Any] = {
    "lr_scheduler_kwargs": None,
    "adam_beta1": ADAM_BETA1,
    "adam_epsilon": ADAM_EPSILON,
    "optim_args": None,
    "optim_target_modules": None,
    "average_tokens_across_devices": True,  # a token mean over all processes, not one of each
    "label_smoothing_factor": 0.0,
    "neftune_noise_alpha": None,
    "fp16": False,
    "bf16_full_eval": False,
    "fp16_full_eval": False,
    "tf32": None,  # PyTorch's own setting: full float32 in products of matrices
    "torch_compile": False,
    "use_liger_kernel": False,
    "use_cache": False,
    "auto_find_batch_size": False,
    "logging_strategy": "steps",
    "logging_steps": 1,
    "logging_first_step": False,
    "logging_nan_inf_filter": False,  # a loss that is no number is not to be logged as the mean
    "eval_strategy": "no",
    "eval_on_start": False,
    "save_strategy": "steps",
    "save_only_model": False,
    "load_best_model_at_end": False,
    "ignore_data_skip": False,
    "full_determinism": False,
    "data_seed": None,
    "accelerator_config": _ACCELERATOR,
    "dataloader_drop_last": False,
    "remove_unused_columns": False,
    # None is: a pass without images runs the tower too. To look costs time, and a warning.
    "ddp_find_unused_parameters": False,
    "model_init_kwargs": None,
    "trust_remote_code": False,
    "router_aux_loss_coef": None,
    "pad_to_multiple_of": None,
}

_PLAIN_SFT: dict[str, Any] = {
    "loss_type": "nll",
    "shuffle_dataset": False,  # the sampler draws the order
    "chat_template_path": None,
    "eos_token": None,
    "pad_token": None,
    "max_length": None,
    "dataset_kwargs": {"skip_prepare_dataset": True},
    "packing": False,
    "padding_free": False,
    # The collator's labels say which tokens are scored.
    "completion_only_loss": None,
    "assistant_only_loss": False,
}

_PLAIN_GRPO: dict[str, Any] = {
    "disable_dropout": True,
    "shuffle_dataset": False,  # the sampler draws the order
    "cast_lm_head_to_fp32": False,  # the head computes in the format of the policy
    # One batch a step, and one update for it; the trainer itself shares it out to passes.
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 1,
    "generation_batch_size": None,
    "num_iterations": 1,
    # Sampled from all of the policy's distribution, in vLLM too.
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "chat_template_kwargs": None,
    "delta": None,  # the ratio is cut on one side, as in PPO
    "importance_sampling_level": "token",
    "off_policy_mask_threshold": None,
    "mask_truncated_completions": False,
    "sync_ref_model": False,  # the reference is the frozen SFT policy
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
}


def common_arguments(config: SFTConfig | TrainConfig) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer that both kinds of run share.

    Args:
        config: The run.

    Returns:
        Keyword arguments of TRL's configurations.

    Raises:
        ConfigError: the optimiser needs a package that is not installed.
    """
    return {
        **_PLAIN_TRAINING,
        "output_dir": str(Path(config.output) / CHECKPOINTS),
        "learning_rate": config.optim.learning_rate,
        "weight_decay": config.optim.weight_decay,
        "max_grad_norm": config.optim.max_grad_norm,
        "adam_beta2": config.optim.beta2,
        "warmup_steps": config.optim.warmup_steps,
        "lr_scheduler_type": config.optim.schedule.value,
        "gradient_checkpointing": config.model.gradient_checkpointing,
        "bf16": config.model.dtype is DType.BFLOAT16,
        "use_cpu": not torch.cuda.is_available(),
        "seed": config.seed,
        "save_steps": config.save_every,
        "report_to": others(config.report_to) or "none",
        "run_name": run_name(config),
        "disable_tqdm": True,
        **optimizer_arguments(config.optim),
    }


def sft_arguments(config: SFTConfig, *, steps: int, passes: int) -> dict[str, Any]:
    """Return the keywords of TRL's SFTConfig; see `fine_tuning_arguments`."""
    return {
        **common_arguments(config),
        **_PLAIN_SFT,
        "max_steps": steps,
        "per_device_train_batch_size": config.micro_batch_size,
        "gradient_accumulation_steps": passes,
    }


def grpo_arguments(config: TrainConfig) -> dict[str, Any]:
    """Return the keywords of TRL's GRPOConfig; see `training_arguments`."""
    objective, rollout = config.objective, config.rollout
    high = objective.epsilon_high
    return {
        **common_arguments(config),
        **_PLAIN_GRPO,
        "max_steps": config.steps,
        "per_device_train_batch_size": _prompts_per_process(config) * rollout.group_size,
        "num_generations": rollout.group_size,
        "max_completion_length": rollout.max_completion_tokens,
        "temperature": rollout.temperature,
        "beta": objective.beta,
        "use_bias_correction_kl": objective.kl is KLTerm.K3_TIMES_RATIO,
        "epsilon": objective.epsilon,
        "epsilon_high": objective.epsilon if high is None else high,
        "loss_type": objective.loss.value,
        "scale_rewards": objective.scale.value,
        **vllm_arguments(rollout),
    }


def _prompts_per_process(config: TrainConfig) -> int:
    processes = processes_of_launch()
    prompts, rest = divmod(config.prompts_per_step, processes)
    if rest:
        raise ConfigError(
            f"prompts_per_step is {config.prompts_per_step}; it must be a multiple of the number "
            f"of processes ({processes}), as a group stays in one of them"
        )
    return prompts


def training_arguments(config: TrainConfig) -> GRPOConfig:
    """Translate a configuration of reinforcement learning into TRL's arguments.

    Args:
        config: The run.

    Returns:
        The arguments.

    Raises:
        ConfigError: the prompts of a step cannot be shared evenly by the processes.
    """
    warn_of_long_warmup(config.optim, config.steps)
    told = GRPOConfig(**grpo_arguments(config))
    use_one_gpu(told)
    return told


def fine_tuning_arguments(config: SFTConfig, *, steps: int, passes: int) -> TRLSFTConfig:
    """Translate a configuration of fine-tuning into TRL's arguments.

    Args:
        config: The run.
        steps: Optimiser steps of the run.
        passes: Forward and backward passes of a process in a step.

    Returns:
        The arguments.
    """
    told = TRLSFTConfig(**sft_arguments(config, steps=steps, passes=passes))
    use_one_gpu(told)
    return told


def warn_of_long_warmup(optim: OptimConfig, steps: int) -> None:
    """Warn where the learning rate rises until the run is over.

    Args:
        optim: Of the run.
        steps: Optimiser steps of the run.
    """
    if optim.warmup_steps >= steps:
        _LOGGER.warning(
            "optim.warmup_steps is %d of %d steps: the learning rate does not reach its peak; "
            "train longer, or set it to %d",
            optim.warmup_steps,
            steps,
            steps // 10,
        )


def use_one_gpu(told: TrainingArguments) -> None:
    """Keep a process that was launched alone to one GPU, however many it sees.

    transformers would spread each batch over all of them in threads (DataParallel), and make it so
    many times as large: another result on another machine.

    Args:
        told: The arguments of a Trainer that is not built yet; changed.
    """
    seen = told.n_gpu
    if seen > 1:
        told._n_gpu = 1
        _LOGGER.warning("one of %d GPUs is used; torchrun uses all, see docs/scale-out.md", seen)
