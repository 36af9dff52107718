"""Small models with random weights, in the files and with the keys of published ones."""

import json
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.errors import ConfigError
from editgrpo.files import read_jsonl
from editgrpo.phantom import Site, write_phantom
from editgrpo.training.policy.families import family_types
from editgrpo.training.tiny_models import TINY_FAMILIES, multiple_of, write_tiny_model


def test_there_is_one_of_each_family() -> None:
    assert sorted(TINY_FAMILIES) == family_types()
    with pytest.raises(ConfigError, match="no small model of family 'llava'; take one of qwen2_5"):
        write_tiny_model(Path("nowhere"), "llava")
    assert not Path("nowhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_a_run_starts_from_the_small_model_of_a_family(family: str, tmp_path: Path) -> None:
    """By the commands that a newcomer types; what comes of them is a model that can be read."""

    def run(*words: str | Path) -> None:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        assert stop.value.code == 0

    model, studies = tmp_path / "model", tmp_path / "studies"
    run("models", "tiny", model, "--family", family)
    assert json.loads((model / "config.json").read_text())["model_type"] == family
    side = 2 * multiple_of(family)
    write_phantom(
        studies, studies=4, site=Site.A, seed=0, size_px=side, workers=1, split_shares=(1, 0, 0)
    )
    settings = (
        f"model.path={model}",
        f"data.folder={studies}",
        "model.dtype=float32",
        "rollout.group_size=2",
        "rollout.max_completion_tokens=4",
        "prompts_per_step=2",
        "steps=1",
        "save_every=1",
        f"output={tmp_path / 'run'}",
    )
    run("train", "editgrpo-rules", *(word for one in settings for word in ("--set", one)))
    (row,) = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl")]
    assert row["step"] == 1
    saved = json.loads((tmp_path / "run/model/config.json").read_text())
    assert saved["model_type"] == family
