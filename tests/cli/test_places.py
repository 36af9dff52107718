"""Wrong paths are told before anything slow is imported, and nothing is written."""

import subprocess
import sys
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.cli.places import check_places
from editgrpo.config import ClinicalConfig, DataConfig, TrainConfig
from editgrpo.errors import DataError

_SLOW = ("torch", "transformers", "trl", "pyarrow", "nltk")
_SCRIPT = f"""
import sys
from editgrpo.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*(name for name in {_SLOW!r} if name in sys.modules))
"""


@pytest.mark.slow
def test_a_wrong_folder_of_studies_is_told_before_anything_slow_is_imported(tmp_path: Path) -> None:
    words = ["train", "editgrpo-rules", "--set", "data.folder=nowhere", "--output", "run"]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout.split() == []
    assert done.stderr == (
        "error: data.folder: no folder nowhere; write it with `editgrpo prepare`, or --set "
        "data.folder=FOLDER\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sft sft-mimic-cxr", "train editgrpo-rules"])
@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("clinical.store", "clinical.store: no folder nowhere; write it with `editgrpo annotate`"),
        ("data.prompt_template", "data.prompt_template: no file nowhere; give the right path"),
        ("reward.class_rates", "reward.class_rates: no file nowhere; give the right path"),
        ("clinical.crimson_prompt", "clinical.crimson_prompt: no file nowhere; give the right"),
        ("reward.custom", "reward.custom is 'nowhere'; it must be module:function"),
        ("seed", "studies: holds no prepared.json; give a folder written by `editgrpo prepare`"),
    ],
)
def test_each_path_is_looked_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    setting: str,
    shown: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    value = "1" if setting == "seed" else "nowhere"
    settings = ["data.folder=studies", "clinical.store=null", f"{setting}={value}"]
    words = [word for one in settings for word in ("--set", one)]
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), *words, "--output", "run"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {shown}")
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]


def test_a_store_that_is_to_be_written_need_not_be_there(tmp_path: Path) -> None:
    clinical = ClinicalConfig(store=str(tmp_path / "new"), store_writes=True)
    config = TrainConfig(data=DataConfig(folder=str(tmp_path)), clinical=clinical)
    with pytest.raises(DataError, match=r"holds no prepared\.json"):
        check_places(config)
