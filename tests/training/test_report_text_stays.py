"""A run writes reports where it says that it does, for its owner alone, and nowhere else."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from editgrpo.training.train import run_training
from tests.builders import write_set
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow

WORDS = ("canary", "linnet")
CANARY = "The canary sings, the linnet rests."
HOLD_TEXT = ("rollouts.jsonl", "annotations/annotations.sqlite")


@pytest.fixture(scope="module")
def spoken(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny model, and its studies with the sentence in every section."""
    folder = tmp_path_factory.mktemp("spoken") / "studies"
    studies = StudySet.load(tiny.studies)
    films = {image_id: studies.images.load(image_id) for image_id in studies.images}
    changed = [
        replace(
            study,
            indication=CANARY,
            technique=CANARY,
            comparison=CANARY,
            findings=f"{study.findings} {CANARY}",
            impression=CANARY,
        )
        for study in studies
    ]
    return Tiny(tiny.checkpoint, write_set(folder, changed, films))


def test_a_run_keeps_reports_to_its_owner_and_out_of_its_numbers(
    spoken: Tiny,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tmp_path / "run"
    before = os.umask(0o022)
    try:
        run_training(spoken.train_config(run, steps=1, save_every=1))
        predictions = tmp_path / "predictions.jsonl"
        words = ["generate", str(run / "model"), "--output", str(predictions), "--limit", "2"]
        with pytest.raises(SystemExit) as stop:
            main([*words, "--split", "train", "--max-completion-tokens", "8"])
        assert stop.value.code == 0
    finally:
        os.umask(before)
    said = capfd.readouterr()
    for text in (said.out, said.err, caplog.text):
        assert not any(word in text.lower() for word in WORDS)
    assert "canary" in (run / "rollouts.jsonl").read_text()
    for path in run.rglob("*"):
        inside = path.relative_to(run).as_posix()
        if not path.is_file() or inside.split("/")[0] in ("model", "checkpoints"):
            continue
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, inside
        if inside not in HOLD_TEXT:
            assert not any(word.encode() in path.read_bytes() for word in WORDS), inside
    assert predictions.is_file() and stat.S_IMODE(predictions.stat().st_mode) == 0o600
    # What is served and shared follows the umask.
    assert stat.S_IMODE((run / "model" / "README.md").stat().st_mode) == 0o644
