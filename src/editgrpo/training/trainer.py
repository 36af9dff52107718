"""EditGRPO on TRL's GRPOTrainer: the only module that knows it.

TRL keeps the loss, the optimiser loop, checkpoints and distribution. Replaced here are the seams
around one group: which studies a step gets, how its responses come about (sampled with a shared
prompt, edited, scored), and how their log-probabilities are computed (one packed pass a group).
tests/training/test_trl_seams.py names every seam.

Deviation from stock TRL: responses are not shuffled between accumulation slots, since a group must
stay in one pass.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import use_adapter

from editgrpo.config import TrainConfig
from editgrpo.data.study import Study
from editgrpo.errors import TrainingError
from editgrpo.rewards.types import Reward
from editgrpo.training.batches import StepSampler, loss_inputs, pack_rows
from editgrpo.training.groups import GroupBuilder
from editgrpo.training.models import (
    GenerationTokens,
    load_checkpoint_weights,
    peft_config,
    without_adapter_wrapper,
)
from editgrpo.training.processor import EncodedPrompt
from editgrpo.training.prompts import PromptEncoder
from editgrpo.training.records import group_rows, rollout_records, step_metrics
from editgrpo.training.rollouts import sample_responses
from editgrpo.training.run_folder import METRICS, ROLLOUTS, TIMINGS, append_line
from editgrpo.training.scoring import LossBudget, ScoredGroup, score_groups
from editgrpo.training.seeds import uniform_draws
from editgrpo.training.shared_prefix import packed_log_probs

OnStep = Callable[[Mapping[str, float], Mapping[str, float]], None]
PHASES = ("rollout", "edit", "score", "reference", "update")


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


class EditGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
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
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._step_metrics: dict[str, float] = {}
        self._slot_tokens: list[float] = []
        self._losses = setup.losses
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
        return StepSampler(
            len(self._setup.studies),
            steps=self._config.steps,
            prompts_per_step=self._config.prompts_per_step,
            repeats=self.args.gradient_accumulation_steps,
            seed=self._config.seed,
        )

    # --- how responses come about ----------------------------------------------------------------

    def _prepare_inputs(self, generation_batch: list[dict[str, int]]) -> dict[str, Any]:
        slot = self._step % self.args.gradient_accumulation_steps
        if slot == 0:
            studies = [self._setup.studies[row["index"]] for row in generation_batch]
            self._buffered_inputs = self._rollout_edit_score(studies)
        inputs: dict[str, Any] = self._buffered_inputs[slot]
        return inputs

    def _rollout_edit_score(self, studies: list[Study]) -> list[dict[str, Any]]:
        step = self.state.global_step
        with self._phase("rollout"):
            prompts = self._setup.encoder.encode_all(studies)
            rollouts = self._sample(step, studies, prompts)
        with self._phase("edit"):
            groups = self._setup.groups.build(step, studies, rollouts)
        with self._phase("score"):
            scored = score_groups(self._setup.reward, groups, scale=self._config.objective.scale)
        self._record(step, scored)
        size = self._config.prompts_per_pass
        batches = []
        with self._phase("reference"):
            for start in range(0, len(prompts), size):
                inputs = loss_inputs(
                    prompts[start : start + size],
                    scored[start : start + size],
                    pad_token_id=self._setup.tokens.pad_token_id,
                    device=self.accelerator.device,
                )
                if self.beta != 0.0:
                    inputs["ref_per_token_logps"] = self._reference_log_probs(inputs)
                batches.append(inputs)
        self._slot_tokens = self._tokens_of_all_processes(batches)
        return batches

    def _tokens_of_all_processes(self, batches: list[dict[str, Any]]) -> list[float]:
        counts = [float(batch["tool_mask"].sum()) for batch in batches]
        total = self.accelerator.reduce(torch.tensor(counts, device=self.accelerator.device))
        tokens: list[float] = total.tolist()
        return tokens

    def _sample(
        self, step: int, studies: list[Study], prompts: list[EncodedPrompt]
    ) -> list[list[list[int]]]:
        rollout = self._config.rollout
        uniforms = torch.stack(
            [
                torch.stack(
                    [
                        uniform_draws(
                            self._config.seed,
                            step,
                            study.study_id,
                            index,
                            count=rollout.max_completion_tokens,
                        )
                        for index in range(self._config.sampled_per_group)
                    ]
                )
                for study in studies
            ]
        )
        settings = self._setup.tokens.sampling(
            max_tokens=rollout.max_completion_tokens, temperature=rollout.temperature
        )
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as policy:
            was_training = policy.training
            policy.eval()
            with self.accelerator.autocast():
                responses = sample_responses(
                    without_adapter_wrapper(policy), prompts, uniforms, settings
                )
            policy.train(was_training)
        return responses

    def _reference_log_probs(self, inputs: Mapping[str, Any]) -> Tensor:
        arguments = {
            "input_ids": torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            "attention_mask": torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            "logits_to_keep": inputs["completion_ids"].shape[1],
            "pixel_values": inputs.get("pixel_values"),
            "image_grid_thw": inputs.get("image_grid_thw"),
            "num_images": inputs["num_images"],
        }
        with torch.no_grad():
            if self.ref_model is not None:
                log_probs, _, _ = self._get_per_token_logps_and_entropies(
                    self.ref_model, **arguments
                )
            else:
                policy = self.accelerator.unwrap_model(self.model)
                name = "ref" if "ref" in policy.peft_config else None
                with use_adapter(policy, adapter_name=name):
                    log_probs, _, _ = self._get_per_token_logps_and_entropies(
                        self.model, **arguments
                    )
        return log_probs

    # --- how log-probabilities are computed ------------------------------------------------------

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        num_images: list[int] | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        images = None
        if pixel_values is not None and image_grid_thw is not None and num_images is not None:
            images = (pixel_values, image_grid_thw, num_images)
        packed = pack_rows(
            without_adapter_wrapper(self.accelerator.unwrap_model(model)),
            input_ids,
            attention_mask,
            completion_length=logits_to_keep,
            group_size=self.num_generations,
            images=images,
        ).to(input_ids.device)
        with self.accelerator.autocast():
            log_probs, entropies = packed_log_probs(model, packed)
        return log_probs, entropies if compute_entropy else None, None

    # --- what is measured ------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Run one accumulation slot, and time what is neither rollout, edit, score nor
        reference."""
        before = sum(self._seconds.values())
        start = time.perf_counter()
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        prepared = sum(self._seconds.values()) - before
        self._seconds["update"] += time.perf_counter() - start - prepared
        return loss

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - start

    def _record(self, step: int, scored: list[ScoredGroup]) -> None:
        rows = gather_object([group_rows(group) for group in scored])
        self._step_metrics = step_metrics(rows)
        if self._losses.spend(len(rows), sum(group.is_dropped for group in rows)):
            reason = next((group.failure for group in scored if group.is_dropped), "see other logs")
            raise TrainingError(
                f"step {step + 1}: scoring failed for {self._losses.lost} of {self._losses.seen} "
                f"groups so far, more than max_dropped_share ({self._config.max_dropped_share:.0%})"
                f" allows; last reason: {reason}"
            )
        records = gather_object(
            [record for group in scored for record in rollout_records(step + 1, group)]
        )
        if self.accelerator.is_main_process:
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
        timings: dict[str, float] = {
            "step": self.state.global_step,
            **{f"seconds/{name}": seconds for name, seconds in self._seconds.items()},
            "seconds/step": sum(self._seconds.values()),
        }
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._metrics["train"].clear()
        if self.accelerator.is_main_process:
            append_line(self._setup.run / METRICS, metrics)
            append_line(self._setup.run / TIMINGS, timings)
            if self._setup.on_step is not None:
                self._setup.on_step(metrics, timings)
        # TRL's own `log` would add its metrics and its table of completions.
        Trainer.log(self, {name: value for name, value in metrics.items() if name != "step"})

    def _loss_metrics(self) -> dict[str, float]:
        names = {"kl": "kl", "entropy": "entropy", "clip_ratio/region_mean": "clip_share"}
        collected = self._metrics["train"]
        # TRL gives a mean over the tokens of each accumulation slot; slots differ in length.
        return {
            ours: fmean(collected[theirs], weights=self._slot_tokens)
            for theirs, ours in names.items()
            if collected.get(theirs) and any(self._slot_tokens)
        }

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        policy = self.model if model is None else model
        if isinstance(policy, PreTrainedModel) and not self.is_fsdp_enabled:
            load_checkpoint_weights(policy, Path(resume_from_checkpoint))
        else:  # adapters and shards keep their names
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the run folder says what a checkpoint is, TRL's card would not."""


def _scored_elsewhere(*_: Any, **__: Any) -> list[float]:
    raise AssertionError("rewards are computed by editgrpo.training.scoring, not by TRL")
