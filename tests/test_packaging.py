"""What is imported is declared; what `make setup` installs is pinned within the bounds stated."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.builders import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct_dependencies() -> Iterator[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            yield requirement


def applies(requirement: Requirement, python: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"python_version": python, "extra": ""})


def pins(python: str) -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    chosen = [one for one in requirements if applies(one, python)]
    assert len({one.name for one in chosen}) == len(chosen)
    return {one.name.lower(): str(one.specifier).removeprefix("==") for one in chosen}


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("dependency", direct_dependencies(), ids=str)
def test_every_direct_dependency_is_pinned_within_its_bounds(
    dependency: Requirement, python: str
) -> None:
    if applies(dependency, python):
        assert pins(python)[dependency.name.lower()] in dependency.specifier


# What is imported -----------------------------------------------------------------------------

OURS = {"editgrpo", "experiments"}
DISTRIBUTIONS = packages_distributions()
# Which extra the modules of a folder may ask for, besides what `pip install editgrpo` brings.
EXTRA_OF_FOLDER = {"src": None, "experiments": "bench"}


def declared(extra: str | None) -> set[str]:
    texts = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(extra, ())]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def imported(source: str) -> set[str]:
    """Return the top-level packages that a module imports, wherever in it, but for Python's own."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - OURS


def undeclared(source: str, extra: str | None = None) -> set[str]:
    """Return what a module imports that no declared distribution brings."""
    return {
        name
        for name in imported(source)
        if not {canonicalize_name(one) for one in DISTRIBUTIONS.get(name, [name])} & declared(extra)
    }


def test_imports_are_found_wherever_they_are() -> None:
    source = "import os, a.b\nfrom . import c\ndef f():\n    from d.e import g\n"
    assert imported(source) == {"a", "d"}
    assert undeclared("import yaml, PIL, numpy.linalg\nimport pluggy, no_such") == {
        "pluggy",
        "no_such",
    }
    assert undeclared("import matplotlib") == {"matplotlib"}
    assert undeclared("import matplotlib", "bench") == set()


@pytest.mark.parametrize("folder", EXTRA_OF_FOLDER)
def test_every_import_is_of_a_declared_distribution(folder: str) -> None:
    # Another distribution brings it today, and may stop to: it would fail where somebody runs it.
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    found = {
        str(path): undeclared(path.read_text("utf-8"), EXTRA_OF_FOLDER[folder]) for path in paths
    }
    assert found
    assert {path: names for path, names in found.items() if names} == {}
