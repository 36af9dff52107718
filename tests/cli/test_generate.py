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

SFT = dump_config(SFTConfig(max_completion_tokens=96))
TRAIN = dump_config(TrainConfig(rollout=RolloutConfig(max_completion_tokens=48)))


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
        main(["generate", str(tmp_path / "model"), "--output", str(tmp_path / "p.jsonl"), *words])
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
    words = ["generate", str(tmp_path / "out"), "--output", str(tmp_path / "p.jsonl")]
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
        main(["pairs", str(tmp_path / "out"), "--output", str(tmp_path / "p.parquet")])
    data, config = asked
    assert (data.max_images, config.max_completion_tokens) == (3, 33)
    assert data.prompt_template == str(tmp_path / "out" / "prompt.jinja")
