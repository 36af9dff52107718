"""A missing extra is one line that names it; the core runs without any."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from editgrpo import extras
from editgrpo.config import ClinicalConfig
from editgrpo.errors import MissingExtraError
from editgrpo.extras import (
    Extra,
    extra_of,
    modules_of,
    naming_missing_extras,
    require_extras,
)
from editgrpo.reports import load_annotator, load_labeler


def test_the_longest_name_of_a_room_decides() -> None:
    assert extra_of("editgrpo.data.study") is Extra.DATA
    assert extra_of("editgrpo.data.pixels.dicom") is Extra.DICOM
    assert extra_of("editgrpo.training.step.groups") is Extra.TRAIN
    assert extra_of("editgrpo.edits.rules") is None
    assert extra_of("editgrpo") is None


def test_an_extra_brings_those_in_it() -> None:
    assert modules_of(Extra.REPORT) == {"PIL", "jinja2", "pyarrow", "markupsafe", "plotly"}
    assert modules_of(Extra.DEMO) == modules_of(Extra.TRAIN) | modules_of(Extra.REPORT)


def test_what_is_installed_is_not_asked_for() -> None:
    require_extras(Extra.DEMO, Extra.CLINICAL, Extra.DICOM)
    assert "bitsandbytes" not in sys.modules


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"PIL", "jinja2", "plotly", "spacy"}
    monkeypatch.setattr(extras, "_is_absent", lambda module: module in gone)
    with pytest.raises(MissingExtraError) as caught:
        require_extras(Extra.CLINICAL, Extra.REPORT, Extra.TRACKERS, what="the page")
    assert str(caught.value) == (
        "the page needs PIL, jinja2, plotly, ...; pip install 'editgrpo[clinical,report]'"
    )


@pytest.mark.parametrize("load", [load_annotator, load_labeler], ids=["annotator", "labeler"])
def test_loading_a_model_asks_for_what_runs_it(
    load: Callable[[str, ClinicalConfig], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ClinicalConfig(models="nowhere, for this test alone")
    monkeypatch.setattr(extras, "_is_absent", lambda module: module == "torch")
    load("rules", config)
    name = "rate" if load is load_annotator else "chexbert"
    with pytest.raises(MissingExtraError, match=r"needs torch; pip install 'editgrpo\[clinical\]'"):
        load(name, config)


def test_a_module_that_is_loaded_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", object())
    require_extras(Extra.EIGHT_BIT)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("editgrpo.training.train", "trl", "train"),
        ("editgrpo.display.html.assets", "plotly", "report"),
        ("editgrpo.reports.rate.sentences", "spacy", "clinical"),
    ],
)
def test_an_import_that_fails_names_the_extra_of_its_room(
    module: str, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # Python's way to say that it is not there
    with (
        pytest.raises(MissingExtraError, match=rf"this needs {missing}; .*\[{extra}\]"),
        naming_missing_extras(),
    ):
        exec(f"import {missing}", {"__name__": module})


@pytest.mark.parametrize("module", ["editgrpo.edits.rules", "editgrpo.display.html", "trl.trainer"])
def test_an_import_that_no_extra_brings_is_a_bug(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(ModuleNotFoundError) as caught, naming_missing_extras():
        exec("import trl", {"__name__": module})
    assert not isinstance(caught.value, MissingExtraError)


CORE = """
import sys
from importlib.machinery import PathFinder
from editgrpo import extras

ABSENT = {module for extra in extras.Extra for module in extras.modules_of(extra)}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in ABSENT
        return None if absent else PathFinder.find_spec(name, path, target)

sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""
EVERY_CORE_MODULE = """
import importlib, pkgutil
import editgrpo
names = [found.name for found in pkgutil.walk_packages(editgrpo.__path__, "editgrpo.")
         if extras.extra_of(found.name) is None and not found.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
assert "editgrpo.adapters.trl" in names and not ABSENT & set(sys.modules)
"""
COMMAND = """
from editgrpo.cli import main
main(sys.argv[1:])
"""


def run_core(code: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code as if nothing but the core were installed."""
    command = [sys.executable, "-c", CORE + code, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.slow
def test_every_module_of_the_core_loads_without_any_extra(tmp_path: Path) -> None:
    assert run_core(EVERY_CORE_MODULE, folder=tmp_path).stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        ("score reports.jsonl --metrics rules,text --samples 50 --output a.csv", 0, "a.csv"),
        ("evaluate reports.jsonl --metrics rules --samples 50 --output folder", 0, "folder"),
        ("score --list", 0, "entity_f1/partial@rules"),
        ("edit --rollout Normal. --reference Cardiomegaly.", 0, "+ Cardiomegaly."),
        ("recipes show dr-grpo", 0, "level: none"),
        ("train editgrpo-mimic-cxr --dry-run", 0, "level: sentence"),
        ("models list", 0, "radgraph-xl"),
        ("train editgrpo-rules", 2, "pip install 'editgrpo[train]'"),
        ("train editgrpo-mimic-cxr", 2, "pip install 'editgrpo[train,clinical]'"),
        ("prepare phantom --output a", 2, "pip install 'editgrpo[data]'"),
    ],
)
def test_the_core_runs_without_any_extra(words: str, code: int, shown: str, tmp_path: Path) -> None:
    row = '{"study_id": "1", "prediction": "No effusion.", "reference": "Small effusion."}'
    (tmp_path / "reports.jsonl").write_text(row + "\n", encoding="utf-8")
    done = run_core(COMMAND, *words.split(), folder=tmp_path)
    assert done.returncode == code, done.stderr
    assert shown in (done.stderr if code else done.stdout)
    if code:
        assert len(done.stderr.splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["reports.jsonl"]
