"""EditGRPO on TRL's GRPOTrainer: the only module that knows it.

TRL keeps the clipped loss, checkpoints and distribution; transformers the optimiser loop. Replaced
here is what happens inside one step: which studies it gets, how their responses come about (sampled
with a shared prompt, edited, scored), how log-probabilities are computed (packed passes over whole
groups, as many as the token budget asks for, each with its own backward pass), and the KL term.
tests/training/test_trl_seams.py names every seam.
"""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import torch
from accelerate.utils import gather, gather_object
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import use_adapter

from editgrpo.config import KLTerm, TrainConfig
from editgrpo.data.study import Study
from editgrpo.errors import TrainingError
from editgrpo.rewards.types import Reward
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups, pack_groups, packed_length, plan_passes
from editgrpo.training.packed.self_check import check_group_pass, check_sampling
from editgrpo.training.policy.feature_files import FeatureDisk
from editgrpo.training.policy.features import FeatureStore
from editgrpo.training.policy.load import (
    GenerationTokens,
    peft_config,
)
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.run.checkpoints import CheckpointTrainer
from editgrpo.training.run.divergence import check_finite
from editgrpo.training.run.folder import FEATURES, METRICS, ROLLOUTS, TIMINGS, append_line
from editgrpo.training.run.precision import exchange_in_float32
from editgrpo.training.run.saving import OneFormat
from editgrpo.training.sampling.decoding import whole_weights
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.sampling.vllm_engine import (
    SampledResponse,
    VLLMSampler,
    importance_ratios,
    sampled_log_prob_rows,
    sampling_gap,
)
from editgrpo.training.seeds import rollout_draws
from editgrpo.training.step.batches import StepSampler, UpdatePass, loss_inputs
from editgrpo.training.step.clock import StepClock
from editgrpo.training.step.credit import credit_inputs, weigh_edits
from editgrpo.training.step.edit_schedule import EditSchedule
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.kl import aggregate_tokens, counted_sums, k3_divergence
from editgrpo.training.step.prompt_order import step_sampler
from editgrpo.training.step.records import UnusedEdits, group_rows, rollout_records, step_metrics
from editgrpo.training.step.sample_edit_score import Features, PromptBatch, Rounds
from editgrpo.training.step.scoring import LossBudget, ScoredGroup

_LOGGER = logging.getLogger(__name__)

OnStep = Callable[[Mapping[str, float], Mapping[str, float]], None]
OnGroups = Callable[[int, Sequence[ScoredGroup]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSetup:
    """What a run is made of, besides its configuration and the policy."""

    studies: tuple[Study, ...] | Any
    """Training studies, indexable."""
    encoder: PromptEncoder
    tokenizer: Any
    tokens: GenerationTokens
    groups: GroupBuilder
    reward: Reward
    run: Path
    """Run folder."""
    losses: LossBudget
    """Counts groups whose scoring failed."""
    on_step: OnStep | None = None
    """Called on the main process after each step with its metrics and seconds by phase."""
    on_groups: OnGroups | None = None
    """Called on every process with a step's number, counted from 1, and its own scored groups."""


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
        policy: Any,
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
        self._is_checked = False
        self._losses = setup.losses
        self._unused_edits = UnusedEdits(config.rollout.max_completion_tokens)
        add_group_pass(policy, temperature=config.rollout.temperature)
        super().__init__(
            model=policy,
            # TRL insists on one. Whole groups are scored in `scoring.py`, so it is never called.
            reward_funcs=_scored_elsewhere,
            args=arguments,
            train_dataset=datasets.Dataset.from_dict({"index": list(range(len(setup.studies)))}),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config.model.lora),
            callbacks=callbacks,
        )
        if config.objective.kl is KLTerm.K3:
            self.beta = 0.0  # of TRL's loss; `_compute_loss` adds the term
        if self.ref_model is not None:
            reference = self.accelerator.unwrap_model(self.ref_model)
            add_group_pass(reference, temperature=config.rollout.temperature)
        self._vllm = self._vllm_sampler() if self.use_vllm else None
        self._schedule = EditSchedule(config)
        self._rounds = Rounds(
            config=config,
            schedule=self._schedule,
            groups=setup.groups,
            reward=setup.reward,
            clock=self._clock,
            roll_out=self._roll_out,
        )
        self._vllm_gap = torch.zeros(3, device=self.accelerator.device)
        self._features = self._feature_store()

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, before TRL wraps the reference policy with it."""
        super().create_accelerator_and_postprocess()
        exchange_in_float32(self.accelerator)

    def _feature_store(self) -> FeatureStore | None:
        """Make the store of image features; None while the vision tower is trained."""
        tower = without_adapter_wrapper(self.accelerator.unwrap_model(self.model)).model.visual
        if any(parameter.requires_grad for parameter in tower.parameters()):
            return None
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            # The policy's own tower is about to be sharded, and its layers would have to be
            # gathered by all processes at the same time.
            tower = copy.deepcopy(tower).to(self.accelerator.device)
        model, mib = self._config.model, 2**20
        return FeatureStore(
            tower,
            autocast=self.accelerator.autocast,
            ram_bytes=model.feature_ram_mib * mib,
            disk=FeatureDisk(
                folder=self._setup.run / FEATURES,
                max_bytes=model.feature_disk_mib * mib * self.accelerator.num_processes,
                pixel_identity=self._setup.encoder.pixel_identity,
                processes=self.accelerator.num_processes,
            ),
        )

    def _vllm_sampler(self) -> VLLMSampler:
        rollout = self._config.rollout
        return VLLMSampler(
            self.vllm_generation,
            self._setup.encoder.processor,
            self._setup.tokens.sampling(
                max_tokens=rollout.max_completion_tokens, temperature=rollout.temperature
            ),
        )

    # --- which studies a step gets ---------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of one prompt a group; stock TRL repeats each prompt G times."""
        per_process = self._config.prompts_per_step // self.accelerator.num_processes
        loader: DataLoader[Any] = self._get_dataloader(
            dataset=self.train_dataset,
            description="Training",
            batch_size=per_process,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )
        return loader

    def _get_train_sampler(self, dataset: Any = None) -> StepSampler:
        return step_sampler(self._config, [study.findings for study in self._setup.studies])

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
        studies = [self._setup.studies[row["index"]] for row in inputs]
        passes = self._prepare_passes(studies)
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
        with self._clock.phase("vision"):
            if self._features is None:
                prompts, features = self._setup.encoder.encode_all(studies), None
            else:
                prompts = self._setup.encoder.encode_all(studies, known=self._features)
                features = self._features.of(prompts)
                prompts = [prompt.without_patches() for prompt in prompts]
        if not self._is_checked and self._vllm is None:
            with self._clock.phase("rollout"):
                self._check_sampling(studies[0])
        batch = PromptBatch(studies, prompts, features)
        scored = self._rounds.scored(self.state.global_step, batch)
        self._record(self.state.global_step, scored)
        with self._clock.phase("reference"):
            if not self._is_checked:
                self._check(studies[0], scored[0], None if features is None else features[:1])
            passes = [
                self._update_pass(indices, prompts, scored, features)
                for indices in self._plan(prompts, scored)
            ]
        self._pass_tokens = self._tokens_of_all_processes(passes)
        return passes

    def _plan(self, prompts: list[EncodedPrompt], scored: list[ScoredGroup]) -> list[list[int]]:
        lengths = [
            packed_length(prompt, [response.token_ids for response in group.group.responses])
            for prompt, group in zip(prompts, scored, strict=True)
        ]
        # TRL's loss gathers one number a response in every pass, and a sharded model wants all
        # processes in it: pass by pass they must hold equally many groups. So all plan alike, for
        # the longest among the processes' longest groups, second longest, and so on.
        order = sorted(range(len(lengths)), key=lambda k: -lengths[k])
        sorted_1P = torch.tensor([[lengths[k] for k in order]], device=self.accelerator.device)
        longest: list[int] = gather(sorted_1P).amax(dim=0).tolist()
        passes = plan_passes(longest, self._config.tokens_per_pass)
        return [sorted(order[k] for k in one) for one in passes]

    def _update_pass(
        self,
        indices: list[int],
        prompts: list[EncodedPrompt],
        scored: list[ScoredGroup],
        features: Features,
    ) -> UpdatePass:
        groups = [scored[k] for k in indices]
        responses = [[r.token_ids for r in one.group.responses] for one in groups]
        known = None if features is None else [features[k] for k in indices]
        packed = self._pack([prompts[k] for k in indices], responses, known)
        inputs = loss_inputs(
            groups, pad_token_id=self._setup.tokens.pad_token_id, device=self.accelerator.device
        )
        more = credit_inputs(
            groups, self._config.objective, columns=inputs["completion_ids"].shape[1]
        )
        inputs |= {name: value.to(self.accelerator.device) for name, value in more.items()}
        if self._vllm is not None:
            sampled_BC = sampled_log_prob_rows(
                [one.group for one in groups], columns=inputs["completion_ids"].shape[1]
            ).to(self.accelerator.device)
            inputs["sampling_per_token_logps"] = sampled_BC
            # Known when the loss has asked for the log-probabilities of its pass, and read after.
            inputs["importance_sampling_ratio"] = torch.ones_like(sampled_BC)
        if self._config.objective.beta:
            inputs["ref_per_token_logps"] = self._reference_log_probs(packed)
        return UpdatePass(
            indices=tuple(indices),
            packed=packed,
            inputs=inputs,
            share=len(indices) / len(prompts),
        )

    def _pack(
        self,
        prompts: list[EncodedPrompt],
        responses: list[list[tuple[int, ...]]],
        features: Features,
    ) -> PackedGroups:
        return pack_groups(
            without_adapter_wrapper(self.accelerator.unwrap_model(self.model)),
            prompts,
            responses,
            features=features,
            kernel=self._config.model.group_attention,
        )

    def _check_sampling(self, study: Study) -> None:
        rollout = self._config.rollout
        settings = self._setup.tokens.sampling(
            max_tokens=rollout.max_completion_tokens, temperature=rollout.temperature
        )
        prompt = self._setup.encoder.encode(study)
        with self._policy_to_sample() as policy:
            check_sampling(policy, prompt, settings, dtype=self._config.model.dtype)

    def _check(self, study: Study, scored: ScoredGroup, features: Features) -> None:
        prompt = self._setup.encoder.encode(study)
        responses = [response.token_ids for response in scored.group.responses]
        packed = self._pack([prompt], [responses], features)
        with self.accelerator.autocast():
            difference = check_group_pass(
                self.model_wrapped,
                packed.to(self.accelerator.device),
                prompt,
                responses,
                dtype=self._config.model.dtype,
                temperature=self._config.rollout.temperature,
            )
        _LOGGER.info("packed pass and stock model agree to %.1g nats a token", difference)
        self._is_checked = True

    def _tokens_of_all_processes(self, passes: list[UpdatePass]) -> list[float]:
        counts = [float(one.inputs["tool_mask"].sum()) for one in passes]
        total = self.accelerator.reduce(torch.tensor(counts, device=self.accelerator.device))
        tokens: list[float] = total.tolist()
        return tokens

    # --- how responses come about ----------------------------------------------------------------

    def _roll_out(self, step: int, of: PromptBatch, rows: range) -> list[list[SampledResponse]]:
        """Let the engine of the run sample some of the studies' rollouts."""
        if self._vllm is not None:
            images = [self._setup.encoder.pixels(prompt) for prompt in of.prompts]
            return self._vllm.sample(step, of.prompts, images, len(rows))
        sampled = self._sample(step, of.studies, of.prompts, of.features, rows)
        return [[SampledResponse(tuple(one)) for one in of_study] for of_study in sampled]

    def _sample(
        self,
        step: int,
        studies: list[Study],
        prompts: list[EncodedPrompt],
        features: Features,
        rows: range | None = None,
    ) -> list[list[list[int]]]:
        rollout = self._config.rollout
        if not studies:  # other processes may have some, and a shard of the model is here
            with self._policy_to_sample() as policy, whole_weights(policy):
                return []
        uniforms = rollout_draws(
            self._config.seed,
            step,
            [study.study_id for study in studies],
            rows=self._schedule.first_rows(step) if rows is None else rows,
            count=rollout.max_completion_tokens,
        )
        settings = self._setup.tokens.sampling(
            max_tokens=rollout.max_completion_tokens, temperature=rollout.temperature
        )
        with self._policy_to_sample() as policy:
            return sample_responses(
                policy,
                prompts,
                uniforms,
                settings,
                features=features,
                tokens_per_pass=self._config.tokens_per_pass,
                compiled=rollout.compile,
            )

    @contextmanager
    def _policy_to_sample(self) -> Iterator[Any]:
        """Give the policy in evaluation mode, its weights gathered, computing as in the run."""
        with unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            # It turns checkpointing off for sampling, and on again with these.
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as policy:
            # Turning it on again adds a hook to the embedding without removing the one before.
            without_adapter_wrapper(policy).disable_input_require_grads()
            was_training = policy.training
            policy.eval()
            with self.accelerator.autocast():
                yield policy
            policy.train(was_training)

    # --- how log-probabilities are computed ------------------------------------------------------

    def _reference_log_probs(self, packed: PackedGroups) -> Tensor:
        packed = packed.to(self.accelerator.device)
        with torch.no_grad(), self.accelerator.autocast():
            if self.ref_model is not None:
                return packed_log_probs(self.ref_model, packed)[0]
            policy = self.accelerator.unwrap_model(self.model)
            name = "ref" if "ref" in policy.peft_config else None
            with use_adapter(policy, adapter_name=name):
                return packed_log_probs(self.model, packed)[0]

    def _get_per_token_logps_and_entropies(
        self, model: Any, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor, None]:
        """Answer TRL's loss, which asks with padded rows, from the packed groups of the pass."""
        assert self._current is not None  # set for as long as a loss is computed
        with self.accelerator.autocast():
            log_probs, entropies = packed_log_probs(
                model, self._current.packed.to(self.accelerator.device)
            )
        if self._vllm is not None:
            self._weigh_samples(log_probs, self._current.inputs)
        if "is_spliced" in (inputs := self._current.inputs):
            # Read by the loss behind this call, and filled in anew for every one.
            weighed = weigh_edits(
                inputs["unweighted_advantages"],
                inputs["is_spliced"],
                log_probs,
                weight=self._config.objective.edit_weight,
            )
            inputs["advantages"].copy_(weighed)
        self._log_probs_BC = log_probs
        return log_probs, entropies, None

    def _weigh_samples(self, log_probs_BC: Tensor, inputs: Mapping[str, Tensor]) -> None:
        """Fill in the ratios that the loss is about to read.

        With one update a step these log-probabilities are those before the update; TRL would spend
        a pass of its own on them.
        """
        compared = (
            log_probs_BC,
            inputs["sampling_per_token_logps"],
            inputs["tool_mask"],  # tokens of dropped groups weigh nothing, and say nothing
        )
        cap = self._config.rollout.vllm.importance_cap
        inputs["importance_sampling_ratio"].copy_(importance_ratios(*compared, cap=cap))
        self._vllm_gap = self._vllm_gap + sampling_gap(*compared, cap=cap)

    # --- the loss --------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        """Add the paper's KL term to TRL's loss."""
        loss: Tensor = super()._compute_loss(model, inputs)
        log_probs_BC, self._log_probs_BC = self._log_probs_BC, None
        objective = self._config.objective
        if not objective.beta or objective.kl is not KLTerm.K3:
            return loss
        assert log_probs_BC is not None  # TRL's loss has asked for them
        is_counted_BC = inputs["completion_mask"] * inputs["tool_mask"]
        k3_BC = k3_divergence(log_probs_BC, inputs["ref_per_token_logps"])
        sums = self.accelerator.reduce(counted_sums(k3_BC, is_counted_BC)).tolist()
        for name, value in zip(("kl", "kl_capped_share"), sums[:2], strict=True):
            self._metrics["train"][name].append(value / max(sums[2], 1.0))
        term = aggregate_tokens(
            k3_BC, is_counted_BC, objective.loss, constant=self.max_completion_length
        )
        return loss + objective.beta * term

    # --- what is measured ------------------------------------------------------------------------

    def _record(self, step: int, scored: list[ScoredGroup]) -> None:
        rows = gather_object([group_rows(group) for group in scored])
        self._step_metrics = step_metrics(rows) | self._schedule.metrics(step, rows)
        if self._losses.spend(len(rows), sum(group.is_dropped for group in rows)):
            reason = next((group.failure for group in scored if group.is_dropped), "see other logs")
            raise TrainingError(
                f"step {step + 1}: scoring failed for {self._losses.lost} of {self._losses.seen} "
                f"groups so far, more than max_dropped_share ({self._config.max_dropped_share:.0%})"
                f" allows; last reason: {reason}"
            )
        if self._setup.on_groups is not None:
            self._setup.on_groups(step + 1, scored)
        records = gather_object(
            [record for group in scored for record in rollout_records(step + 1, group)]
        )
        if self.accelerator.is_main_process:
            self._unused_edits.look(rows)
            for record in records:
                append_line(self._setup.run / ROLLOUTS, record)

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
        if self.accelerator.is_main_process:
            append_line(self._setup.run / METRICS, metrics)
            append_line(self._setup.run / TIMINGS, timings)
            if self._setup.on_step is not None:
                self._setup.on_step(metrics, timings)
        # TRL's own `log` would add its metrics and its table of completions.
        Trainer.log(self, {name: value for name, value in metrics.items() if name != "step"})

    def _loss_metrics(self) -> dict[str, float]:
        names = {
            "kl": "kl",
            "kl_capped_share": "kl_capped_share",
            "entropy": "entropy",
            "clip_ratio/region_mean": "clip_share",
        }
        collected = self._metrics["train"]
        gap = {} if self._vllm is None else self._gap_to_vllm()
        # TRL gives a mean over the tokens of each pass; passes differ in length.
        return {
            ours: fmean(collected[theirs], weights=self._pass_tokens)
            for theirs, ours in names.items()
            if collected.get(theirs) and any(self._pass_tokens)
        } | gap

    def _gap_to_vllm(self) -> dict[str, float]:
        tokens, gap, capped = self.accelerator.reduce(self._vllm_gap).tolist()
        self._vllm_gap = torch.zeros_like(self._vllm_gap)
        tokens = max(tokens, 1.0)  # none if vLLM gave no log-probability
        return {"vllm/log_prob_gap": gap / tokens, "vllm/capped_share": capped / tokens}

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the run folder says what a checkpoint is, TRL's card would not."""


def _scored_elsewhere(*_: Any, **__: Any) -> list[float]:
    raise AssertionError("rewards are computed by editgrpo.training.step.scoring, not by TRL")
