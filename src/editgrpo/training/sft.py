"""Supervised fine-tuning on the reports (`data.target`), with TRL's SFTTrainer.

After every epoch the validation studies give a loss and a clinical score. Two checkpoints are kept:
the best epoch (`model/`) and the epoch before it (`model-for-rl/`), from which reinforcement
learning starts, as in the paper.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from transformers import Trainer
from trl import SFTTrainer

from editgrpo.config import SFTConfig
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError
from editgrpo.foreign import storing
from editgrpo.training.collator import FindingsCollator
from editgrpo.training.epochs import EvaluateEpochs, OnMetrics, OnProgress, keep_best
from editgrpo.training.policy.blank_image import run_tower_always
from editgrpo.training.policy.load import (
    load_policy,
    load_processor,
    peft_config,
)
from editgrpo.training.policy.prompts import PromptEncoder, load_split
from editgrpo.training.run.arguments import fine_tuning_arguments, warn_of_long_warmup
from editgrpo.training.run.callbacks import MarkCheckpoints, StopOnSignal
from editgrpo.training.run.checkpoints import CheckpointTrainer
from editgrpo.training.run.divergence import check_finite
from editgrpo.training.run.folder import METRICS, MODEL, append_line
from editgrpo.training.run.launch import (
    Start,
    processes_of_launch,
    starting,
    train_to_end,
)
from editgrpo.training.run.precision import exchange_in_float32
from editgrpo.training.run.saving import OneFormat
from editgrpo.training.run.trackers import Trackers
from editgrpo.training.step.batches import StepSampler

_LOGGER = logging.getLogger(__name__)


class FindingsTrainer(OneFormat, CheckpointTrainer, SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer with the run's own order of studies, a loss that is the mean over the tokens
    of a step, and its own record of metrics.

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
        # The tokens of a step's passes, of all processes, are counted and TRL divides by their
        # number. Qwen2.5-VL says that its own loss takes no such number, which is not asked here;
        # left so, each pass would be averaged by itself, and short reports would weigh more.
        self.model_accepts_loss_kwargs = True

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator."""
        super().create_accelerator_and_postprocess()
        exchange_in_float32(self.accelerator)

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return StepSampler(
            len(self.train_dataset),
            steps=self._steps,
            prompts_per_step=self._config.batch_size,
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
        check_finite(metrics)
        if self.accelerator.is_main_process:
            append_line(Path(self._config.output) / METRICS, metrics)
            if self._on_metrics is not None:
                self._on_metrics(metrics)
        Trainer.log(self, {name: value for name, value in metrics.items() if name != "step"})

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the run folder says what a checkpoint is."""


def run_sft(
    config: SFTConfig,
    *,
    resume: bool = False,
    command: str = "",
    on_steps: Callable[[int], None] | None = None,
    on_metrics: OnMetrics | None = None,
    on_validation: OnProgress | None = None,
) -> Path:
    """Fine-tune a model on the findings of the training studies.

    Args:
        config: The run.
        resume: Continue from the newest whole checkpoint of the run folder.
        command: What started the run, for its provenance.
        on_steps: Called with the number of steps of the whole run, before the first of them.
        on_metrics: Called on the main process with the metrics of each step and of each epoch.
        on_validation: Called with (studies done, studies in all) as validation reports are made.

    Returns:
        The folder of the best epoch's model; the epoch before it lies beside it in `model-for-rl/`.

    Raises:
        ConfigError: a tracker cannot be used, the batch cannot be shared evenly by the processes,
            or it is larger than the training studies are many.
        DataError: a study or image cannot be used.
        ModelError: the model cannot be loaded.
        TrainingError: the run folder is taken or damaged, or is resumed with other settings, with
            something else in place of what it read, or by processes that cannot read its
            checkpoints; or training diverges.
        StorageError: there is no room.
        RunStoppedError: the run was told to stop by a signal.
    """
    passes = _passes_of_a_step(config)
    with starting(config, resume=resume, command=command) as start:
        if start is None:
            return Path(config.output) / MODEL
        return _run(config, start, passes, on_steps, on_metrics, on_validation)


def _run(
    config: SFTConfig,
    start: Start,
    passes: int,
    on_steps: Callable[[int], None] | None,
    on_metrics: OnMetrics | None,
    on_validation: OnProgress | None,
) -> Path:
    """Train from a checkpoint, or from the model of a folder, and keep the best epoch."""
    run = Path(config.output)
    train = load_split(config.data, Split.TRAIN)
    validation = load_split(config.data, Split.VALIDATION)
    boundaries = _epoch_ends(config, len(train))
    _check_size(config, len(train), boundaries[-1])
    _warn_of_few(config, len(validation))
    processor = load_processor(start.model, config.model.group_pass)
    encoder = PromptEncoder(train, processor, config.data)  # of both splits: one folder, one store
    if on_steps is not None:
        on_steps(boundaries[-1])
    evaluate = EvaluateEpochs(config, boundaries, validation, encoder, on_metrics, on_validation)
    stop = StopOnSignal()
    policy = load_policy(start.model, config.model)
    run_tower_always(policy)
    with Trackers(config, start.checkpoint) as trackers:
        trainer = FindingsTrainer(
            config,
            boundaries[-1],
            on_metrics,
            model=policy,
            args=fine_tuning_arguments(config, steps=boundaries[-1], passes=passes),
            train_dataset=datasets.Dataset.from_dict({"index": list(range(len(train)))}),
            processing_class=processor.tokenizer,
            data_collator=FindingsCollator(train, encoder),
            peft_config=peft_config(config.model.lora, policy),
            callbacks=[MarkCheckpoints(run, keep=1), trackers, evaluate, stop],
        )
        evaluate.trainer = trainer
        train_to_end(
            trainer, start.checkpoint, optim=config.optim, stop=stop, last_step=boundaries[-1]
        )
    if trainer.accelerator.is_main_process:
        with storing(run / MODEL):
            keep_best(run)
    trainer.accelerator.wait_for_everyone()
    return run / MODEL


# Among so few studies the best epoch is chosen by chance: the standard error of a mean reward is a
# quarter of the spread of reports, more than epochs differ by.
_LEAST_VALIDATION = 20


def _warn_of_few(config: SFTConfig, validation: int) -> None:
    if validation < _LEAST_VALIDATION:
        _LOGGER.warning(
            "%s: the best epoch is chosen by %d validation studies, fewer than %d: that is chance; "
            "give more, or do not trust the choice",
            config.data.folder,
            validation,
            _LEAST_VALIDATION,
        )


def _check_size(config: SFTConfig, studies: int, steps: int) -> None:
    if studies < config.batch_size:
        raise ConfigError(
            f"batch_size is {config.batch_size} for {studies} training studies; set it to at most "
            "their number"
        )
    warn_of_long_warmup(config.optim, steps)


def _epoch_ends(config: SFTConfig, studies: int) -> list[int]:
    ends = [max(1, round(n * studies / config.batch_size)) for n in range(1, config.epochs + 1)]
    if config.max_steps is None:
        return ends
    # A run that is cut short still ends with an evaluation.
    return [end for end in ends if end < config.max_steps] + [config.max_steps]


def _passes_of_a_step(config: SFTConfig) -> int:
    """Return how many forward and backward passes of each process make a step."""
    processes = processes_of_launch()
    passes, rest = divmod(config.batch_size, config.micro_batch_size * processes)
    if rest:
        raise ConfigError(
            f"batch_size is {config.batch_size}; it must be a multiple of micro_batch_size x "
            f"processes ({config.micro_batch_size} x {processes})"
        )
    return passes
