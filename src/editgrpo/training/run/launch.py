"""What fine-tuning and reinforcement learning start and stop in the same way."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

import torch
from accelerate import DistributedType, PartialState
from transformers import PrinterCallback, Trainer

from editgrpo.config import ClinicalConfig, DType, OptimConfig, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, RunStoppedError, TrainingError
from editgrpo.foreign import reading
from editgrpo.model_files import check_model
from editgrpo.ownership import owning
from editgrpo.provenance import (
    CONFIG_FILE,
    PROVENANCE_FILE,
    check_same_config,
    note_resume,
    read_provenance,
    write_provenance,
)
from editgrpo.recipes import load_recipe
from editgrpo.training.policy.load import resolve_model_folder
from editgrpo.training.policy.quantization import adapters_in_float32
from editgrpo.training.run.callbacks import StopOnSignal
from editgrpo.training.run.checkpoints import check_state
from editgrpo.training.run.folder import (
    ANNOTATIONS,
    checkpoint_step,
    find_start,
    go_back_to,
    has_model,
    leaving_nothing,
    steps_done,
)
from editgrpo.training.run.inputs import check_same_inputs, run_inputs, run_store, write_inputs
from editgrpo.training.run.optimizers import refuse_states_of_shards
from editgrpo.training.run.trackers import check_trackers

_LOGGER = logging.getLogger(__name__)


class Sharding(StrEnum):
    """What each process of a launch holds."""

    COPIES = "whole copies"
    FSDP = "FSDP shards"
    DEEPSPEED = "DeepSpeed shards"


def processes_of_launch() -> int:
    """Return the number of processes that were launched together."""
    count: int = _launch().num_processes
    return count


def _launch() -> PartialState:
    # Without `cpu`, processes that were launched on a machine without a GPU do not find each other.
    return PartialState(cpu=not torch.cuda.is_available())


def with_journal(config: SFTConfig | TrainConfig) -> ClinicalConfig:
    """Return where a run's clinical models lie, with a journal in the run folder.

    A journal for each process: what one has annotated must not depend on how fast another is.
    """
    if config.clinical.journal is not None:
        return config.clinical
    process = f"process-{_launch().process_index}"
    return replace(config.clinical, journal=str(Path(config.output) / ANNOTATIONS / process))


@dataclass(frozen=True, slots=True)
class Start:
    """What a run starts from."""

    model: Path
    """The folder that `model.path` stands for."""

    checkpoint: Path | None
    """Where the run continues; None at step 0."""


@contextmanager
def starting(
    config: SFTConfig | TrainConfig, *, resume: bool, command: str
) -> Iterator[Start | None]:
    """Own a run folder while the block runs, and find what the run starts from.

    A run that is to go on and is refused keeps whatever it has written: settings and inputs are
    compared before anything is removed. One that fails before its first step leaves no folder.

    Args:
        config: The run.
        resume: Continue from the newest whole checkpoint.
        command: What started the run, for its provenance.

    Yields:
        The model and the checkpoint; None if the run is finished and nothing is left to do.

    Raises:
        ConfigError: another process writes to the folder, a tracker cannot be used, or the
            launcher's settings do not fit.
        TrainingError: the run folder is taken or damaged, or is resumed with other settings, with
            something else in place of what it read, or by processes that cannot read its
            checkpoints.
        DataError: the prepared set or the annotation store cannot be read.
        ModelError: the model, or weights of a clinical model, are missing.
    """
    with owning(Path(config.output)), leaving_nothing(Path(config.output)):
        if resume and _is_finished(config):
            yield None
            return
        check_model(config.model.path, config.model.revision)
        checkpoint = begin_run(config, resume=resume, command=command)
        model = resolve_model_folder(config.model.path, config.model.revision)
        _settle_inputs(config, model, checkpoint, command=command)
        yield Start(model, checkpoint)


def _is_finished(config: SFTConfig | TrainConfig) -> bool:
    """Say whether a run that is to be resumed has nothing left to do."""
    run = Path(config.output)
    if not has_model(run):
        return False
    _check_settings(run, config)
    if isinstance(config, TrainConfig) and config.steps > _steps_of(run):
        return False
    _LOGGER.info("%s: this run is finished; nothing is left to do", run)
    return True


def _check_settings(run: Path, config: SFTConfig | TrainConfig) -> None:
    """Refuse a run that has begun and goes on with other settings, or no longer says with which it
    began."""
    if not (run / CONFIG_FILE).is_file():
        raise TrainingError(
            f"{run}: no {CONFIG_FILE}, so the settings that the run began with are not known; put "
            "back the file, or start another run in a new folder"
        )
    check_same_config(run, config)


def _steps_of(run: Path) -> int:
    """Return how many steps a run that has a model has come to."""
    done = steps_done(run)
    if done is None:  # its checkpoints were removed, so it was not begun to be lengthened
        done = load_recipe(run / CONFIG_FILE, TrainConfig).steps
    return done


def begin_run(config: SFTConfig | TrainConfig, *, resume: bool, command: str) -> Path | None:
    """Note in the run folder what the run is, or check that it goes on as it began.

    Args:
        config: The run.
        resume: Continue from the newest whole checkpoint.
        command: What started the run, for its provenance.

    Returns:
        The checkpoint to continue from, None to start at step 0.

    Raises:
        ConfigError: a tracker cannot be used, or the launcher's settings do not fit.
        TrainingError: the run folder is taken, or is resumed with other settings or by processes
            that cannot read its checkpoints.
    """
    check_trackers(config.report_to)
    launch = _this_launch(os.environ)
    _check_launcher(config, launch.sharding, os.environ)
    run = Path(config.output)
    _wait_for_the_first()  # which owns the folder, and may be clearing it away
    checkpoint = find_start(run, resume=resume)
    if checkpoint is None:
        if resume and _launch().is_main_process:
            _LOGGER.info("nothing to resume in %s; starting", run)
        write_provenance(
            run, config=config, seed=config.seed, command=command, launch=asdict(launch)
        )
    else:
        _check_settings(run, config)
        _check_same_launch(run, launch)
        _check_length(config, checkpoint)
    return checkpoint


def _settle_inputs(
    config: SFTConfig | TrainConfig, model: Path, checkpoint: Path | None, *, command: str
) -> None:
    """Note what a run reads, by content, or check that it goes on with the same; then remove what
    it left after its checkpoint.

    The first process does it for all; the others wait.
    """
    run = Path(config.output)
    if _launch().is_main_process:
        inputs, store = run_inputs(config, model), run_store(config)
        if checkpoint is None:
            write_inputs(run, inputs, store)
        else:
            check_same_inputs(run, inputs, store)
        go_back_to(run, checkpoint)
        if checkpoint is not None:
            _LOGGER.info("%s: goes on after step %d", run, checkpoint_step(checkpoint))
            note_resume(
                run,
                config=config,
                step=checkpoint_step(checkpoint),
                command=command,
                launch=asdict(_this_launch(os.environ)),
            )
    _wait_for_the_first()


def _wait_for_the_first() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        _launch().wait_for_everyone()


def _check_length(config: SFTConfig | TrainConfig, checkpoint: Path) -> None:
    """Refuse a run that is to be shorter than it is already."""
    done = checkpoint_step(checkpoint)
    if isinstance(config, TrainConfig) and config.steps < done:
        raise TrainingError(
            f"{config.output}: has {done} steps already, and steps is {config.steps}; set steps to "
            f"{done} or more"
        )


def _check_launcher(
    config: SFTConfig | TrainConfig, sharding: Sharding, environment: Mapping[str, str]
) -> None:
    """Refuse what `accelerate launch` was told and a run would go wrong with."""
    model, wants_copies = config.model, []
    if model.lora is not None:
        wants_copies.append("model.lora")  # would train; merging into shards fails at the end
    if isinstance(config, TrainConfig) and config.rollout.compile:
        wants_copies.append("rollout.compile")  # the hooks of shards break its graph at every layer
    if wants_copies and sharding is not Sharding.COPIES:
        raise ConfigError(
            f"{wants_copies[0]} needs whole copies of the model, and this launch makes "
            f"{sharding.value}: take torchrun, or ddp.yaml of `editgrpo recipes copy ddp`"
        )
    precision = environment.get("ACCELERATE_MIXED_PRECISION", "no")
    fitting = "bf16" if model.dtype is DType.BFLOAT16 else "no"
    if precision not in ("no", fitting):
        raise ConfigError(
            f"accelerate was launched with mixed_precision {precision} and model.dtype is "
            f"{model.dtype.value}; add --mixed_precision {fitting}"
        )
    if environment.get("ACCELERATE_USE_FSDP") == "true" and (
        environment.get("FSDP_CPU_RAM_EFFICIENT_LOADING") == "true"
    ):
        raise ConfigError(
            "fsdp_cpu_ram_efficient_loading leaves all processes but one without the weights of "
            "the vision tower; set it to false, as `editgrpo recipes show fsdp2` does"
        )


@dataclass(frozen=True, slots=True)
class _Launch:
    processes: int
    sharding: Sharding

    def __str__(self) -> str:
        plural = "" if self.processes == 1 else "es"
        return f"{self.sharding.value} on {self.processes} process{plural}"


def _this_launch(environment: Mapping[str, str]) -> _Launch:
    state, sharding = _launch(), Sharding.COPIES
    # What accelerate's launcher sets for its processes does not shard one that it did not start.
    if state.distributed_type is not DistributedType.NO:
        if environment.get("ACCELERATE_USE_DEEPSPEED") == "true":
            sharding = Sharding.DEEPSPEED
        elif environment.get("ACCELERATE_USE_FSDP") == "true":
            sharding = Sharding.FSDP
    return _Launch(state.num_processes, sharding)


def _check_same_launch(run: Path, now: _Launch) -> None:
    """Refuse checkpoints that these processes cannot read.

    Whole copies are read by any number of processes, and so are FSDP's shards, which are put
    together in one file; DeepSpeed keeps a file for each process.
    """
    noted = read_provenance(run).get("launch")
    if noted is None:
        return
    remedy = "put back the file as the run wrote it"
    with reading(f"{run / PROVENANCE_FILE}: launch", remedy, error=TrainingError):
        before = _Launch(int(noted["processes"]), Sharding(noted["sharding"]))
    if before == now:
        return
    if before.sharding is now.sharding and now.sharding is not Sharding.DEEPSPEED:
        return
    raise TrainingError(
        f"{run}: was started with {before}; its checkpoints cannot be resumed with {now}: launch "
        "it as it was, or start another run in a new folder"
    )


def train_to_end(
    trainer: Trainer,
    checkpoint: Path | None,
    *,
    optim: OptimConfig,
    stop: StopOnSignal,
    last_step: int,
) -> None:
    """Train from a checkpoint, or from step 0, to the last step.

    Args:
        trainer: Of either kind of run.
        checkpoint: Where to continue.
        optim: The run's optimiser.
        stop: The run's callback.
        last_step: Steps of the whole run.

    Raises:
        ConfigError: the optimiser is not one for a sharded model.
        RunStoppedError: a signal came before the last step.
        TrainingError: the checkpoint is damaged.
        StorageError: there is no room for a checkpoint.
    """
    if checkpoint is not None:
        check_state(checkpoint)
    adapters_in_float32(trainer.model)
    refuse_states_of_shards(optim, trainer)
    trainer.remove_callback(PrinterCallback)  # it would print raw dictionaries beside our lines
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        stop.give_back()  # a run that fails has no end of its own
    step = trainer.state.global_step
    if stop.received is not None and step < last_step:
        run = Path(trainer.args.output_dir).parent
        raise RunStoppedError(
            f"{run}: stopped by {stop.received.name} after step {step}", stop.received
        )
