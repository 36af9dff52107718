"""The epochs of supervised fine-tuning: how each is scored, and which two models are kept."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from transformers import TrainerCallback

from editgrpo.config import SFTConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.errors import TrainingError
from editgrpo.files import read_json_object, read_jsonl, write_json
from editgrpo.foreign import reading, storing
from editgrpo.metrics.judges.costs import log_costs
from editgrpo.rewards import RewardScores, configured_reward
from editgrpo.rewards.guard import checked_scores
from editgrpo.training.collator import IGNORED_LABEL, FindingsCollator
from editgrpo.training.generate import GenerationConfig, generate_reports
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.positions import without_adapter_wrapper
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.run.folder import METRICS, MODEL, append_line, put_in_place
from editgrpo.training.run.launch import with_journal
from editgrpo.training.run.saving import finish_model, save_merged

OnMetrics = Callable[[Mapping[str, float]], None]
OnProgress = Callable[[int, int], None]
MODEL_FOR_RL = "model-for-rl"
EPOCHS = "epochs"
SELECTION = "epochs.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochScore:
    """What the validation studies said of one epoch."""

    epoch: int
    loss: float
    """Mean cross-entropy of a reference token, in nats."""
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


class EvaluateEpochs(TrainerCallback):  # type: ignore[misc]
    """At the end of every epoch, score the validation studies and keep the epoch's model; before
    the first step, try it with one study.

    Args:
        config: The run's configuration.
        boundaries: Step after which each epoch ends.
        validation: Validation studies.
        encoder: Encodes them.
        on_metrics: Called on the main process with the scores.
        on_validation: Called with (studies done, studies in all) while reports are generated.
    """

    def __init__(
        self,
        config: SFTConfig,
        boundaries: Sequence[int],
        validation: StudySet,
        encoder: PromptEncoder,
        on_metrics: OnMetrics | None = None,
        on_validation: OnProgress | None = None,
    ) -> None:
        self._on_validation = on_validation
        self._config = config
        self._run = Path(config.output)
        self._epoch_after_step = {step: number for number, step in enumerate(boundaries, start=1)}
        self._validation = validation
        self._encoder = encoder
        self._on_metrics = on_metrics
        self._reward = configured_reward(config.reward, with_journal(config), config.data.target)
        self._evaluated = _evaluated_steps(self._run)
        self.trainer: Any = None  # the trainer needs its callbacks first

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write and score one report, so that what cannot be done after hours of training ends the
        run now; then evaluate an epoch whose evaluation was cut short."""
        self._report(self._model(), self._validation[:1])
        self._evaluate(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Ask for a checkpoint where an epoch ends: its evaluation may fail."""
        if state.global_step in self._epoch_after_step:
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate if an epoch has ended. The checkpoint is marked: `MarkCheckpoints` comes first
        among the run's callbacks."""
        self._evaluate(state)

    def _model(self) -> Policy:
        trainer = self.trainer
        return without_adapter_wrapper(trainer.accelerator.unwrap_model(trainer.model))

    def _evaluate(self, state: Any) -> None:
        """Score and keep the model if an epoch ends here and was not evaluated before."""
        step = state.global_step
        epoch = self._epoch_after_step.get(step)
        if epoch is None or step in self._evaluated:
            return
        score, metrics = self._score(epoch, self._model(), step)
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        folder = self._run / EPOCHS / f"epoch-{epoch}"
        with storing(folder):
            if not hasattr(model, "peft_config"):
                self.trainer.save_model(str(folder))
            elif state.is_world_process_zero:
                save_merged(model, folder)
            if state.is_world_process_zero:
                finish_model(folder, self._encoder)
        if state.is_world_process_zero:
            scores = [kept for kept in read_epochs(self._run) if kept.epoch < epoch]
            write_epochs(self._run, [*scores, score])
            # Last of all: where this line stands, a resumed run does not evaluate again.
            append_line(self._run / METRICS, metrics)
            if self._on_metrics is not None:
                self._on_metrics(metrics)
            logs = {name: value for name, value in metrics.items() if name != "step"}
            # Not by the trainer's `log`, which keeps them in the state that checkpoints hold.
            trainer = self.trainer
            trainer.callback_handler.on_log(trainer.args, state, trainer.control, logs)
        self._evaluated.add(step)

    def _report(
        self, model: Policy, studies: StudySet, progress: OnProgress | None = None
    ) -> RewardScores:
        """Write a report for each study and score it."""
        was_training = model.training
        model.eval()
        generation = GenerationConfig(max_completion_tokens=self._config.max_completion_tokens)
        reports = []
        for _, report in generate_reports(model, self._encoder, studies, generation):
            reports.append(report)
            if progress is not None:
                progress(len(reports), len(studies))
        model.train(was_training)
        scores = checked_scores(self._reward, reports, [study.reference for study in studies])
        log_costs("validation")
        return scores

    def _score(self, epoch: int, model: Policy, step: int) -> tuple[EpochScore, dict[str, float]]:
        was_training = model.training
        model.eval()
        loss = self._loss(model)
        model.train(was_training)
        scores = self._report(model, self._validation, self._on_validation)
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
        error = stdev(totals) / len(totals) ** 0.5 if len(totals) > 1 else 0.0
        score = EpochScore(epoch=epoch, loss=loss, reward=fmean(totals), reward_se=error)
        return score, metrics

    @torch.no_grad()
    def _loss(self, model: Policy) -> float:
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


def _evaluated_steps(run: Path) -> set[int]:
    """Return the steps after which a run was evaluated before it was stopped."""
    path = run / METRICS
    if not path.is_file():
        return set()
    return {int(row["step"]) for _, row in read_jsonl(path) if "validation/loss" in row}


def read_epochs(run: Path) -> list[EpochScore]:
    """Return the scores of the epochs of an SFT run so far; a damaged file is a TrainingError."""
    path = run / SELECTION
    if not path.is_file():
        return []
    remedy = "put back the file as the run wrote it, or start another run in a new folder"
    with reading(path, remedy, error=TrainingError):
        rows = read_json_object(path, remedy, error=TrainingError)["epochs"]
        return [EpochScore(**row) for row in rows]


def write_epochs(run: Path, scores: Sequence[EpochScore]) -> None:
    """Write the scores of the epochs and which of them is the best."""
    rows = [asdict(score) for score in scores]
    write_json(run / SELECTION, {"best": best_epoch(scores), "epochs": rows})


def model_for_rl(best: Path) -> Path:
    """Return the folder of the epoch before the best one, which lies next to the best one's."""
    return best.with_name(MODEL_FOR_RL)


def keep_best(run: Path) -> None:
    """Put the models of the best epoch and of the one before it in their places; drop the others.

    Args:
        run: A run folder whose last epoch was scored.
    """
    scores = read_epochs(run)
    best = best_epoch(scores)
    before = max((score.epoch for score in scores if score.epoch < best), default=best)
    for epoch, name in ((before, MODEL_FOR_RL), (best, MODEL)):
        partial = run / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(run / EPOCHS / f"epoch-{epoch}", partial)
        put_in_place(partial, run / name)
    shutil.rmtree(run / EPOCHS)
