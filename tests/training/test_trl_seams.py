"""The private parts of TRL that `trainer.py` and `sft.py` stand on, by name.

A failure here after an upgrade says which assumption to look at; what depends on the assumption is
tested against TRL's numbers in tests/parity.
"""

import inspect
from importlib.metadata import version
from typing import Any

import pytest
import trl
from packaging.requirements import Requirement
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer, SFTTrainer

from editgrpo.training.trainer import EditGRPOTrainer

HINT = f"TRL {trl.__version__} changed a seam that editgrpo.training relies on"


def source(function: Any) -> str:
    return inspect.getsource(inspect.unwrap(function))


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(inspect.unwrap(function)).parameters)


def test_the_installed_version_is_the_pinned_one() -> None:
    from importlib.metadata import requires

    pinned = next(r for r in map(Requirement, requires("editgrpo") or []) if r.name == "trl")
    assert version("trl") in pinned.specifier, HINT


@pytest.mark.parametrize(
    "name",
    [
        "get_train_dataloader",
        "_get_train_sampler",
        "_get_per_token_logps_and_entropies",
        "_compute_loss",
        "create_accelerator_and_postprocess",
        "training_step",
        "log",
        "create_model_card",
    ],
)
def test_what_the_trainer_overrides_exists_in_trl(name: str) -> None:
    assert name in EditGRPOTrainer.__dict__, "no longer overridden: take it off this list"
    assert callable(getattr(GRPOTrainer, name, None)), f"{name}: {HINT}"


def test_nothing_else_of_trl_is_overridden() -> None:
    own = {name for name in EditGRPOTrainer.__dict__ if not name.startswith("__")}
    private = {name for name in own if name.startswith("_") and hasattr(GRPOTrainer, name)}
    assert private == {
        "_get_train_sampler",
        "_get_per_token_logps_and_entropies",
        "_compute_loss",
    }, f"name each overridden seam in this file; or {HINT}"


def test_the_loss_asks_for_log_probabilities_by_the_method_that_we_answer() -> None:
    """Ours ignores the padded rows: the packed groups of the pass are what it scores."""
    text = source(GRPOTrainer._compute_loss)
    assert text.count("self._get_per_token_logps_and_entropies(") == 1, HINT
    assert "per_token_logps, entropies, aux_loss = self._get" in text, HINT
    assert "torch.cat([prompt_ids, completion_ids], dim=1)" in text, "prompts have no columns here"


@pytest.mark.parametrize(
    "key",
    [
        "prompt_ids",
        "prompt_mask",
        "completion_ids",
        "completion_mask",
        "tool_mask",
        "advantages",
        "ref_per_token_logps",
        "old_per_token_logps",
    ],
)
def test_the_loss_reads_the_keys_that_we_write(key: str) -> None:
    assert f'"{key}"' in source(GRPOTrainer._compute_loss), f"{key}: {HINT}"


def test_the_loss_takes_an_advantage_a_token_and_reads_it_behind_the_log_probabilities() -> None:
    """Credit on the span lays them on tokens; a weight of edits needs the log-probabilities."""
    text = source(GRPOTrainer._compute_loss)
    assert "if advantages.dim() == 1:" in text, HINT
    assert text.index("self._get_per_token_logps_and_entropies(") < text.index(
        'inputs["advantages"]'
    ), HINT


def test_masked_tokens_are_those_of_completion_and_tool_mask() -> None:
    text = source(GRPOTrainer._compute_loss)
    assert 'completion_mask * inputs["tool_mask"]' in text, HINT


def test_a_step_is_one_call_of_training_step() -> None:
    """Of transformers, not TRL: whose own counts steps, so that ours must."""
    assert "self._step += 1" in source(GRPOTrainer.training_step), HINT
    assert "_step" in source(GRPOTrainer.__init__), HINT
    assert parameters(Trainer.training_step)[:3] == ["self", "model", "inputs"]
    text = source(Trainer.training_step)
    assert "self.compute_loss_context_manager()" in text
    assert "self.accelerator.backward(loss" in text


def test_gradients_are_held_back_by_the_flag_that_accelerate_reads() -> None:
    from accelerate import Accelerator

    assert Accelerator.sync_gradients.fset is not None
    assert "sync_gradients=self.sync_gradients" in source(Accelerator.backward)


def test_the_loss_is_divided_by_the_accumulation_slots_and_by_a_constant() -> None:
    text = source(GRPOTrainer._compute_loss)
    assert "per_token_loss.size(0) * self.max_completion_length" in text, HINT
    assert "self.current_gradient_accumulation_steps" in text, HINT


@pytest.mark.parametrize("name", ["kl", "entropy", "clip_ratio/region_mean"])
def test_the_metrics_of_the_loss_keep_their_names(name: str) -> None:
    assert f'self._metrics[mode]["{name}"].append(' in source(GRPOTrainer._compute_loss), HINT


def test_a_beta_of_zero_leaves_the_kl_out_of_the_loss() -> None:
    """Ours is then added; TRL has made the reference policy before."""
    text = source(GRPOTrainer._compute_loss)
    assert text.count("self.beta") == text.count("if self.beta != 0.0:") + 1 == 4, HINT
    assert "return self._compute_loss(model, inputs)" in source(GRPOTrainer.compute_loss), HINT
    assert "if self.args.use_bias_correction_kl:" in text, HINT


def test_the_loader_is_built_by_a_method_that_takes_a_sampler() -> None:
    names = parameters(GRPOTrainer._get_dataloader)
    used = ["dataset", "description", "batch_size", "sampler_fn", "is_training"]
    assert set(used) <= set(names), HINT


def test_the_fused_head_takes_labels_that_are_shifted_already() -> None:
    from trl.trainer.utils import add_fused_lm_head

    assert "add_fused_lm_head(" in source(GRPOTrainer.__init__), HINT
    text = source(add_fused_lm_head)
    assert "fused_lm_head=False, labels=None, shift_labels=None" in text, HINT
    assert "labels = shift_labels" in text, HINT


def test_resuming_loads_weights_where_ours_replaces_it() -> None:
    """Of transformers, not TRL: called before the model is wrapped, with the folder as text."""
    names = ["self", "resume_from_checkpoint", "model"]
    assert parameters(Trainer._load_from_checkpoint) == names
    assert "self._load_from_checkpoint(resume_from_checkpoint)" in source(Trainer.train)


def test_sft_evaluates_with_the_fused_head_too() -> None:
    assert "add_fused_lm_head" in source(SFTTrainer.__init__), HINT


def test_the_helpers_that_we_import_keep_their_arguments() -> None:
    from trl.models.utils import unwrap_model_for_generation
    from trl.trainer.utils import use_adapter

    assert parameters(use_adapter) == ["model", "adapter_name"], HINT
    assert parameters(unwrap_model_for_generation)[:2] == ["model", "accelerator"], HINT


def test_the_arguments_that_we_set_exist() -> None:
    names = set(parameters(GRPOConfig.__init__))
    used = {"steps_per_generation", "num_generations", "max_completion_length", "temperature"}
    used |= {
        "beta",
        "use_bias_correction_kl",
        "epsilon",
        "loss_type",
        "scale_rewards",
        "disable_dropout",
    }
    assert used <= names, HINT
