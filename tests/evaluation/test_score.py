"""Scoring a file: the values of the reward, and taking up a run that was stopped."""

import json
from pathlib import Path

import pytest

from editgrpo.errors import ConfigError
from editgrpo.evaluation import score as score_module
from editgrpo.evaluation.predictions import write_predictions
from editgrpo.evaluation.score import score_file
from editgrpo.rewards import load_reward
from tests.evaluation.builders import predictions

TEXTS = ["Small effusion.", "The lungs are clear.", "Rib fracture.", "", "The heart is enlarged."]
PAIRS = [(text, "Small effusion. The lungs are clear.") for text in TEXTS]


class StopError(Exception):
    """Stands for a kill."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(score_module, "BATCH", 2)
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, predictions(PAIRS))
    return path


def stop_after(studies: int, path: Path, output: Path, **options: object) -> None:
    def progress(done: int, whole: int) -> None:
        if done >= studies:
            raise StopError

    with pytest.raises(StopError):
        score_file(path, output=output, progress=progress, **options)  # type: ignore[arg-type]


def scored_from(path: Path, output: Path, **options: object) -> list[int]:
    done: list[int] = []
    score_file(path, output=output, progress=lambda k, _: done.append(k), **options)  # type: ignore[arg-type]
    return done


def test_values_are_the_rewards(path: Path, tmp_path: Path) -> None:
    rows = score_file(path, output=tmp_path / "scores.jsonl")
    expected = load_reward("rules").score(*map(list, zip(*PAIRS, strict=True)))
    assert [row["reward/total@rules"] for row in rows] == expected.total.tolist()
    for name, values in expected.components.items():
        assert [row[name] for row in rows] == values.tolist()
    written = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == rows
    assert [row["study_id"] for row in rows] == ["s000", "s001", "s002", "s003", "s004"]


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight.jsonl", tmp_path / "resumed.jsonl"
    score_file(path, output=straight)
    stop_after(4, path, resumed)
    assert not resumed.exists()
    assert scored_from(path, resumed) == [5]
    assert resumed.read_bytes() == straight.read_bytes()
    assert sorted(one.name for one in tmp_path.glob(".*")) == []


def test_a_line_cut_off_by_a_kill_is_scored_again(path: Path, tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight.jsonl", tmp_path / "resumed.jsonl"
    score_file(path, output=straight)
    stop_after(4, path, resumed)
    partial = tmp_path / ".resumed.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-20])
    assert scored_from(path, resumed) == [5]  # from study 3: one batch of two
    assert resumed.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("change", ["weights", "predictions"])
def test_another_run_does_not_take_up_the_rest(path: Path, tmp_path: Path, change: str) -> None:
    output = tmp_path / "scores.jsonl"
    stop_after(4, path, output)
    options: dict[str, object] = {}
    if change == "weights":
        options["weights"] = {"entity_similarity@rules": 0.0}
    else:
        write_predictions(path, predictions([("x", "Small effusion."), *PAIRS[1:]]))
    assert scored_from(path, output, **options) == [2, 4, 5]


def test_an_unknown_component_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="component 'radgraph' is unknown"):
        score_file(path, output=tmp_path / "out" / "s.jsonl", weights={"radgraph": 1.0})
    assert not (tmp_path / "out").exists()
