"""No default of transformers or TRL decides a number: each field is set by us, or listed here with
its default and why it moves none.

A failure after an upgrade names a field that is new, gone, or has another default. Decide whether
it can move a number: if so, set it in `training/run/arguments.py`, else list it here.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
import transformers
import trl
from transformers.trainer_pt_utils import AcceleratorConfig
from trl import GRPOConfig
from trl import SFTConfig as TRLSFTConfig

from editgrpo.config import (
    DType,
    ModelConfig,
    OptimConfig,
    RolloutConfig,
    RolloutEngine,
    SFTConfig,
    TrainConfig,
)
from editgrpo.training.run import arguments
from editgrpo.training.run.arguments import (
    fine_tuning_arguments,
    grpo_arguments,
    sft_arguments,
    training_arguments,
)

VERSIONS = f"transformers {transformers.__version__}, TRL {trl.__version__}"

SAME = "the same numbers, at another speed or in other memory"
LAUNCH = "the launcher's to say; docs/scale-out.md"
NO_EVALUATION = "the Trainer evaluates nothing; training/epochs.py does"
NOT_SHOWN = "only what is shown, stored or sent"
UNREAD = "read only with another field that is set"
OWN = "replaced by a part of ours: sampler, collator, rollouts or rewards"

COMMON: Mapping[str, tuple[Any, str]] = {
    "num_train_epochs": (3.0, "max_steps is set, and wins"),
    "activation_checkpointing": (None, "gradient_checkpointing is set, its other name"),
    "activation_checkpointing_kwargs": (None, SAME),
    "gradient_checkpointing_kwargs": (None, SAME),
    "torch_compile_backend": (None, UNREAD),
    "torch_compile_mode": (None, UNREAD),
    "liger_kernel_config": (None, UNREAD),
    "torch_empty_cache_steps": (None, SAME),
    "log_on_each_node": (True, NOT_SHOWN),
    "include_num_input_tokens_seen": ("no", NOT_SHOWN),
    "log_level": ("passive", NOT_SHOWN),
    "log_level_replica": ("warning", NOT_SHOWN),
    "project": ("huggingface", NOT_SHOWN),
    "trackio_space_id": (None, NOT_SHOWN),
    "trackio_bucket_id": (None, NOT_SHOWN),
    "trackio_static_space_id": (None, NOT_SHOWN),
    "eval_steps": (None, NO_EVALUATION),
    "eval_delay": (0, NO_EVALUATION),
    "per_device_eval_batch_size": (8, NO_EVALUATION),
    "prediction_loss_only": (False, NO_EVALUATION),
    "eval_do_concat_batches": (True, NO_EVALUATION),
    "eval_use_gather_object": (False, NO_EVALUATION),
    "eval_accumulation_steps": (None, NO_EVALUATION),
    "include_for_metrics": (list, NO_EVALUATION),
    "batch_eval_metrics": (False, NO_EVALUATION),
    "metric_for_best_model": (None, UNREAD),
    "greater_is_better": (None, UNREAD),
    "label_names": (None, NO_EVALUATION),
    "do_train": (False, "read by scripts of transformers' own"),
    "do_eval": (False, NO_EVALUATION),
    "do_predict": (False, NO_EVALUATION),
    "resume_from_checkpoint": (None, "given to `train`"),
    "save_on_each_node": (False, NOT_SHOWN),
    "save_total_limit": (None, "training/run/callbacks.py removes checkpoints"),
    "enable_jit_checkpoint": (False, "a signal's checkpoint is ours: training/run/callbacks.py"),
    "restore_callback_states_from_checkpoint": (False, "our callbacks keep nothing"),
    "push_to_hub": (False, NOT_SHOWN),
    "hub_token": (None, NOT_SHOWN),
    "hub_private_repo": (None, NOT_SHOWN),
    "hub_model_id": (None, NOT_SHOWN),
    "hub_strategy": ("every_save", NOT_SHOWN),
    "hub_always_push": (False, NOT_SHOWN),
    "hub_revision": (None, NOT_SHOWN),
    "parallelism_config": (None, LAUNCH),
    "fsdp": (None, LAUNCH),
    "fsdp_config": (None, LAUNCH),
    "deepspeed": (None, LAUNCH),
    "ddp_backend": (None, LAUNCH),
    "ddp_timeout": (1800, LAUNCH),
    "local_rank": (-1, LAUNCH),
    "ddp_bucket_cap_mb": (None, SAME),
    "ddp_static_graph": (None, SAME),
    "ddp_broadcast_buffers": (None, "no buffer of these models changes in training"),
    "dataloader_num_workers": (0, SAME),
    "dataloader_pin_memory": (True, SAME),
    "dataloader_persistent_workers": (False, SAME),
    "dataloader_prefetch_factor": (None, SAME),
    "dataloader_multiprocessing_context": (None, SAME),
    "dataloader_in_order": (True, "read only with workers, of which there are none"),
    "train_sampling_strategy": ("random", OWN),
    "length_column_name": ("length", OWN),
    "debug": ("", NOT_SHOWN),
    "skip_memory_metrics": (True, NOT_SHOWN),
}

GRPO: Mapping[str, tuple[Any, str]] = {
    "num_generations_eval": (None, NO_EVALUATION),
    "ds3_gather_for_generation": (True, SAME),
    "cache_implementation": (None, OWN),
    "use_transformers_continuous_batching": (False, OWN),
    "transformers_continuous_batching_config": (None, OWN),
    "use_transformers_paged": (False, OWN),
    "max_tool_calling_iterations": (None, OWN),
    "reward_weights": (None, OWN),
    "multi_objective_aggregation": ("sum_then_normalize", OWN),
    "sapo_temperature_neg": (1.05, UNREAD),
    "sapo_temperature_pos": (1.0, UNREAD),
    "vespo_k_pos": (2.0, UNREAD),
    "vespo_lambda_pos": (3.0, UNREAD),
    "vespo_k_neg": (3.0, UNREAD),
    "vespo_lambda_neg": (2.0, UNREAD),
    "ref_model_mixup_alpha": (0.6, UNREAD),
    "ref_model_sync_steps": (512, UNREAD),
    "entropy_coef_min": (0.0, UNREAD),
    "entropy_coef_max": (1.0, UNREAD),
    "entropy_coef_delta": (0.005, UNREAD),
    "entropy_target": (0.2, UNREAD),
    "log_completions": (False, NOT_SHOWN),
    "log_multimodal": (True, NOT_SHOWN),
    "num_completions_to_print": (None, NOT_SHOWN),
    "log_unique_prompts": (False, NOT_SHOWN),
    "log_completions_hub_repo": (None, NOT_SHOWN),
    "vllm_server_host": ("0.0.0.0", "vllm_server_base_url is set where it is read"),
    "vllm_server_port": (8000, "vllm_server_base_url is set where it is read"),
    "vllm_importance_sampling_cap": (None, "the older name of a field that is set"),
}

# Set where vLLM samples in that way, and read nowhere else.
OF_VLLM: Mapping[str, tuple[Any, str]] = {
    "vllm_importance_sampling_correction": (True, UNREAD),
    "vllm_importance_sampling_mode": ("sequence_mask", UNREAD),
    "vllm_importance_sampling_clip_max": (3.0, UNREAD),
    "vllm_importance_sampling_clip_min": (None, UNREAD),
    "vllm_model_impl": ("vllm", UNREAD),
    "vllm_structured_outputs_regex": (None, UNREAD),
    "vllm_mode": ("colocate", UNREAD),
    "vllm_server_base_url": (None, UNREAD),
    "vllm_server_timeout": (240.0, UNREAD),
    "vllm_group_port": (51216, UNREAD),
    "vllm_gpu_memory_utilization": (0.3, UNREAD),
    "vllm_tensor_parallel_size": (1, UNREAD),
    "vllm_max_model_length": (None, UNREAD),
    "vllm_enable_sleep_mode": (False, UNREAD),
}

SFT: Mapping[str, tuple[Any, str]] = {
    "dataset_text_field": ("text", OWN),
    "dataset_num_proc": (None, OWN),
    "truncation_mode": ("keep_start", "max_length is None: nothing is cut"),
    "packing_strategy": ("bfd", UNREAD),
    "eval_packing": (None, NO_EVALUATION),
    "activation_offloading": (False, SAME),
}


def default_of(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return None if field.default_factory is MISSING else field.default_factory


def check(kind: type, told: Mapping[str, Any], listed: Mapping[str, tuple[Any, str]]) -> None:
    """Compare the fields of a class with those that are set and those that are listed."""
    defaults = {field.name: default_of(field) for field in fields(kind)}
    assert not set(told) & set(listed), f"set and listed; {VERSIONS}"
    unknown = set(defaults) - set(told) - set(listed)
    assert not unknown, f"neither set nor listed, of {VERSIONS}: {sorted(unknown)}"
    gone = (set(told) | set(listed)) - set(defaults)
    assert not gone, f"not of {VERSIONS}: {sorted(gone)}"
    changed = {
        name: defaults[name] for name, (value, _) in listed.items() if defaults[name] != value
    }
    assert not changed, f"other defaults in {VERSIONS}: {changed}"


@pytest.mark.parametrize("engine", list(RolloutEngine))
def test_every_field_of_reinforcement_learning_is_set_or_moves_no_number(
    engine: RolloutEngine,
) -> None:
    told = grpo_arguments(TrainConfig(rollout=RolloutConfig(engine=engine)))
    of_other_engines = {name: entry for name, entry in OF_VLLM.items() if name not in told}
    check(GRPOConfig, told, {**COMMON, **GRPO, **of_other_engines})


def test_every_field_of_vllm_is_set_by_one_of_its_engines() -> None:
    engines = [engine for engine in RolloutEngine if engine is not RolloutEngine.NATIVE]
    told = [grpo_arguments(TrainConfig(rollout=RolloutConfig(engine=one))) for one in engines]
    assert set(OF_VLLM) <= set().union(*told)


def test_every_field_of_fine_tuning_is_set_or_moves_no_number() -> None:
    told = sft_arguments(SFTConfig(), steps=1, passes=1)
    check(TRLSFTConfig, told, {**COMMON, **SFT})


def test_every_field_of_the_loaders_is_set() -> None:
    told = dict.fromkeys(arguments._ACCELERATOR)
    not_ours = {"use_configured_state": (False, LAUNCH)}
    check(AcceleratorConfig, told, not_ours)


def test_a_new_field_or_another_default_is_noticed() -> None:
    """The check itself, on a class that is one field and one default ahead."""
    from dataclasses import make_dataclass

    newer = make_dataclass("Newer", [("a", int, 1), ("b", int, 2), ("c", int, 3)])
    check(newer, {"a": 1}, {"b": (2, SAME), "c": (3, SAME)})
    with pytest.raises(AssertionError, match=r"neither set nor listed.*\['c'\]"):
        check(newer, {"a": 1}, {"b": (2, SAME)})
    with pytest.raises(AssertionError, match=r"other defaults.*\{'b': 2\}"):
        check(newer, {"a": 1}, {"b": (9, SAME), "c": (3, SAME)})
    with pytest.raises(AssertionError, match=r"not of.*\['d'\]"):
        check(newer, {"a": 1, "d": 1}, {"b": (2, SAME), "c": (3, SAME)})


PAPER = {
    "learning_rate": 1e-6,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "beta": 0.01,
    "epsilon": 0.2,
    "epsilon_high": 0.2,
    "delta": None,
    "loss_type": "dr_grpo",
    "scale_rewards": "none",
    "num_generations": 10,
    "num_iterations": 1,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "use_bias_correction_kl": False,
    "entropy_coef": 0.0,
    "mask_truncated_completions": False,
    "importance_sampling_level": "token",
    "label_smoothing_factor": 0.0,
}


def test_the_defaults_arrive_at_trl_as_the_papers_settings(tmp_path: Path) -> None:
    config = TrainConfig(
        model=ModelConfig(path=str(tmp_path), dtype=DType.FLOAT32), output=str(tmp_path)
    )
    told = training_arguments(config)
    assert {name: getattr(told, name) for name in PAPER} == PAPER
    assert told.steps_per_generation == told.gradient_accumulation_steps == 1
    assert told.per_device_train_batch_size == told.generation_batch_size == 320


def test_fine_tuning_is_told_to_average_over_the_tokens_of_all_processes(tmp_path: Path) -> None:
    config = SFTConfig(
        model=ModelConfig(path=str(tmp_path), dtype=DType.FLOAT32),
        optim=OptimConfig(learning_rate=1e-5),
        output=str(tmp_path),
    )
    told = fine_tuning_arguments(config, steps=7, passes=8)
    assert told.average_tokens_across_devices and told.loss_type == "nll"
    assert (told.max_steps, told.gradient_accumulation_steps) == (7, 8)
    assert told.max_length is None and not told.packing


def test_a_batch_is_not_multiplied_by_the_gpus_that_a_process_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """transformers' own batch would be 4 GPUs x 4 studies, in threads of one process."""
    model = ModelConfig(path=str(tmp_path), dtype=DType.FLOAT32)
    sft = SFTConfig(model=model, output=str(tmp_path), micro_batch_size=4)
    told = fine_tuning_arguments(sft, steps=1, passes=1)
    told._n_gpu = 4
    assert told.train_batch_size == 16
    arguments.use_one_gpu(told)
    assert (told.train_batch_size, told.n_gpu) == (4, 1)
    assert "one of 4 GPUs is used; torchrun uses all" in caplog.text
    asked: list[Any] = []
    monkeypatch.setattr(arguments, "use_one_gpu", asked.append)
    both = [fine_tuning_arguments(sft, steps=1, passes=1)]
    both.append(training_arguments(TrainConfig(model=model, output=str(tmp_path))))
    assert asked == both


def test_a_run_whose_learning_rate_never_arrives_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    training_arguments(TrainConfig(steps=10, optim=OptimConfig(warmup_steps=9)))
    assert caplog.messages == []
    training_arguments(TrainConfig(steps=10, optim=OptimConfig(warmup_steps=10)))
    assert caplog.messages == [
        "optim.warmup_steps is 10 of 10 steps: the learning rate does not reach its peak; train "
        "longer, or set it to 1"
    ]
