"""Supervised fine-tuning on the findings, with TRL's SFTTrainer.

After every epoch the validation studies give a loss and a clinical score. Two checkpoints are kept:
the best epoch (`model/`) and the epoch before it (`model-for-rl/`), from which reinforcement
learning starts, as in the paper.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import datasets
import torch
from accelerate import PartialState
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback
from trl import SFTConfig as TRLConfig
from trl import SFTTrainer

from editgrpo.config import DType, SFTConfig
from editgrpo.data.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, RunStoppedError
from editgrpo.files import write_json
from editgrpo.provenance import write_provenance
from editgrpo.rewards import load_reward
from editgrpo.training.batches import StepSampler
from editgrpo.training.callbacks import MarkCheckpoints, StopOnSignal
from editgrpo.training.generate import GenerationConfig, generate_reports
from editgrpo.training.models import (
    load_checkpoint_weights,
    load_policy,
    load_processor,
    peft_config,
    resolve_model_folder,
    save_merged,
    without_adapter_wrapper,
)
from editgrpo.training.prompts import PromptEncoder
from editgrpo.training.run_folder import CHECKPOINTS, METRICS, MODEL, append_line, open_run
from editgrpo.training.shared_prefix import IGNORED_LABEL
from editgrpo.training.train import training_studies

OnMetrics = Callable[[Mapping[str, float]], None]
MODEL_FOR_RL = "model-for-rl"
EPOCHS = "epochs"
SELECTION = "epochs.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochScore:
    """What the validation studies said of one epoch."""

    epoch: int
    loss: float
    """Mean cross-entropy of a findings token, in nats."""
    reward: float
    """Mean total reward."""
    reward_se: float
    """Its standard error over studies."""


def best_epoch(scores: Sequence[EpochScore]) -> int:
    """Choose the epoch by clinical score and loss.

    Among the epochs whose score lies within one standard error of the highest, it is the one with
    the lowest loss: the score of a few hundred studies cannot tell these apart, the loss can.

    Args:
        scores: One for each epoch, at least one.

    Returns:
        The chosen epoch's number.
    """
    top = max(scores, key=lambda score: score.reward)
    near = [score for score in scores if score.reward >= top.reward - top.reward_se]
    return min(near, key=lambda score: score.loss).epoch


class FindingsCollator:
    """Batches studies for teacher forcing: prompt, findings and end token, scored on the last two
    only.

    Args:
        studies: The studies that the rows' indices count.
        encoder: Encodes prompts.
    """

    def __init__(self, studies: Sequence[Study], encoder: PromptEncoder) -> None:
        self._studies = studies
        self._encoder = encoder
        self._tokenizer = encoder.processor.tokenizer

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Collate rows that name studies by `index`.

        Args:
            rows: One for each study of the batch.

        Returns:
            input_ids, labels, attention_mask and mm_token_type_ids (B, L), padded on the right;
            pixel_values and image_grid_thw of all images.
        """
        studies = [self._studies[row["index"]] for row in rows]
        prompts = self._encoder.encode_all(studies)
        targets = [self.target_tokens(study) for study in studies]
        length = max(p.input_ids_T.shape[0] + len(t) for p, t in zip(prompts, targets, strict=True))
        shape = (len(rows), length)
        pad = self._tokenizer.pad_token_id
        batch = {
            "input_ids": torch.full(shape, pad),
            "labels": torch.full(shape, IGNORED_LABEL),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "mm_token_type_ids": torch.zeros(shape, dtype=torch.int),
        }
        for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
            start = prompt.input_ids_T.shape[0]
            end = start + len(target)
            batch["input_ids"][row, :start] = prompt.input_ids_T
            batch["input_ids"][row, start:end] = torch.tensor(target)
            batch["labels"][row, start:end] = torch.tensor(target)
            batch["attention_mask"][row, :end] = 1
            batch["mm_token_type_ids"][row, :start] = prompt.is_image_token_T.int()
        patches = [p.pixel_values for p in prompts if p.pixel_values is not None]
        grids = [p.image_grid_thw for p in prompts if p.image_grid_thw is not None]
        if patches:
            batch["pixel_values"] = torch.cat(patches)
            batch["image_grid_thw"] = torch.cat(grids)
        return batch

    def target_tokens(self, study: Study) -> list[int]:
        """Return the findings' token ids with the end-of-sequence token."""
        ids: list[int] = self._tokenizer(study.findings, add_special_tokens=False)["input_ids"]
        return [*ids, self._tokenizer.eos_token_id]


class FindingsTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer with the run's own order of studies and its own record of metrics.

    Args:
        config: The run's configuration.
        steps: Optimiser steps of the run.
        on_metrics: Called on the main process with the metrics of each step.
        **keywords: Of SFTTrainer.
    """

    def __init__(
        self, config: SFTConfig, steps: int, on_metrics: OnMetrics | None, **keywords: Any
    ) -> None:
        self._config = config
        self._steps = steps
        self._on_metrics = on_metrics
        super().__init__(**keywords)

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return StepSampler(
            len(self.train_dataset),
            steps=self._steps,
            prompts_per_step=self._config.batch_size,
            repeats=1,
            seed=self._config.seed,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write one step's metrics to the run folder and to the trackers."""
        self._metrics["train"].clear()
        if "loss" not in logs:
            return
        epoch = self.state.global_step * self._config.batch_size / len(self.train_dataset)
        metrics: dict[str, float] = {
            "step": self.state.global_step,
            "epoch": round(epoch, 4),
            **{name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs},
        }
        if self.accelerator.is_main_process:
            append_line(Path(self._config.output) / METRICS, metrics)
            if self._on_metrics is not None:
                self._on_metrics(metrics)
        Trainer.log(self, {name: value for name, value in metrics.items() if name != "step"})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        policy = self.model if model is None else model
        if isinstance(policy, PreTrainedModel) and not self.is_fsdp_enabled:
            load_checkpoint_weights(policy, Path(resume_from_checkpoint))
        else:  # adapters and shards keep their names
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the run folder says what a checkpoint is."""


class EvaluateEpochs(TrainerCallback):  # type: ignore[misc]
    """At the end of every epoch, score the validation studies and keep the epoch's model.

    Args:
        config: The run's configuration.
        boundaries: Step after which each epoch ends.
        validation: Validation studies.
        encoder: Encodes them.
        on_metrics: Called on the main process with the scores.
    """

    def __init__(
        self,
        config: SFTConfig,
        boundaries: Sequence[int],
        validation: StudySet,
        encoder: PromptEncoder,
        on_metrics: OnMetrics | None,
    ) -> None:
        self._config = config
        self._run = Path(config.output)
        self._epoch_after_step = {step: number for number, step in enumerate(boundaries, start=1)}
        self._validation = validation
        self._encoder = encoder
        self._on_metrics = on_metrics
        self._reward = load_reward(config.reward.name, config.reward.weights)
        self.trainer: FindingsTrainer | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate if the step ends an epoch."""
        epoch = self._epoch_after_step.get(state.global_step)
        if epoch is None or self.trainer is None:
            return
        trainer = self.trainer
        model = trainer.accelerator.unwrap_model(trainer.model)
        score = self._score(epoch, without_adapter_wrapper(model), state.global_step)
        folder = self._run / EPOCHS / f"epoch-{epoch}"
        if not hasattr(model, "peft_config"):
            trainer.save_model(str(folder))
        elif state.is_world_process_zero:
            save_merged(model, folder)
        if state.is_world_process_zero:
            self._encoder.processor.save(folder)
            scores = [kept for kept in read_epochs(self._run) if kept.epoch < epoch]
            write_epochs(self._run, [*scores, score])

    def _score(self, epoch: int, model: Any, step: int) -> EpochScore:
        was_training = model.training
        model.eval()
        loss = self._loss(model)
        generation = GenerationConfig(max_completion_tokens=self._config.max_completion_tokens)
        reports = [
            r for _, r in generate_reports(model, self._encoder, self._validation, generation)
        ]
        model.train(was_training)
        scores = self._reward.score(reports, [study.findings for study in self._validation])
        totals = scores.total.tolist()
        metrics: dict[str, float] = {
            "step": step,
            "epoch": epoch,
            "validation/loss": loss,
            "validation/reward/total": fmean(totals),
            **{
                f"validation/reward/{name}": float(values.mean())
                for name, values in scores.components.items()
            },
        }
        if PartialState().is_main_process:
            append_line(self._run / METRICS, metrics)
            if self._on_metrics is not None:
                self._on_metrics(metrics)
        error = stdev(totals) / len(totals) ** 0.5 if len(totals) > 1 else 0.0
        return EpochScore(epoch=epoch, loss=loss, reward=fmean(totals), reward_se=error)

    @torch.no_grad()
    def _loss(self, model: Any) -> float:
        collate = FindingsCollator(self._validation, self._encoder)
        total, tokens = 0.0, 0
        size = self._config.micro_batch_size
        for start in range(0, len(self._validation), size):
            indices = range(start, min(start + size, len(self._validation)))
            batch = {
                name: value.to(model.device)
                for name, value in collate([{"index": index} for index in indices]).items()
            }
            count = int((batch["labels"] != IGNORED_LABEL).sum())
            outputs = model(**batch, fused_lm_head=True, use_cache=False)
            total += float(outputs.loss) * count
            tokens += count
        return total / tokens


def read_epochs(run: Path) -> list[EpochScore]:
    """Return the scores of the epochs of an SFT run so far."""
    path = run / SELECTION
    if not path.is_file():
        return []
    return [EpochScore(**row) for row in json.loads(path.read_text(encoding="utf-8"))["epochs"]]


def write_epochs(run: Path, scores: Sequence[EpochScore]) -> None:
    """Write the scores of the epochs and which of them is the best."""
    rows = [
        {"epoch": s.epoch, "loss": s.loss, "reward": s.reward, "reward_se": s.reward_se}
        for s in scores
    ]
    write_json(run / SELECTION, {"best": best_epoch(scores), "epochs": rows})


def run_sft(
    config: SFTConfig,
    *,
    resume: bool = False,
    command: str = "",
    on_metrics: OnMetrics | None = None,
    on_images: Callable[[int, int], None] | None = None,
) -> Path:
    """Fine-tune a model on the findings of the training studies.

    Args:
        config: The run.
        resume: Continue from the newest whole checkpoint of the run folder.
        command: What started the run, for its provenance.
        on_metrics: Called on the main process with the metrics of each step and of each epoch.
        on_images: Called with (images done, images in all) while images are resized.

    Returns:
        The folder of the best epoch's model; the epoch before it lies beside it in `model-for-rl/`.

    Raises:
        ConfigError: the batch cannot be shared evenly by the processes.
        DataError: a study or image cannot be used.
        ModelError: the model cannot be loaded.
        TrainingError: the run folder is taken.
        RunStoppedError: the run was told to stop by a signal.
    """
    run = Path(config.output)
    checkpoint = open_run(run, resume=resume)
    if checkpoint is None:
        write_provenance(run, config=config, seed=config.seed, command=command)
    train = training_studies(config.data.folder, Split.TRAIN, config.data.train_limit)
    validation = training_studies(
        config.data.folder, Split.VALIDATION, config.data.validation_limit
    )
    boundaries = _epoch_ends(config, len(train))
    folder = resolve_model_folder(config.model.path, config.model.revision)
    processor = load_processor(folder)
    encoder = PromptEncoder(train, processor, config.data)
    validation_encoder = PromptEncoder(validation, processor, config.data)
    evaluate = EvaluateEpochs(config, boundaries, validation, validation_encoder, on_metrics)
    for part in (encoder, validation_encoder):
        part.prepare_images(on_images)
    stop = StopOnSignal()
    trainer = FindingsTrainer(
        config,
        boundaries[-1],
        on_metrics,
        model=load_policy(folder, config.model),
        args=_trl_arguments(config, boundaries[-1]),
        train_dataset=datasets.Dataset.from_dict({"index": list(range(len(train)))}),
        processing_class=processor.tokenizer,
        data_collator=FindingsCollator(train, encoder),
        peft_config=peft_config(config.model.lora),
        callbacks=[evaluate, MarkCheckpoints(run, keep=1), stop],
    )
    evaluate.trainer = trainer
    trainer.remove_callback(PrinterCallback)  # it would print raw dictionaries beside our lines
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.received is not None and trainer.state.global_step < boundaries[-1]:
        raise RunStoppedError(
            f"{run}: stopped by {stop.received.name} after step {trainer.state.global_step}; "
            "continue with --resume",
            stop.received,
        )
    if trainer.accelerator.is_main_process:
        _keep_best(run)
    trainer.accelerator.wait_for_everyone()
    return run / MODEL


def _epoch_ends(config: SFTConfig, studies: int) -> list[int]:
    ends = [max(1, round(n * studies / config.batch_size)) for n in range(1, config.epochs + 1)]
    if config.max_steps is None:
        return ends
    # A run that is cut short still ends with an evaluation.
    return [end for end in ends if end < config.max_steps] + [config.max_steps]


def _trl_arguments(config: SFTConfig, steps: int) -> TRLConfig:
    # Without `cpu`, processes that were launched on a machine without a GPU do not find each other.
    processes = PartialState(cpu=not torch.cuda.is_available()).num_processes
    slots, rest = divmod(config.batch_size, config.micro_batch_size * processes)
    if rest:
        raise ConfigError(
            f"batch_size is {config.batch_size}; it must be a multiple of micro_batch_size x "
            f"processes ({config.micro_batch_size} x {processes})"
        )
    return TRLConfig(
        output_dir=str(Path(config.output) / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=slots,
        learning_rate=config.optim.learning_rate,
        weight_decay=config.optim.weight_decay,
        max_grad_norm=config.optim.max_grad_norm,
        adam_beta2=config.optim.beta2,
        warmup_steps=config.optim.warmup_steps,
        lr_scheduler_type=config.optim.schedule,
        gradient_checkpointing=config.model.gradient_checkpointing,
        bf16=config.model.dtype is DType.BFLOAT16,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        logging_steps=1,
        save_strategy="steps",
        save_steps=config.save_every,
        report_to=list(config.report_to) or "none",
        remove_unused_columns=False,
        disable_tqdm=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _keep_best(run: Path) -> None:
    scores = read_epochs(run)
    best = best_epoch(scores)
    before = max((score.epoch for score in scores if score.epoch < best), default=best)
    for epoch, name in ((before, MODEL_FOR_RL), (best, MODEL)):
        partial = run / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(run / EPOCHS / f"epoch-{epoch}", partial)
        shutil.rmtree(run / name, ignore_errors=True)
        partial.rename(run / name)
    shutil.rmtree(run / EPOCHS)
