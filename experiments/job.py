"""One job: train an arm at a stage with a seed, test it at both sites, write its result.

A job goes on where it was stopped, wherever that was: studies, run and predictions are whole or
continued. It ends with the process that started it, so that a command that was killed leaves
nothing running.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from editgrpo.config import SFTConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.demo.plan import TestSet
from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import read_predictions
from editgrpo.evaluation.types import Prediction
from editgrpo.files import read_json_object, write_json
from editgrpo.metrics.class_rates import class_rates, write_class_rates
from editgrpo.provenance import command_line, git_state, processor_name
from editgrpo.training.generate import GenerationConfig, generate_predictions
from editgrpo.training.policy.prompts import load_split
from editgrpo.training.run.folder import (
    ANNOTATIONS,
    CHECKPOINTS,
    FEATURES,
    MODEL,
    ROLLOUTS,
    append_line,
)
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from experiments.configs import departure, made_with, run_config
from experiments.corpora import Corpus, shown_data, write_corpus
from experiments.curves import SECONDS, curve, sayings, sayings_recorder, spent_seconds
from experiments.definitions import Arm, Data, Stage
from experiments.places import Places
from experiments.rows import LABELER, reference_rows, scored_rows
from experiments.saying import labels_of

Told = Callable[[str, int, int], None]

PROGRESS = "progress.json"
VALIDATION = "validation"
"""What trials of tuning are tested on."""
_BATCH = 64
_REMEDY = "delete it and run the table again"
# How often a job looks whether the process that started it is still there.
_WATCH_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An arm at a stage with a seed."""

    stage: Stage
    arms: Mapping[str, Arm]
    arm: str
    seed: int
    places: Places

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.stage.name} / {self.arm} / seed {self.seed}"

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.places.run(self.stage.name, self.arm, self.seed)

    @property
    def result(self) -> Path:
        """Its result file."""
        return self.places.result(self.stage.name, self.arm, self.seed)

    @property
    def has_model(self) -> bool:
        """Whether its training is done, and its model still there."""
        return (self.run / MODEL / "config.json").is_file()

    @property
    def is_start(self) -> bool:
        """Whether another arm starts from its model."""
        return any(arm.start == self.arm for arm in self.arms.values())

    def has_result(self) -> bool:
        """Say whether its result is there.

        Returns:
            Whether it is.

        Raises:
            DataError: it is damaged, or was made with other settings than stage and arm have now.
        """
        if not self.result.is_file():
            return False
        recorded = read_json_object(self.result, _REMEDY).get("made_with", {})
        if other := departure(recorded, made_with(self.stage, self.arms, self.arm)):
            raise DataError(
                f"{self.result}: made with other settings than stage {self.stage.name} and arm "
                f"{self.arm} have now ({other}); put them back, or delete this file, its run "
                f"folder {self.run} and those of arms that start from it"
            )
        return True


def run_job(job: Job) -> None:
    """Train, test and write the result; what is done already is not done again.

    Args:
        job: The job. The model that it starts from is there.

    Raises:
        EditGRPOError: as raised by the training, the generation or the scoring.
    """
    end_with_parent()
    torch.set_num_threads(1)
    told = _Progress(job.run)
    if not job.has_model:
        _train(job, told)
    if not job.has_result():
        _test(job, told)
    _clear(job)
    told("done", 1, 1)


def end_with_parent() -> None:
    """End this process soon after the one that started it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Progress:
    """Tells the process that started the job how far it is."""

    def __init__(self, run: Path) -> None:
        self._path = run.with_name(f"{run.name}.{PROGRESS}")

    def __call__(self, phase: str, done: int, total: int) -> None:
        write_json(self._path, {"phase": phase, "done": done, "total": total})


def read_progress(run: Path) -> dict[str, Any]:
    """Return what a job told last; nothing before it told anything."""
    path = run.with_name(f"{run.name}.{PROGRESS}")
    return read_json_object(path, "delete it") if path.is_file() else {}


def studies_of(corpus: Corpus, places: Places) -> Path:
    """Return a corpus's folder, written if need be; of several processes one writes."""
    places.studies.mkdir(parents=True, exist_ok=True)
    with FileLock(places.studies / f"{corpus.folder_name()}.lock"):
        return write_corpus(corpus, places.studies)


def _train(job: Job, told: Told) -> None:
    arm = job.arms[job.arm]
    told("studies", 0, 1)
    folder = studies_of(job.stage.training_corpus(arm.data, job.seed), job.places)
    config = run_config(job.stage, job.arms, job.arm, job.seed, job.places)
    if arm.class_rates:
        texts = [study.findings for study in StudySet.load(folder, split=Split.TRAIN)]
        rates = class_rates(labels_of(texts), labeler=LABELER)
        write_class_rates(Path(config.reward.class_rates or ""), rates)
    began = time.perf_counter()

    def note(metrics: Mapping[str, float], total: int) -> None:
        nonlocal began
        now, step = time.perf_counter(), int(metrics["step"])
        part = "validation" if "validation/loss" in metrics else "step"
        append_line(
            job.run / SECONDS, {"step": step, "part": part, "seconds": round(now - began, 3)}
        )
        began = now
        told("training", step, total)

    if isinstance(config, SFTConfig):
        studies = len(load_split(config.data, Split.TRAIN))
        total = config.max_steps or round(config.epochs * studies / config.batch_size)
        run_sft(
            config, resume=True, command=command_line(), on_metrics=lambda row: note(row, total)
        )
        return
    steps = config.steps
    run_training(
        config,
        resume=True,
        command=command_line(),
        on_step=lambda row, _: note(row, steps),
        on_groups=sayings_recorder(job.run),
    )


def _test(job: Job, told: Told) -> None:
    began = time.perf_counter()
    config = run_config(job.stage, job.arms, job.arm, job.seed, job.places)
    tokens = (
        config.max_completion_tokens
        if isinstance(config, SFTConfig)
        else (config.rollout.max_completion_tokens)
    )
    tested: dict[str, Any] = {}
    references: dict[str, Any] = {}
    for name, (corpus, split) in _tests(job).items():
        rows = _reports(job, studies_of(corpus, job.places), split, tokens, told, name)
        tested[name] = scored_rows(rows)
        references[name] = reference_rows(rows)
    seconds = {
        "training": round(spent_seconds(job.run), 1),
        "testing": round(time.perf_counter() - began, 1),
    }
    record = _record(job, seconds) | {"test_sets": tested}
    if job.arms[job.arm].validates:
        record |= {"references": references}
    else:
        _write_references(job, references)
    write_json(job.result, record, shared=True)


def _tests(job: Job) -> dict[str, tuple[Corpus, Split]]:
    """Return what an arm is tested on, by name."""
    if job.arms[job.arm].validates:
        return {VALIDATION: (job.stage.training_corpus(Data.RL, job.seed), Split.VALIDATION)}
    return {one.value: (job.stage.test_corpus(one), Split.TEST) for one in TestSet}


def _reports(
    job: Job, studies: Path, split: Split, tokens: int, told: Told, name: str
) -> list[Prediction]:
    """Write a greedy report of every study of a test set; sorted by study."""

    def tell(done: int, total: int) -> None:
        told(name, done, total)

    path = generate_predictions(
        model=str(job.run / MODEL),
        data=shown_data(studies),
        split=split,
        output=job.run / "predictions" / f"{name}.jsonl",
        config=GenerationConfig(max_completion_tokens=tokens, batch_size=_BATCH),
        progress=tell,
    )
    return sorted(read_predictions(path), key=lambda row: row.study_id)


def _record(job: Job, seconds: Mapping[str, float]) -> dict[str, Any]:
    state = git_state(apart="experiments/results")  # where earlier jobs have just written
    trained = curve(job.run)
    return {
        "stage": job.stage.name,
        "arm": job.arm,
        "seed": job.seed,
        "command": f"python -m experiments job {job.stage.name} {job.arm} --seed {job.seed}",
        "commit": None if state is None else state.commit,
        "dirty": None if state is None else state.dirty,
        "machine": machine(),
        "seconds": dict(seconds),
        "steps": trained["step"][-1],
        "made_with": made_with(job.stage, job.arms, job.arm),
        "curve": trained,
        "said": sayings(job.run),
    }


def machine() -> dict[str, Any]:
    """Name the processor, its cores and the version of torch."""
    return {"cpu": processor_name(), "cores": os.cpu_count(), "torch": torch.__version__}


def _write_references(job: Job, references: Mapping[str, Any]) -> None:
    """Write the references of the stage's test sets, or compare them with those of other jobs."""
    path = job.places.test_sets(job.stage.name)
    job.places.work.mkdir(parents=True, exist_ok=True)
    with FileLock(job.places.work / f"{job.stage.name}.test-sets.lock"):
        if not path.is_file():
            write_json(path, references, shared=True)
        elif read_json_object(path, _REMEDY) != references:
            raise DataError(
                f"{path}: states other test sets than stage {job.stage.name} has now; put the "
                "stage back, or delete this file and the results beside it"
            )


def _clear(job: Job) -> None:
    """Remove what is large and can be made again; metrics and predictions stay."""
    unwanted = [CHECKPOINTS, FEATURES, ANNOTATIONS, ROLLOUTS]
    if not job.is_start:
        unwanted += [MODEL, "model-for-rl", "epochs"]
    for name in unwanted:
        place = job.run / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
