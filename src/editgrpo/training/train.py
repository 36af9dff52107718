"""One reinforcement-learning run from its configuration: load, train, save; resumable at any
step."""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import PartialState

from editgrpo.config import EditLevel, RolloutEngine, TrainConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.edits.codec import codec_of
from editgrpo.errors import ConfigError, RewardError, TrainingError
from editgrpo.files import read_jsonl
from editgrpo.foreign import reading, storing
from editgrpo.reports import Annotator, load_annotator
from editgrpo.reports.references import warn_of_silence
from editgrpo.reports.sectioned import annotator_of_target
from editgrpo.rewards import configured_reward
from editgrpo.rewards.guard import failures_as_reward_errors
from editgrpo.training.policy.generation_tokens import generation_tokens
from editgrpo.training.policy.load import load_policy, load_processor, resolve_model_folder
from editgrpo.training.policy.prompts import PromptEncoder, load_split
from editgrpo.training.run.arguments import training_arguments
from editgrpo.training.run.callbacks import MarkCheckpoints, SavePrompts, StopOnSignal
from editgrpo.training.run.folder import METRICS, MODEL, put_in_place
from editgrpo.training.run.launch import (
    Start,
    starting,
    train_to_end,
    with_journal,
)
from editgrpo.training.run.saving import finish_model, save_merged
from editgrpo.training.run.setup import OnGroups, OnStep, TrainingSetup
from editgrpo.training.run.trackers import Trackers
from editgrpo.training.sampling.vllm_settings import check_engine
from editgrpo.training.step.dynamic_sampling import DRAWN
from editgrpo.training.step.edit_schedule import check_edit_sources, check_edits
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.loss_budget import LossBudget
from editgrpo.training.step.prompt_stream import prompt_stream
from editgrpo.training.trainer import EditGRPOTrainer

# The share of lost groups is taken of at least so many steps: with 32 prompts and 5 %, two groups
# that fail in the first step end no run, a scorer that always fails ends it in its second step.
_GRACE_STEPS = 20
# Enough to draw from, and quickly loaded, however large the set.
_REFERENCES_LOOKED_AT = 256


def run_training(
    config: TrainConfig,
    *,
    resume: bool = False,
    command: str = "",
    on_step: OnStep | None = None,
    on_groups: OnGroups | None = None,
) -> Path:
    """Train a policy by EditGRPO or one of its variants.

    Args:
        config: The run.
        resume: Continue from the newest whole checkpoint of the run folder; the result is the same,
            to the byte, as without the interruption (same number of processes, CPU).
        command: What started the run, for its provenance.
        on_step: Called on the main process after each step with its metrics and its seconds by
            phase.
        on_groups: Called on every process with a step's number and its scored groups, texts
            included. A run that is resumed calls it again for steps behind its checkpoint.

    Returns:
        The folder of the trained model, a complete checkpoint. A run that is finished is left as it
        is, unless `config.steps` asks for more.

    Raises:
        ConfigError: a tracker or vLLM cannot be used, or the settings do not fit the number of
            processes or of studies; or another process writes to the run folder.
        DataError: a study or image cannot be used.
        ModelError: the model cannot be loaded.
        TrainingError: the run folder is taken or damaged, is resumed with other settings, with
            something else in place of what it read, or by processes that cannot read its
            checkpoints, or scoring fails too often, or training diverges.
        StorageError: there is no room.
        RunStoppedError: the run was told to stop by a signal.
    """
    _check_machine(config)
    with starting(config, resume=resume, command=command) as start:
        if start is None:
            return Path(config.output) / MODEL
        return _run(config, start, on_step, on_groups)


def _run(
    config: TrainConfig, start: Start, on_step: OnStep | None, on_groups: OnGroups | None
) -> Path:
    """Train from a checkpoint, or from the model of a folder, and save what came of it."""
    run = Path(config.output)
    setup, policy = _set_up(config, run, on_step, start.model)
    prompts = prompt_stream(config, setup.studies, start.checkpoint)
    stop = StopOnSignal()
    saves = [] if prompts is None else [SavePrompts(run, prompts)]
    marks = MarkCheckpoints(run, config.keep_checkpoints)
    with Trackers(config, start.checkpoint) as trackers:
        setup = replace(
            setup,
            on_groups=on_groups,
            on_rollouts=trackers.show_rollouts if config.report_text else None,
            prompts=prompts,
        )
        trainer = EditGRPOTrainer(
            config,
            policy,
            setup,
            training_arguments(config),
            callbacks=[*saves, marks, trackers, stop],
        )
        train_to_end(
            trainer, start.checkpoint, optim=config.optim, stop=stop, last_step=config.steps
        )
    with storing(run / MODEL):
        return _save_model(trainer, setup)


def _check_machine(config: TrainConfig) -> None:
    """Refuse what this machine cannot do, before the run folder is made."""
    check_engine(config.rollout)
    check_edits(config)
    rollout, is_native = config.rollout, config.rollout.engine is RolloutEngine.NATIVE
    if config.model.is_quantized and (rollout.compile or not is_native):
        raise ConfigError(
            "model.lora.quantization is nf4: neither vLLM nor rollout.compile takes such matrices; "
            "set rollout.engine=native and rollout.compile=false"
        )


def _set_up(
    config: TrainConfig, run: Path, on_step: OnStep | None, folder: Path | None = None
) -> tuple[TrainingSetup, Any]:
    folder = folder or resolve_model_folder(config.model.path, config.model.revision)
    studies = load_split(config.data, Split.TRAIN)
    check_edit_sources(config, studies)
    processor = load_processor(folder, config.model.group_pass)
    policy = load_policy(folder, config.model)
    tokens = generation_tokens(policy, processor.tokenizer)
    annotator = _annotator(config) if config.edit.level is EditLevel.SENTENCE else None
    _check_language(annotator or load_annotator("rules"), studies)
    groups = GroupBuilder(
        config=config.edit,
        annotator=annotator,
        codec=codec_of(processor.tokenizer),
        eos_token_id=tokens.eos_token_id,
        eos_token_ids=tokens.eos_token_ids,
        max_tokens=config.rollout.max_completion_tokens,
        seed=config.seed,
        others=studies,
    )
    setup = TrainingSetup(
        studies=studies,
        encoder=PromptEncoder(studies, processor, config.data),
        tokenizer=processor.tokenizer,
        tokens=tokens,
        groups=groups,
        reward=configured_reward(config.reward, with_journal(config), config.data.target),
        run=run,
        losses=_losses_so_far(config, run),
        on_step=on_step,
    )
    return setup, policy


def _annotator(config: TrainConfig) -> Annotator:
    """Load the annotator of the edits and its models, so that a missing one ends the run here."""
    annotator = load_annotator(config.edit.annotator, with_journal(config))
    annotator.annotate(["No pleural effusion."])
    return annotator_of_target(annotator, config.data.target)


def _check_language(annotator: Annotator, studies: StudySet) -> None:
    """Warn of references that no annotator can read."""
    if not PartialState().is_main_process:
        return
    # One that makes the annotator fail costs its group, later, and not the run.
    with suppress(RewardError), failures_as_reward_errors(annotator.name):
        some = range(0, len(studies), max(1, len(studies) // _REFERENCES_LOOKED_AT))
        warn_of_silence(annotator, [studies[number].reference for number in some])


def _losses_so_far(config: TrainConfig, run: Path) -> LossBudget:
    losses = LossBudget(
        share=config.max_dropped_share, grace=_GRACE_STEPS * config.prompts_per_step
    )
    if (run / METRICS).is_file():
        remedy = "put back the file as the run wrote it"
        for number, row in read_jsonl(run / METRICS):
            with reading(f"{run / METRICS}, line {number}", remedy, error=TrainingError):
                dropped = int(row["errors/dropped_groups"])
                drawn = int(row.get(DRAWN, config.prompts_per_step))
            losses.spend(drawn, dropped)
    return losses


def _save_model(trainer: EditGRPOTrainer, setup: TrainingSetup) -> Path:
    folder = setup.run / MODEL
    partial = setup.run / f".{MODEL}.partial"
    if trainer.accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)  # what a crash left
    trainer.accelerator.wait_for_everyone()
    policy = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(policy, "merge_and_unload"):
        adapter = setup.run / ".adapter.partial"
        trainer.save_model(str(adapter))
        if trainer.accelerator.is_main_process:
            save_merged(policy, partial)
            put_in_place(adapter, setup.run / "adapter")
    else:
        trainer.save_model(str(partial))
    if trainer.accelerator.is_main_process:
        finish_model(partial, setup.encoder)
        put_in_place(partial, folder)
    trainer.accelerator.wait_for_everyone()
    return folder
