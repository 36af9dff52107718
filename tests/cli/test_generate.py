"""`editgrpo generate` writes reports as long as the run's, unless told otherwise."""

from pathlib import Path
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.config import RolloutConfig, SFTConfig, TrainConfig
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.files import write_jsonl
from editgrpo.recipes import dump_config
from editgrpo.sharing.serving import PromptSettings
from tests.builders import write_model_config

SFT = dump_config(SFTConfig(max_completion_tokens=96))
TRAIN = dump_config(TrainConfig(rollout=RolloutConfig(max_completion_tokens=48)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "words", "limit"),
    [
        (SFT, [], 96),
        (TRAIN, [], 48),
        (TRAIN, ["--max-completion-tokens", "20"], 20),
        (None, [], 256),
    ],
)
def test_the_length_limit_is_that_of_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str | None,
    words: list[str],
    limit: int,
) -> None:
    if config is not None:
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    asked: list[Any] = []

    def generate(*, output: Path, config: Any, **_: Any) -> Path:
        asked.append(config)
        write_jsonl(output, ({"truncated": number < 2} for number in range(5)))
        return output

    monkeypatch.setattr("editgrpo.training.generate.generate_predictions", generate)
    with pytest.raises(SystemExit) as stop:
        places = ["--studies", str(tmp_path), "--output", str(tmp_path / "p.jsonl")]
        main(["generate", str(write_model_config(tmp_path / "model")), *places, *words])
    assert stop.value.code == 0
    assert asked[0].max_completion_tokens == limit
    shown = capsys.readouterr().out
    assert f"Reports that reached the limit of {limit} tokens: 2 of 5\n" in shown


def test_an_export_says_how_prompts_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = PixelBudget(min_pixels=784, max_pixels=784)
    PromptSettings(budget=budget, max_images=3, max_completion_tokens=33).write(tmp_path / "out")
    asked: dict[str, Any] = {}

    def generate(**keywords: Any) -> None:
        asked.update(keywords)
        write_jsonl(keywords["output"], [{"truncated": False}])

    monkeypatch.setattr("editgrpo.training.generate.generate_predictions", generate)
    places = ["--studies", str(tmp_path), "--output", str(tmp_path / "p.jsonl")]
    words = ["generate", str(write_model_config(tmp_path / "out")), *places]
    with pytest.raises(SystemExit):
        main([*words, "--set", "data.max_images=2"])
    assert asked["config"].max_completion_tokens == 33
    assert asked["data"].prompt_template == str(tmp_path / "out" / "prompt.jinja")
    assert asked["data"].max_images == 2  # what is said wins


def test_pairs_of_an_export_are_sampled_with_its_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = PixelBudget(min_pixels=784, max_pixels=784)
    PromptSettings(budget=budget, max_images=3, max_completion_tokens=33).write(tmp_path / "out")
    asked: list[Any] = []

    def sample(model: str, data: Any, split: Any, partial: Any, config: Any, **_: Any) -> list[Any]:
        asked.extend([data, config])
        return []

    monkeypatch.setattr("editgrpo.training.pairs.sampled_pairs", sample)
    with pytest.raises(SystemExit):
        places = ["--studies", str(tmp_path), "--output", str(tmp_path / "p.parquet")]
        main(["pairs", str(write_model_config(tmp_path / "out")), *places])
    data, config = asked
    assert (data.max_images, config.max_completion_tokens) == (3, 33)
    assert data.prompt_template == str(tmp_path / "out" / "prompt.jinja")


@pytest.mark.parametrize("command", ["generate", "pairs"])
@pytest.mark.parametrize(
    ("config", "words", "fault"),
    [
        (None, [], "--studies is missing: MODEL is no model of a run, which would say where its"),
        (SFT, [], "--studies: no folder studies; give the prepared folder"),
        (None, ["--studies", "nowhere"], "--studies: no folder nowhere; give the prepared folder"),
    ],
)
def test_studies_that_are_not_there_are_asked_for_by_the_option_that_gives_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    config: str | None,
    words: list[str],
    fault: str,
) -> None:
    """The default is a folder of the working directory, which nobody has named."""
    monkeypatch.chdir(tmp_path)
    write_model_config(Path("MODEL"))
    if config is not None:
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main([command, "MODEL", "--output", "out.jsonl", *words])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {fault}")


@pytest.mark.parametrize("command", ["generate", "pairs"])
@pytest.mark.parametrize("words", [[], ["--studies", "."]])
def test_a_model_that_is_not_there_is_told_before_its_studies(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([command, str(tmp_path / "modle"), "--output", "out.jsonl", *words])
    assert stop.value.code == 2
    assert "modle' is no folder; give a model folder" in capsys.readouterr().err
