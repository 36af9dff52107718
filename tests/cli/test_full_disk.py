"""A disk that is full is one line that names the file, in every command that writes one.

A limit on the size of files stands for it, which needs no disk of its own: a write beyond it fails
in the same places, with EFBIG in place of ENOSPC.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from editgrpo.config import SFTConfig
from editgrpo.phantom import Site, write_phantom
from editgrpo.recipes import dump_config
from tests.training.conftest import tiny
from tests.training.tiny_run import Tiny

__all__ = ["tiny"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit"),
]

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from editgrpo.cli import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whatever the commands read: studies, a table of images, predictions, a run."""
    folder = tmp_path_factory.mktemp("full")
    write_phantom(folder / "set", studies=8, site=Site.A, seed=0, size_px=56, workers=1)
    rows = [
        {"study_id": str(n), "prediction": "No pneumothorax.", "reference": "No pneumothorax."}
        for n in range(40)
    ]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = folder / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    from PIL import Image

    Image.effect_noise((224, 224), 60).save(folder / "film.png")
    (folder / "t.csv").write_text("study_id,image,findings\n1,film.png,No pneumothorax.\n")
    return folder


AGAIN = "give the same command again"
RESUME = "--resume"
FOLDER = "prepare folder t.csv --column study_id=study_id --column image=image --column "


@pytest.mark.parametrize(
    ("words", "named", "advice"),
    [
        ("prepare phantom --output full --studies 4 --size-px 112", "full", AGAIN),
        (FOLDER + "findings=findings --output full", "full", RESUME),
        ("score p.jsonl --output full.jsonl", "full", AGAIN),
        ("score p.jsonl --output full.csv", "full", AGAIN),
        ("evaluate p.jsonl --output full", "full", AGAIN),
        ("report run --output full.html", "full.html", AGAIN),
        ("data stats set --json full.json", "full.json", AGAIN),
        ("data stats set --csv full.csv", "full.csv", AGAIN),
        ("data stats set --html full.html", "full.html", AGAIN),
        ("data show set {study} --output full.png", "full.png", AGAIN),
        ("data check set --json full.json", "full.json", AGAIN),
        ("demo --output full --quick", "full", AGAIN),
    ],
)
def test_a_full_disk_is_one_line(place: Path, words: str, named: str, advice: str) -> None:
    for path in place.glob("*full*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    study = json.loads((place / "set/phantom_findings.jsonl").read_text().splitlines()[0])
    words = words.format(study=study["study_id"])
    command = [sys.executable, "-c", LIMITED, "20", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert named in line.partition("error: ")[2].split(": ")[0], line
    assert "File too large" in line and "ulimit -f" in line, line
    assert line.rstrip().endswith(advice), line
    assert not [path for path in place.iterdir() if path.suffix in (".lock", ".partial")]


@pytest.mark.parametrize("lora", ["", "--set model.lora={}"])
@pytest.mark.parametrize("kind", ["train", "sft"])
def test_a_checkpoint_without_room_is_one_line(
    tiny: Tiny, tmp_path: Path, kind: str, lora: str
) -> None:
    """What PyTorch and safetensors raise says neither which file nor, of PyTorch, why."""
    config: Any = tiny.train_config(tmp_path / "run")
    if kind == "sft":
        config = SFTConfig(
            model=tiny.model(),
            data=tiny.data(validation_limit=2),
            max_steps=1,
            batch_size=4,
            max_completion_tokens=4,
            output=str(tmp_path / "run"),
        )
    (tmp_path / "r.yaml").write_text(dump_config(config), encoding="utf-8")
    command = [sys.executable, "-c", LIMITED, "40000", kind, "r.yaml", *lora.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert "run/checkpoints/checkpoint-" in line and line.endswith("continue with --resume")
