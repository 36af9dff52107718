"""Real radiographs and reports go through every command, a few steps each."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from editgrpo.cli import main
from editgrpo.config import DataConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import Prompt, build_messages
from editgrpo.data.study import Split, Study, Timepoint
from editgrpo.files import read_jsonl
from editgrpo.recipes import load_section
from editgrpo.training.policy.processor import StudyProcessor
from editgrpo.training.policy.tiny import write_tiny_checkpoint
from editgrpo.training.step.clock import PHASES as PHASES_OF_A_STEP
from tests.builders import shared_data
from tests.training.tiny_run import SHAPE

pytestmark = pytest.mark.slow

STEPS = 2
MODEL = "{dtype: float32, freeze_vision_tower: false, gradient_checkpointing: false, path: %s}"
SMALL = ("--min-pixels", "3136", "--max-pixels", "12544")
DATA = "{max_images: 4, validation_limit: 6, folder: %s}"
COMPONENTS = ("rules/report-micro-f1-14", "entity_f1/partial@rules", "entity_similarity@rules")
RULES = ("mislabelled", "replacement", "deletion", "augmentation", "shortened", "none")
STEP_METRICS = {
    "step", "loss", "grad_norm", "learning_rate", "kl", "kl_capped_share", "clip_share", "entropy",
    "reward/all/mean", "reward/sampled/mean", "reward/edited/mean", "advantage/std",
    "length/sampled/mean", "length/edited/mean", "truncated_share", "edits/unused",
    "zero_advantage_groups", "errors/dropped_groups",
    *(f"edits/{rule}" for rule in RULES),
    *(f"reward/sampled/{name}" for name in COMPONENTS),
}  # fmt: skip
PHASES = {f"seconds/{name}" for name in (*PHASES_OF_A_STEP, "hidden", "step")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """What one data set left behind, and what the models were shown on the way."""

    studies: Path
    sft: Path
    rl: Path
    page: Path
    tested: Split
    shown: dict[str, list[tuple[str, Prompt]]] = field(repr=False)
    """For each command the studies whose prompts were encoded."""

    @property
    def evaluation(self) -> Path:
        return self.rl / "evaluation" / "real"


def run(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 0, words


def prepare_iu_xray(folder: Path) -> Split:
    """Prepare the archive's two reports with images; each goes to a split of its own."""
    source = shared_data() / "iu_xray"
    annotation = folder.with_name("annotation.json")
    content = {"train": [{"id": "CXR7_IM-2263"}], "val": [{"id": "CXR1900_IM-0584"}], "test": []}
    annotation.write_text(json.dumps(content))
    run("prepare", "iu-xray", "--root", source, "--reports", source / "NLMCXR_reports.tgz",
        "--annotation", annotation, *SMALL, "--out", folder)  # fmt: skip
    return Split.VALIDATION


def prepare_longitudinal(folder: Path) -> Split:
    """Prepare the 353 films as docs/data.md does: notes as findings, the offset as time."""
    source = shared_data() / "longitudinal_cxr"
    columns = {"study_id": "out", "patient_id": "patientid", "image": "out", "view": "view",
               "time": "offset", "findings": "clinical_notes"}  # fmt: skip
    words = [w for field in columns.items() for w in ("--column", "=".join(field))]
    run("prepare", "folder", source / "manifest.csv", "--images", source / "images", *words,
        *SMALL, "--out", folder)  # fmt: skip
    return Split.TEST


def write_base_model(folder: Path, studies: Path) -> None:
    everything = list(StudySet.load(studies))
    texts = [study.findings for study in everything]
    for study in everything:
        parts = build_messages(study, max_images=4).messages[0]["content"]
        texts += [part["text"] for part in parts if part["type"] == "text"]
    write_tiny_checkpoint(folder, texts, SHAPE, seed=0)


def go_through(folder: Path, prepare: Callable[[Path], Split], spy: pytest.MonkeyPatch) -> Loop:
    """Run the commands in the order of a first day."""
    shown: dict[str, list[tuple[str, Prompt]]] = defaultdict(list)
    command = ""
    assemble = StudyProcessor.assemble

    def assemble_and_note(
        self: Any, study_id: str, prompt: Prompt, *images: Any, **ids: Any
    ) -> Any:
        encoded = assemble(self, study_id, prompt, *images, **ids)
        assert not encoded.left_out, study_id  # the tower is trained: no features are kept
        shown[command].append((study_id, prompt))
        return encoded

    spy.setattr(StudyProcessor, "assemble", assemble_and_note)
    loop = Loop(
        studies=folder / "studies",
        sft=folder / "sft",
        rl=folder / "rl",
        page=folder / "report.html",
        tested=prepare(folder / "studies"),
        shown=shown,
    )
    write_base_model(folder / "base", loop.studies)
    data = DATA % loop.studies
    recipe = folder / "recipe.yaml"
    batch = min(4, len(StudySet.load(loop.studies, split=Split.TRAIN)))
    recipe.write_text(
        f"model: {MODEL % (folder / 'base')}\ndata: {data}\nmax_steps: {STEPS}\n"
        f"batch_size: {batch}\nmicro_batch_size: {min(2, batch)}\nmax_completion_tokens: 24\n"
        "optim: {learning_rate: 1.0e-3}\n"
    )
    command = "sft"
    run("sft", recipe, "--output", loop.sft)
    recipe.write_text(
        f"model: {MODEL % (loop.sft / 'model-for-rl')}\ndata: {data}\nsteps: {STEPS}\n"
        "prompts_per_step: 2\nrollout: {group_size: 4, max_completion_tokens: 48}\n"
    )
    command = "train"
    run("train", recipe, "--output", loop.rl)
    command = "generate"
    predictions = loop.evaluation / "predictions.jsonl"
    run("generate", loop.rl / "model", "--output", predictions, "--split", loop.tested.value,
        "--max-completion-tokens", "48", "--limit", "6")  # fmt: skip
    run("evaluate", predictions, "--samples", "50")
    run("report", loop.sft, loop.rl, "--output", loop.page)
    return loop


@pytest.fixture(scope="module", params=[prepare_iu_xray, prepare_longitudinal])
def loop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    shared_data()
    name = request.param.__name__.removeprefix("prepare_")
    with pytest.MonkeyPatch.context() as spy:
        spy.setenv("HF_HUB_OFFLINE", "1")
        return go_through(tmp_path_factory.mktemp(name), request.param, spy)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)]


def assert_finite(value: Any, where: str) -> None:
    """Every number in a nested value is finite."""
    if isinstance(value, dict):
        for key, part in value.items():
            assert_finite(part, f"{where}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            assert_finite(part, f"{where}[{index}]")
    elif isinstance(value, float):
        assert math.isfinite(value), where


def test_both_runs_leave_what_the_documentation_names(loop: Loop) -> None:
    for run_folder in (loop.sft, loop.rl):
        provenance = json.loads((run_folder / "provenance.json").read_text())
        assert {"editgrpo", "git", "versions", "seed", "command", "started"} <= provenance.keys()
        assert f"folder: {loop.studies}\n" in (run_folder / "config.yaml").read_text()
        assert (run_folder / f"checkpoints/checkpoint-{STEPS}/model.safetensors").is_file()
    for model in (loop.sft / "model", loop.sft / "model-for-rl", loop.rl / "model"):
        weights = load_file(model / "model.safetensors")
        assert all(math.isfinite(float(values.sum())) for values in weights.values())
        names = {path.name for path in model.iterdir()}
        assert {"config.json", "tokenizer.json", "preprocessor_config.json"} <= names


def test_supervised_steps_and_their_validation_are_logged(loop: Loop) -> None:
    rows = rows_of(loop.sft / "metrics.jsonl")
    assert_finite(rows, "metrics")
    steps = [row for row in rows if "validation/loss" not in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert all(row.keys() >= {"epoch", "loss", "learning_rate", "grad_norm"} for row in steps)
    validated = [row for row in rows if "validation/loss" in row]
    assert validated[-1]["step"] == STEPS
    names = {f"validation/reward/{name}" for name in ("total", *COMPONENTS)}
    assert all(row.keys() >= names for row in validated)


def test_reinforcement_steps_are_logged_with_their_rollouts(loop: Loop) -> None:
    metrics, timings = rows_of(loop.rl / "metrics.jsonl"), rows_of(loop.rl / "timings.jsonl")
    rollouts = rows_of(loop.rl / "rollouts.jsonl")
    assert_finite([metrics, timings, rollouts], "run")
    assert [row["step"] for row in metrics] == [row["step"] for row in timings] == [1, 2]
    assert all(STEP_METRICS - row.keys() == set() for row in metrics)
    assert all(PHASES - row.keys() == set() for row in timings)
    for row in metrics:
        assert sum(row[f"edits/{rule}"] for rule in RULES) == pytest.approx(1)
        assert row["errors/dropped_groups"] == 0
    train = {study.study_id: study for study in StudySet.load(loop.studies, split=Split.TRAIN)}
    assert {row["step"] for row in rollouts} == {1, 2}
    assert all(row["reference"] == train[row["study_id"]].findings for row in rollouts)
    assert all(row["reward"].keys() >= {"total", *COMPONENTS} for row in rollouts)


def test_every_tested_study_has_a_prediction_and_scores(loop: Loop) -> None:
    expected = list(StudySet.load(loop.studies, split=loop.tested))[:6]
    predictions = rows_of(loop.evaluation / "predictions.jsonl")
    assert list(predictions[0])[:4] == ["study_id", "patient_id", "prediction", "reference"]
    known = {study.study_id: study.patient_id for study in expected}
    assert {row["study_id"]: row["patient_id"] for row in predictions} == known
    assert [(row["study_id"], row["reference"]) for row in predictions] == [
        (study.study_id, study.findings) for study in expected
    ]
    scores = json.loads((loop.evaluation / "scores.json").read_text())
    assert_finite(scores, "scores")
    assert scores["n_studies"] == len(expected)
    assert len(scores["per_finding"]) == 14
    assert scores["n_patients"] == len({study.patient_id for study in expected})
    ends = [(metric["low"], metric["high"]) for metric in scores["metrics"].values()]
    if scores["n_patients"] == 1:  # the sample of IU X-Ray tests on one
        assert set(ends) == {(None, None)}
    else:
        assert all(low <= high for low, high in ends)
    per_study = rows_of(loop.evaluation / "per_study.jsonl")
    assert_finite(per_study, "per_study")
    assert [row["study_id"] for row in per_study] == sorted(study.study_id for study in expected)
    with (loop.evaluation / "scores.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) > len(scores["metrics"])


def test_the_page_shows_real_images_and_their_studies(loop: Loop) -> None:
    page = loop.page.read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert "data:image/" in page
    shown = {row["study_id"] for row in rows_of(loop.rl / "rollouts.jsonl")}
    assert all(study_id in page for study_id in shown)


def test_every_image_of_a_study_reaches_the_prompt_priors_too(loop: Loop) -> None:
    data = load_section(loop.rl / "config.yaml", "data", DataConfig, [])
    studies: dict[str, Study] = {s.study_id: s for s in StudySet.load(loop.studies)}
    has_priors = any(i.timepoint is Timepoint.PRIOR for s in studies.values() for i in s.images)
    for command in ("sft", "train", "generate"):
        assert loop.shown[command], command
        with_priors = 0
        for study_id, prompt in loop.shown[command]:
            images = studies[study_id].images
            assert len(prompt.images) == min(len(images), data.max_images)
            assert set(prompt.images) <= set(images)
            with_priors += any(image.timepoint is Timepoint.PRIOR for image in prompt.images)
        assert (with_priors > 0) == has_priors, command
