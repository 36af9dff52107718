"""A run as a whole: what it writes, what it refuses, what its memory settings leave alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from editgrpo.config import EditConfig, EditLevel, LoraConfig, RolloutConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.errors import DataError, ModelError
from editgrpo.files import read_jsonl
from editgrpo.rewards import load_reward
from editgrpo.training import train
from editgrpo.training.collator import FindingsCollator
from editgrpo.training.policy.load import resolve_model_folder
from editgrpo.training.sampling import native
from editgrpo.training.step import groups
from editgrpo.training.train import run_training
from tests.builders import write_set
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import (
    PLAIN,
    SHAPE,
    Tiny,
    first_rollouts,
    largest_difference,
    make_trainer,
    step_passes,
)

pytestmark = pytest.mark.slow

# In this order: tables and charts read them by name, people by line.
COLUMNS = ("step", "loss", "grad_norm", "learning_rate", "errors/dropped_groups")


def test_a_run_folder_holds_what_is_promised(tiny: Tiny, tmp_path: Path) -> None:
    seen = []
    config = tiny.train_config(tmp_path / "run", steps=2)
    model = run_training(
        config, command="editgrpo train", on_step=lambda metrics, _: seen.append(dict(metrics))
    )
    run = tmp_path / "run"
    assert model == run / "model"
    metrics = [row for _, row in read_jsonl(run / "metrics.jsonl")]
    assert metrics == seen and [row["step"] for row in metrics] == [1, 2]
    assert all(tuple(row)[:5] == COLUMNS for row in metrics)
    shares = ("mislabelled", "replacement", "deletion", "augmentation", "shortened", "none")
    for row in metrics:
        assert sum(row[f"edits/{rule}"] for rule in shares) == pytest.approx(1)
        assert {"kl", "entropy", "clip_share", "reward/edited/mean", "truncated_share"} <= set(row)
        # One update for each rollout batch: the ratio is 1, and nothing can be clipped.
        assert row["clip_share"] == 0
    timings = [row for _, row in read_jsonl(run / "timings.jsonl")]
    phases = ("vision", "rollout", "edit", "score", "reference", "update", "optimizer")
    for row in timings:
        parts = [row[f"seconds/{phase}"] for phase in phases]
        assert min(parts) > 0
        # Sampled in one part, a step has nothing to hide scoring behind.
        assert row["seconds/hidden"] == pytest.approx(0, abs=0.2)  # a busy machine
        assert row["seconds/step"] == pytest.approx(sum(parts) - row["seconds/hidden"])
    rows = [row for _, row in read_jsonl(run / "rollouts.jsonl")]
    assert {row["rank"] for row in rows} == {"best", "worst"}
    assert {row["step"] for row in rows} == {1, 2}
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["command"] == "editgrpo train" and provenance["seed"] == 0
    assert not list(run.glob(".*")), "something half-written was left"


def test_each_prompt_keeps_its_own_responses_and_advantages(tiny: Tiny, tmp_path: Path) -> None:
    trainer = make_trainer(tiny.train_config(tmp_path, edit=PLAIN))
    tokenizer = trainer._setup.tokenizer
    studies = [trainer._setup.studies[k] for k in range(4)]
    prompts = trainer._setup.encoder.encode_all(studies)
    sampled = first_rollouts(trainer, 0, studies)
    passes = step_passes(trainer, 4)
    number_of = {study.study_id: number for number, study in enumerate(studies)}
    numbers_of = [[number_of[one.study.study_id] for one in each.groups] for each in passes]
    assert sorted(k for numbers in numbers_of for k in numbers) == [0, 1, 2, 3]
    assert sum(one.share for one in passes) == pytest.approx(1)
    for one, numbers in zip(passes, numbers_of, strict=True):
        spans = zip(numbers, one.packed.plan.groups, strict=True)
        for place, (number, span) in enumerate(spans):
            columns = slice(span.start, span.start + span.prefix)
            assert torch.equal(
                one.packed.input_ids_1L[0, columns], prompts[number].input_ids_T[:-1]
            )
            texts = [tokenizer.decode(t, skip_special_tokens=True) for t in sampled[number]]
            totals = load_reward("rules").score(texts, [studies[number].findings] * 4).total
            for row, tokens, total in zip(
                range(4 * place, 4 * place + 4), sampled[number], totals, strict=True
            ):
                mask = one.inputs["completion_mask"][row].bool()
                assert one.inputs["completion_ids"][row][mask].tolist() == tokens
                advantage = float(one.inputs["advantages"][row])
                assert advantage == pytest.approx(total - totals.mean(), abs=1e-6)


def test_draws_belong_to_step_study_and_index(tiny: Tiny, tmp_path: Path) -> None:
    trainer = make_trainer(tiny.train_config(tmp_path, edit=PLAIN))
    studies = [trainer._setup.studies[k] for k in range(3)]
    sampled = first_rollouts(trainer, 0, studies)
    assert first_rollouts(trainer, 0, studies[::-1])[::-1] == sampled
    assert first_rollouts(trainer, 1, studies) != sampled
    assert all(len({tuple(response) for response in group}) > 1 for group in sampled)


def test_gradient_checkpointing_changes_the_cost_only(of_family: Tiny, tmp_path: Path) -> None:
    for name, on in (("off", False), ("on", True)):
        model = of_family.model(gradient_checkpointing=on)
        run_training(of_family.train_config(tmp_path / name, model=model, steps=1))
    weights = [load_file(tmp_path / name / "model/model.safetensors") for name in ("off", "on")]
    difference, name = largest_difference(*weights)
    assert difference < 1e-6, name


def test_sampling_leaves_gradient_checkpointing_as_it_was(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny.model(gradient_checkpointing=True)
    trainer = make_trainer(tiny.train_config(tmp_path, model=model, edit=PLAIN))
    trainer.model.gradient_checkpointing_enable()
    chosen = {"use_reentrant": False, "determinism_check": "none"}
    trainer.args.gradient_checkpointing_kwargs = chosen
    studies = [trainer._setup.studies[0]]
    first_rollouts(trainer, 0, studies)
    layer = trainer.model.model.language_model.layers[0]
    assert layer.gradient_checkpointing
    assert layer._gradient_checkpointing_func.keywords == chosen


def test_a_frozen_vision_tower_stays_as_it_was(of_family: Tiny, tmp_path: Path) -> None:
    model = of_family.model(freeze_vision_tower=True)
    run_training(of_family.train_config(tmp_path / "run", model=model, steps=1))
    before = load_file(of_family.checkpoint / "model.safetensors")
    after = load_file(tmp_path / "run/model/model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved and not any("visual" in name for name in moved)


@pytest.mark.parametrize(
    # Steps of four prompts: ten go through the 18 training studies twice, six show some again.
    ("of_family", "steps", "levels"),
    [("qwen2.5-vl", 10, 1), ("qwen3-vl", 6, 3)],
    indirect=["of_family"],
)
def test_kept_features_change_nothing(
    of_family: Tiny, tmp_path: Path, steps: int, levels: int
) -> None:
    """Computed anew in each step, kept in memory, kept on disk: the same bytes."""
    for name, ram, disk in (("none", 0, 0), ("memory", 64, 0), ("disk", 0, 64)):
        model = of_family.model(
            freeze_vision_tower=True, feature_ram_mib=ram, feature_disk_mib=disk
        )
        settings = {"model": model, "steps": steps, "save_every": steps}
        run_training(of_family.train_config(tmp_path / name, **settings))
    assert_same_run(tmp_path / "none", tmp_path / "memory")
    assert_same_run(tmp_path / "none", tmp_path / "disk")
    kept = list((tmp_path / "disk/features").rglob("*.safetensors"))
    assert 12 <= len(kept) <= 60, "no image of the set was kept"
    (features,) = load_file(kept[0]).values()
    assert features.shape == (4, levels * SHAPE.hidden_size)
    assert not (tmp_path / "none/features").exists()


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4, alpha=8)], ids=["full", "adapters"])
@pytest.mark.parametrize("frozen", [False, True], ids=["tower trained", "tower frozen"])
def test_plain_transformers_reads_what_was_trained(
    of_family: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frozen: bool,
    lora: LoraConfig | None,
) -> None:
    """The model in memory after a step, and what the stock class makes of its folder."""
    policies: list[Any] = []
    load = train.load_policy
    monkeypatch.setattr(
        train, "load_policy", lambda *given: policies.append(load(*given)) or policies[0]
    )
    model = of_family.model(freeze_vision_tower=frozen, lora=lora)
    folder = run_training(of_family.train_config(tmp_path / "run", model=model, steps=1))
    saved, report = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = FindingsCollator(*of_family.encoder())([{"index": 0}, {"index": 1}])
    del batch["labels"]
    with torch.no_grad():
        found, expected, before = (
            one.eval()(**batch).logits for one in (saved, policies[0], of_family.load())
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float((expected - before).abs().max()) > 1e-2, "nothing was trained"


def test_sampling_in_parts_hides_scoring_and_changes_nothing(tiny: Tiny, tmp_path: Path) -> None:
    for name, parts in (("whole", 1), ("parts", 3)):
        run_training(tiny.train_config(tmp_path / name, rollout_parts=parts, steps=2))
    # The rules score each report by itself, and rows are sampled by themselves.
    one, two = (
        [row for _, row in read_jsonl(tmp_path / name / "rollouts.jsonl")]
        for name in ("whole", "parts")
    )
    assert one == two
    for _, row in read_jsonl(tmp_path / "parts/timings.jsonl"):
        assert 0 < row["seconds/hidden"] <= row["seconds/edit"] + row["seconds/score"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_run_compiles_its_decoding_once_and_trains_on_the_same_responses(
    tiny: Tiny, tmp_path: Path
) -> None:
    torch.compiler.reset()  # of what earlier tests compiled
    counters = torch._dynamo.utils.counters["stats"]
    rows, graphs = {}, {}
    for compiled in (False, True):
        before = counters["unique_graphs"]
        rollout = RolloutConfig(group_size=4, max_completion_tokens=12, compile=compiled)
        model = tiny.model(gradient_checkpointing=True)  # turned off and on again in every step
        run = tiny.train_config(tmp_path / str(compiled), rollout=rollout, model=model, steps=3)
        run_training(run)
        rows[compiled] = [row for _, row in read_jsonl(Path(run.output) / "rollouts.jsonl")]
        graphs[compiled] = counters["unique_graphs"] - before
    assert rows[False] == rows[True]
    assert {row["step"] for row in rows[True]} == {1, 2, 3}
    assert graphs == {False: 0, True: 1}


def test_sampling_keeps_to_the_settings_and_leaves_no_hooks(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, told, hooks = native.sample_responses, [], []

    def sample_and_note(model: Any, *arguments: Any, **keywords: Any) -> Any:
        told.append((keywords["tokens_per_pass"], keywords["compiled"]))
        hooks.append(len(model.get_input_embeddings()._forward_hooks))
        return sample(model, *arguments, **keywords | {"compiled": False})

    monkeypatch.setattr(native, "sample_responses", sample_and_note)
    rollout = RolloutConfig(group_size=4, max_completion_tokens=4, compile=True)
    model = tiny.model(gradient_checkpointing=True)
    run_training(tiny.train_config(tmp_path, tokens_per_pass=77, rollout=rollout, model=model))
    assert told == [(77, True)] * len(told)
    assert len(set(hooks)) == 1 and len(hooks) >= 3


def test_level_report_trains(tiny: Tiny, tmp_path: Path) -> None:
    edit = EditConfig(level=EditLevel.REPORT)
    run_training(tiny.train_config(tmp_path / "run", edit=edit, steps=1))
    ((_, row),) = read_jsonl(tmp_path / "run/metrics.jsonl")
    # The reference earns the most that the rules pay: three components of 1 each.
    assert row["reward/reference/mean"] == pytest.approx(3)
    assert row["advantage/reference/mean"] > 0 > row["advantage/sampled/mean"]


def test_missing_models_and_studies_are_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model_folder(str(tmp_path))
    data = tiny.data(folder=str(tmp_path))
    with pytest.raises(DataError, match=r"prepared\.json"):
        run_training(tiny.train_config(tmp_path / "run", data=data))


@pytest.mark.parametrize("level", [EditLevel.SENTENCE, EditLevel.NONE])
def test_a_run_says_at_its_start_that_it_cannot_read_the_references(
    level: EditLevel, tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studies = StudySet.load(tiny.studies)
    films = {image_id: studies.images.load(image_id) for image_id in studies.images}
    spanish = [replace(study, findings="Sin hallazgos significativos.") for study in studies]
    folder = write_set(tmp_path / "spanish", spanish, films)
    edit = EditConfig(level=level)
    make_trainer(tiny.train_config(tmp_path, edit=edit, data=tiny.data(folder=str(folder))))
    (message,) = [text for text in caplog.messages if "finds nothing" in text]
    assert "(100 %)" in message and "Sin hallazgos" not in message
    caplog.clear()
    make_trainer(tiny.train_config(tmp_path, edit=edit))
    assert not [text for text in caplog.messages if "finds nothing" in text]


def test_a_run_whose_edits_are_over_the_length_limit_says_so_once(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(groups, "splice_completion", lambda *_, **__: None)
    run_training(tiny.train_config(tmp_path / "run", steps=2))
    for _, row in read_jsonl(tmp_path / "run" / "metrics.jsonl"):
        assert row["edits/none"] + row["edits/unused"] == pytest.approx(1)
        assert row["edits/unused"] > 0
    (message,) = [text for text in caplog.messages if "were not used" in text]
    assert message.endswith("of 24 tokens and were not used; raise rollout.max_completion_tokens")
