"""The commands in the order of a first day: data, SFT, EditGRPO, predictions, scores, page."""

import json
from pathlib import Path

import pytest
from pyarrow.parquet import read_schema

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from editgrpo.files import read_jsonl
from editgrpo.training.policy.tiny import TinyModelConfig, write_tiny_checkpoint
from tests.builders import noise
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.published import QWEN3_VL, learnt_vocabulary, write_published

MODEL = "{dtype: float32, freeze_vision_tower: false, gradient_checkpointing: false, path: %s}"
DATA = "{max_images: 2, folder: %s}"


def run(*words: str | Path, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == code, words


@pytest.mark.slow
def test_the_commands_lead_from_data_to_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studies, sft, rl = tmp_path / "studies", tmp_path / "sft", tmp_path / "rl"
    run("prepare", "phantom", "--output", studies, "--studies", "40", "--size-px", "56")
    texts = [study.findings for study in StudySet.load(studies)]
    write_tiny_checkpoint(tmp_path / "base", texts, TinyModelConfig(), seed=0)

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {MODEL % (tmp_path / 'base')}\ndata: {DATA % studies}\n"
        "max_steps: 2\nbatch_size: 4\nmicro_batch_size: 2\nmax_completion_tokens: 12\n"
    )
    capsys.readouterr()
    run("sft", recipe, "--output", sft)
    printed = capsys.readouterr().out
    assert f"The model of the best epoch is in {sft / 'model'}\n" in printed
    assert f"for `editgrpo train`, is in {sft / 'model-for-rl'}\n" in printed
    assert json.loads((sft / "provenance.json").read_text())["seed"] == 0

    recipe.write_text(
        f"model: {MODEL % (sft / 'model-for-rl')}\ndata: {DATA % studies}\n"
        "rollout: {group_size: 4, max_completion_tokens: 12}\nsteps: 1\nprompts_per_step: 2\n"
    )
    run("train", recipe, "--output", rl, "--seed", "3")
    assert [row["step"] for _, row in read_jsonl(rl / "metrics.jsonl")] == [1]
    assert "seed: 3\n" in (rl / "config.yaml").read_text()

    predictions = rl / "evaluation" / "test" / "predictions.jsonl"
    words = ["--max-completion-tokens", "12", "--limit", "3"]
    run("generate", rl / "model", "--output", predictions, *words)
    expected = [study.study_id for study in StudySet.load(studies) if study.split == "test"][:3]
    assert [row["study_id"] for _, row in read_jsonl(predictions)] == expected
    run("evaluate", predictions, "--samples", "20")
    pairs_are_written(rl, tmp_path, capsys)
    run("report", sft, rl, "--output", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000


def pairs_are_written(rl: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the edits that a run recorded, and of fresh samples of its model."""
    with (rl / "rollouts.jsonl").open() as stream:
        row = json.loads(next(stream))
    edit = {"rule": "augmentation", "source_report": "No.", "source_reward": {"total": -1}}
    with (rl / "rollouts.jsonl").open("a") as stream:  # a model as small records hardly a gain
        stream.write(json.dumps(row | {"kind": "edited", "edit": edit}) + "\n")
    capsys.readouterr()
    run("pairs", rl, "--output", folder / "recorded.parquet")
    assert " pairs of " in capsys.readouterr().out
    words = ["--samples", "2", "--limit", "3", "--min-gain", "-10"]
    run("pairs", rl / "model", "--output", folder / "sampled.parquet", *words)
    assert not (folder / "sampled.parquet.partial").exists()
    for name in ("recorded", "sampled"):
        assert {"prompt", "chosen", "rejected", "images"} <= set(
            read_schema(folder / f"{name}.parquet").names
        )
    run("pairs", rl, "--samples", "2", "--output", folder / "other.parquet", code=2)
    assert "--samples: " in capsys.readouterr().err
    words = ["--set", "steps=3"]
    run("pairs", rl, "--output", folder / "other.parquet", *words, code=2)
    run("pairs", rl, "--output", folder / "other.parquet", "--min-gain", "9", code=2)
    assert "none raised the reward by more than 9" in capsys.readouterr().err


def write_table(folder: Path) -> Path:
    """Write films whose sides are multiples of nothing, and a table of them."""
    splits = ("train", "train", "val", "test")
    rows = ["study_id,image,split,findings"]
    (folder / "films").mkdir()
    for k in range(12):
        noise(70 + k, 60, seed=k).save(folder / f"films/{k}.png")
        findings = SENTENCES[k % len(SENTENCES)]
        rows.append(f's{k},{k}.png,{splits[k % 4]},"{findings}"')
    table = folder / "table.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.mark.slow
def test_a_qwen3_vl_reads_films_that_were_prepared_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its image tokens are 32 pixels wide: films for those of 28 are refused, with what to do."""
    base = write_published(tmp_path / "base", QWEN3_VL, learnt_vocabulary(SENTENCES))
    studies, sft, rl, recipe = (tmp_path / name for name in ("studies", "sft", "rl", "recipe.yaml"))
    table = write_table(tmp_path)
    fields = [f"{field}={field}" for field in ("study_id", "image", "split", "findings")]
    columns = [word for field in fields for word in ("--column", field)]
    prepare = ["prepare", "folder", table, "--images", tmp_path / "films", "--output", studies]
    prepare += [*columns, "--min-pixels", "1024", "--max-pixels", "4096", "--workers", "1"]
    run(*prepare)
    recipe.write_text(
        f"model: {MODEL % base}\ndata: {DATA % studies}\n"
        "max_steps: 1\nbatch_size: 4\nmicro_batch_size: 2\nmax_completion_tokens: 8\n"
    )
    capsys.readouterr()
    run("sft", recipe, "--output", sft, code=2)
    remedy = "multiples of 28, and this model reads multiples of 32; prepare the set again with"
    assert f"{remedy} --multiple-of 32" in " ".join(capsys.readouterr().err.split())

    run(*prepare, "--multiple-of", "32", "--overwrite")
    run("sft", recipe, "--output", sft, "--overwrite")
    recipe.write_text(
        f"model: {MODEL % (sft / 'model-for-rl')}\ndata: {DATA % studies}\n"
        "rollout: {group_size: 4, max_completion_tokens: 8}\nsteps: 1\nprompts_per_step: 2\n"
    )
    run("train", recipe, "--output", rl)
    assert [row["step"] for _, row in read_jsonl(rl / "metrics.jsonl")] == [1]
    predictions = tmp_path / "predictions.jsonl"
    run("generate", rl / "model", "--output", predictions, "--max-completion-tokens", "8")
    assert [row["study_id"] for _, row in read_jsonl(predictions)] == ["s3", "s7", "s11"]
