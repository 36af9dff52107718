"""The wheel holds what the package reads and nothing else, and runs where the repository is not."""

import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest

from editgrpo import __version__
from editgrpo.recipes.published_files import published_files
from tests.builders import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("hatchling") is None,
        reason="hatchling, which builds the wheel, is not installed; run make setup",
    ),
]

PACKAGE = "editgrpo"
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without a package index, in a copy of what it is made of."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in (".gitignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "src", source / "src", ignore=ignore)
    (source / "tests").mkdir()  # stays out
    (source / "tests" / "__init__.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(built), str(source)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{PACKAGE}-{__version__}.dist-info/METADATA").decode()
    return Parser().parsestr(text)


def test_every_file_of_the_package_is_in_the_wheel_and_no_other(names: set[str]) -> None:
    source = REPOSITORY / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    in_package = {name for name in names if PurePosixPath(name).parts[0] == PACKAGE}
    assert in_package == wanted
    assert {PurePosixPath(name).parts[0] for name in names - in_package} == {
        f"{PACKAGE}-{__version__}.dist-info"
    }


def test_what_is_read_at_run_time_is_in_the_wheel(names: set[str]) -> None:
    inside = {name.removeprefix(f"{PACKAGE}/") for name in names}
    recipes = {f"recipes/published/{one.reader.value}/{one.path.name}" for one in published_files()}
    assert recipes <= inside
    for ending, count in (("demo/base/model.safetensors", 1), (".ttf", 2), ("py.typed", 1)):
        assert sum(name.endswith(ending) for name in inside) == count, ending
    assert {
        "demo/recipes/sft.yaml",
        "reports/ontology.yaml",
        "data/overview/fonts/LICENSE.txt",
    } <= (inside)
    assert not [name for name in inside if "test" in PurePosixPath(name).parts[0]]


def test_the_metadata_says_what_the_project_says(metadata: Message, names: set[str]) -> None:
    assert metadata["Name"] == PACKAGE
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    urls = dict(str(text).split(", ", 1) for text in metadata.get_all("Project-URL", []))
    assert urls["Paper"] == "https://arxiv.org/abs/2509.22812"
    licenses = {
        f"{PACKAGE}-{__version__}.dist-info/licenses/{one}"
        for one in metadata.get_all("License-File", [])
    }
    assert len(licenses) == 2
    assert licenses <= names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a folder of its own; what it needs is in this environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return folder


def run(installed: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=installed.parent,  # no source and no recipes here
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_wheel_runs(installed: Path) -> None:
    where = run(installed, sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)")
    assert Path(where.strip()).parent == installed / PACKAGE
    program = str(installed / "bin" / PACKAGE)
    assert run(installed, program, "--version") == f"{PACKAGE} {__version__}\n"
    listed = run(installed, program, "recipes", "list")
    assert [line.split()[0] for line in listed.splitlines()] == [
        one.name for one in published_files()
    ]
    assert "level: none" in run(installed, program, "train", "dr-grpo", "--dry-run")
    assert "--quick" in run(installed, program, "demo", "--help")
