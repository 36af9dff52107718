"""The commands in the order of a first day: data, SFT, EditGRPO, predictions, scores, page."""

import json
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from editgrpo.files import read_jsonl
from editgrpo.training.policy.tiny import TinyModelConfig, write_tiny_checkpoint

MODEL = "{dtype: float32, freeze_vision_tower: false, gradient_checkpointing: false, path: %s}"
DATA = "{max_images: 2, folder: %s}"


def run(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 0, words


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
    run("report", sft, rl, "--output", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
