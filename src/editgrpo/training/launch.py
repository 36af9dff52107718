"""What fine-tuning and reinforcement learning start and stop in the same way."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

import torch
from accelerate import DistributedType, PartialState
from transformers import PrinterCallback, Trainer

from editgrpo.config import ClinicalConfig, DType, OptimConfig, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, RunStoppedError, TrainingError
from editgrpo.provenance import PROVENANCE_FILE, check_same_config, write_provenance
from editgrpo.training.callbacks import StopOnSignal, check_trackers
from editgrpo.training.optimizers import optimizer_class
from editgrpo.training.run_folder import ANNOTATIONS, open_run


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


def begin_run(config: SFTConfig | TrainConfig, *, resume: bool, command: str) -> Path | None:
    """Open the run folder and note there what the run is, or check that it goes on as it began.

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
    checkpoint = open_run(run, resume=resume)
    if checkpoint is None:
        write_provenance(
            run, config=config, seed=config.seed, command=command, launch=asdict(launch)
        )
    else:
        check_same_config(run, config)
        _check_same_launch(run, launch)
    return checkpoint


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
            f"{wants_copies[0]} wants whole copies of the model, and this launch makes "
            f"{sharding.value}: take torchrun or recipes/accelerate/ddp.yaml"
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
            "the vision tower; set it to false, as in recipes/accelerate/fsdp2.yaml"
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
    path = run / PROVENANCE_FILE
    noted = json.loads(path.read_text(encoding="utf-8")).get("launch") if path.is_file() else None
    if noted is None:
        return
    before = _Launch(noted["processes"], Sharding(noted["sharding"]))
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
    """
    trainer.optimizer_cls_and_kwargs = optimizer_class(optim, trainer)
    trainer.remove_callback(PrinterCallback)  # it would print raw dictionaries beside our lines
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = trainer.state.global_step
    if stop.received is not None and step < last_step:
        run = Path(trainer.args.output_dir).parent
        raise RunStoppedError(
            f"{run}: stopped by {stop.received.name} after step {step}", stop.received
        )
