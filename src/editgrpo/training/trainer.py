"""EditGRPO on TRL's GRPOTrainer: the only module that knows it.

TRL keeps the clipped loss, checkpoints and distribution; transformers the optimiser loop. Replaced
here is what happens inside one step: which studies it gets, how their responses come about (sampled
with a shared prompt, edited, scored), how log-probabilities are computed (packed passes over whole
groups, as many as the token budget asks for, each with its own backward pass), and the KL term.
tests/training/test_trl_seams.py names every seam.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import datasets
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import use_adapter

from editgrpo.config import KLTerm, TrainConfig
from editgrpo.data.study import Study
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups
from editgrpo.training.packed.plain import PlainGroups, add_plain_pass, check_plain_path
from editgrpo.training.packed.self_check import check_group_pass
from editgrpo.training.policy.load import peft_config
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.run.checkpoints import CheckpointTrainer
from editgrpo.training.run.divergence import check_finite
from editgrpo.training.run.feature_store import make_feature_store
from editgrpo.training.run.precision import exchange_in_float32
from editgrpo.training.run.sampling_policy import sampling_policy
from editgrpo.training.run.saving import OneFormat
from editgrpo.training.run.setup import TrainingSetup
from editgrpo.training.run.step_log import StepLog
from editgrpo.training.sampling.engines import make_sampler
from editgrpo.training.step.batches import StepSampler, UpdatePass, loss_inputs, tokens_of_passes
from editgrpo.training.step.clock import StepClock
from editgrpo.training.step.credit import credit_inputs, weigh_inputs
from editgrpo.training.step.dynamic_sampling import StepDraws
from editgrpo.training.step.edit_schedule import EditSchedule
from editgrpo.training.step.importance import SampleWeights
from editgrpo.training.step.kl import aggregate_tokens, counted_sums, k3_divergence
from editgrpo.training.step.likelihood import ReferenceLikelihood, part_rows
from editgrpo.training.step.prompt_order import step_sampler
from editgrpo.training.step.records import loss_metrics
from editgrpo.training.step.sample_edit_score import Rounds
from editgrpo.training.step.step_group import StepGroup, pack_step, plan_update, show


class EditGRPOTrainer(OneFormat, CheckpointTrainer, GRPOTrainer):  # type: ignore[misc]
    """Trains a policy on groups of sampled and edited responses.

    Args:
        config: The run's configuration.
        policy: The model, loaded from a folder (the reference policy is loaded from the same one).
        setup: Data, tokens, reward and run folder.
        arguments: TRL's arguments, from `training_arguments`.
        callbacks: Of transformers.
    """

    def __init__(
        self,
        config: TrainConfig,
        policy: Policy,
        setup: TrainingSetup,
        arguments: GRPOConfig,
        callbacks: list[Any] | None = None,
    ) -> None:
        self._config = config
        self._setup = setup
        self._clock = StepClock()
        self._step_metrics: dict[str, float] = {}
        self._pass_tokens: list[float] = []
        self._current: UpdatePass | None = None
        self._log_probs_BC: Tensor | None = None  # what TRL's loss was answered
        self._reference_rows_RC: Tensor | None = None  # of the references, which it does not read
        self._is_checked = False
        add_pass = add_plain_pass if setup.encoder.processor.is_plain else add_group_pass
        add_pass(policy, temperature=config.rollout.temperature)
        super().__init__(
            model=policy,
            # TRL insists on one. Whole groups are scored in `scoring.py`, so it is never called.
            reward_funcs=_scored_elsewhere,
            args=arguments,
            train_dataset=datasets.Dataset.from_dict({"index": list(range(len(setup.studies)))}),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config.model.lora, policy),
            callbacks=callbacks,
        )
        is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if setup.encoder.processor.is_plain:
            processes = self.accelerator.num_processes
            check_plain_path(config, processes=processes, is_sharded=is_sharded)
        if config.objective.kl is KLTerm.K3:
            self.beta = 0.0  # of TRL's loss; `_compute_loss` adds the term
        if self.ref_model is not None:
            reference = self.accelerator.unwrap_model(self.ref_model)
            add_pass(reference, temperature=config.rollout.temperature)
        self._furnish(is_sharded=is_sharded)

    def _furnish(self, *, is_sharded: bool) -> None:
        """Make what a step is done with, which asks for the trainer's accelerator."""
        config, setup = self._config, self._setup
        self._sampler = make_sampler(
            config,
            setup.tokens,
            setup.encoder,
            policy=lambda: sampling_policy(
                self.model_wrapped, self.accelerator, self.args.gradient_checkpointing_kwargs
            ),
            vllm=self.vllm_generation if self.use_vllm else None,
        )
        self._weights = SampleWeights(self._sampler.importance_cap)
        self._likelihood = ReferenceLikelihood(config, constant=self.max_completion_length)
        schedule = EditSchedule(config)
        self._rounds = Rounds(
            config=config,
            schedule=schedule,
            groups=setup.groups,
            reward=setup.reward,
            clock=self._clock,
            sampler=self._sampler,
        )
        self._step_log = StepLog(
            config, setup, schedule, is_main_process=self.accelerator.is_main_process
        )
        self._draws = StepDraws(config, setup.studies, setup.prompts, self.accelerator)
        self._features = make_feature_store(
            without_adapter_wrapper(self.accelerator.unwrap_model(self.model)),
            config.model,
            self.accelerator,
            setup,
            is_sharded=is_sharded,
        )

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, before TRL wraps the reference policy with it."""
        super().create_accelerator_and_postprocess()
        exchange_in_float32(self.accelerator)

    # --- which studies a step gets ---------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of one prompt a group; stock TRL repeats each prompt G times."""
        per_process = self._config.prompts_per_step // self.accelerator.num_processes
        told = {"dataset": self.train_dataset, "description": "Training", "is_training": True}
        loader: DataLoader[Any] = self._get_dataloader(
            **told, batch_size=per_process, sampler_fn=self._get_train_sampler
        )
        return loader

    def _get_train_sampler(self, dataset: Any = None) -> StepSampler:
        return step_sampler(self._config, [study.reference for study in self._setup.studies])

    # --- one step --------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Sample, edit, score and run the backward passes of one step.

        Args:
            model: The policy, wrapped.
            inputs: Rows that name this process's studies by `index`.
            num_items_in_batch: Not used: a step is always whole.

        Returns:
            () float32, the step's loss on this process.
        """
        model.train()
        passes = self._prepare_passes([self._setup.studies[row["index"]] for row in inputs])
        loss = torch.zeros((), device=self.accelerator.device)
        with self._clock.phase("update"):
            for number, one in enumerate(passes, start=1):
                loss += self._backward(model, one, is_last=number == len(passes))
        self._step += 1
        self._clock.end_update()
        return loss

    def _backward(self, model: Any, one: UpdatePass, *, is_last: bool) -> Tensor:
        self._current = one
        # Gradients are exchanged once: by DDP in its last backward pass, by DeepSpeed when told so.
        # FSDP exchanges in every pass, since whole gradients would not fit.
        self.accelerator.sync_gradients = is_last
        is_held_back = isinstance(model, DistributedDataParallel) and not is_last
        with model.no_sync() if is_held_back else nullcontext():
            with self.compute_loss_context_manager():
                loss: Tensor = self.compute_loss(model, one.inputs) * one.share
            self.accelerator.backward(loss)
        self._current = None
        return loss.detach()

    def _prepare_passes(self, studies: list[Study]) -> list[UpdatePass]:
        is_first, self._is_checked = not self._is_checked, True
        if is_first:
            with self._clock.phase("rollout"):
                self._sampler.check(self._setup.encoder.encode(studies[0]))
        drawn = self._draws.groups(studies, self._scored)
        groups = drawn.trained
        self._step_metrics = self._step_log.record(self.state.global_step, drawn)
        with self._clock.phase("reference"):
            if is_first:
                self._check_group_pass(groups[0])
            passes = [
                self._update_pass(some, share=len(some) / len(groups))
                for some in plan_update(
                    groups, self._config.tokens_per_pass, device=self.accelerator.device
                )
            ]
        self._pass_tokens = tokens_of_passes(passes, self.accelerator)
        return passes

    def _scored(self, studies: Sequence[Study]) -> list[StepGroup]:
        with self._clock.phase("vision"):
            asked = show(studies, self._setup.encoder, self._features)
        return self._rounds.scored(self.state.global_step, asked)

    def _update_pass(self, groups: Sequence[StepGroup], *, share: float) -> UpdatePass:
        packed = self._pack(groups)
        scored = [one.scored for one in groups]
        inputs = loss_inputs(
            scored, pad_token_id=self._setup.tokens.pad_token_id, device=self.accelerator.device
        )
        columns = inputs["completion_ids"].shape[1]
        more = credit_inputs(scored, self._config.objective, columns=columns)
        more |= self._weights.inputs([one.group for one in scored], columns=columns)
        inputs |= {name: value.to(self.accelerator.device) for name, value in more.items()}
        if self._config.objective.beta:
            inputs["ref_per_token_logps"] = part_rows(
                self._reference_log_probs(packed), groups, columns=columns
            )[0]
        return UpdatePass(groups=tuple(groups), packed=packed, inputs=inputs, share=share)

    def _pack(self, groups: Sequence[StepGroup]) -> PackedGroups | PlainGroups:
        return pack_step(
            without_adapter_wrapper(self.accelerator.unwrap_model(self.model)),
            groups,
            self._config,
            keeps_features=self._features is not None,
        )

    def _check_group_pass(self, group: StepGroup) -> None:
        prompt = self._setup.encoder.encode(group.study)  # with patches, kept features or not
        packed = self._pack([replace(group, prompt=prompt)])
        with self.accelerator.autocast():
            check_group_pass(
                self.model_wrapped,
                packed.to(self.accelerator.device),
                prompt,
                group.row_ids,
                dtype=self._config.model.dtype,
                temperature=self._config.rollout.temperature,
            )

    # --- how log-probabilities are computed ------------------------------------------------------

    def _reference_log_probs(self, packed: PackedGroups | PlainGroups) -> Tensor:
        packed = packed.to(self.accelerator.device)
        with torch.no_grad(), self.accelerator.autocast():
            if self.ref_model is not None:
                return packed_log_probs(self.ref_model, packed)[0]
            policy = self.accelerator.unwrap_model(self.model)
            with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
                return packed_log_probs(self.model, packed)[0]

    def _get_per_token_logps_and_entropies(
        self, model: Any, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor, None]:
        """Answer TRL's loss, which asks with padded rows, from the packed groups of the pass."""
        assert self._current is not None  # set for as long as a loss is computed
        packed = self._current.packed.to(self.accelerator.device)
        with self.accelerator.autocast():
            rows_BC, entropies_BC = packed_log_probs(model, packed)
        inputs, groups = self._current.inputs, self._current.groups
        columns = inputs["completion_ids"].shape[1]
        log_probs, self._reference_rows_RC = part_rows(rows_BC, groups, columns=columns)
        entropies = part_rows(entropies_BC, groups, columns=columns)[0]
        self._weights.weigh(log_probs, inputs)
        weigh_inputs(inputs, log_probs, weight=self._config.objective.edit_weight)
        self._log_probs_BC = log_probs
        return log_probs, entropies, None

    # --- the loss --------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        """Add to TRL's loss the paper's KL term, and the likelihood of the references."""
        loss: Tensor = super()._compute_loss(model, inputs)
        rows_RC, self._reference_rows_RC = self._reference_rows_RC, None
        assert rows_RC is not None and self._current is not None  # TRL's loss has asked for them
        references = self._likelihood.term(self.state.global_step, rows_RC, self._current.groups)
        return loss + self._kl_term(inputs) + references

    def _kl_term(self, inputs: Any) -> Tensor | float:
        log_probs_BC, self._log_probs_BC = self._log_probs_BC, None
        objective = self._config.objective
        if not objective.beta or objective.kl is not KLTerm.K3:
            return 0.0
        assert log_probs_BC is not None  # TRL's loss has asked for them
        is_counted_BC = inputs["completion_mask"] * inputs["tool_mask"]
        k3_BC = k3_divergence(log_probs_BC, inputs["ref_per_token_logps"])
        sums = self.accelerator.reduce(counted_sums(k3_BC, is_counted_BC)).tolist()
        for name, value in zip(("kl", "kl_capped_share"), sums[:2], strict=True):
            self._metrics["train"][name].append(value / max(sums[2], 1.0))
        term = aggregate_tokens(
            k3_BC, is_counted_BC, objective.loss, constant=self.max_completion_length
        )
        return objective.beta * term

    # --- what is measured ------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write one step's metrics and seconds to the run folder and to the trackers."""
        if "loss" not in logs:
            return  # the totals at the end of a run: wall-clock values, no metrics of a step
        metrics: dict[str, float] = {
            "step": self.state.global_step,
            **{name: logs[name] for name in ("loss", "grad_norm", "learning_rate") if name in logs},
            **self._step_metrics,
            **self._loss_metrics(),
        }
        check_finite(metrics)
        timings = {"step": self.state.global_step, **self._clock.take()}
        if self._features is not None:
            counts = asdict(self._features.take_counts())
            timings |= {f"features/{source}": count for source, count in counts.items()}
        self._metrics["train"].clear()
        self._step_log.write(metrics, timings)
        del metrics["step"]
        Trainer.log(self, metrics)  # TRL's own would add its metrics and its table of completions

    def _loss_metrics(self) -> dict[str, float]:
        everywhere = (self.accelerator.reduce, self.accelerator.device)
        return (
            loss_metrics(self._metrics["train"], self._pass_tokens)
            | self._weights.take_metrics(*everywhere)
            # The step is counted already when its numbers are written.
            | self._likelihood.take_metrics(self.state.global_step - 1, *everywhere)
        )

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the run folder says what a checkpoint is, TRL's card would not."""


def _scored_elsewhere(*_: Any, **__: Any) -> list[float]:
    raise AssertionError("rewards are computed by editgrpo.training.step.scoring, not by TRL")
