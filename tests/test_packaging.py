"""What is imported is declared, in the core or in the extra of the room that imports it; what
`make setup` installs is pinned within the bounds stated."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from editgrpo import extras
from editgrpo.extras import Extra, extra_of, modules_of
from tests.builders import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


EXTRAS = {
    name: [Requirement(text) for text in texts]
    for name, texts in PROJECT["optional-dependencies"].items()
}
# `make setup` installs none of them; `.ci/optional` does.
NOT_SET_UP = {"deepspeed", "8bit"}


def direct_dependencies() -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["dependencies"])
    for extra, requirements in EXTRAS.items():
        if extra not in NOT_SET_UP:
            yield from (one for one in requirements if one.name != PROJECT["name"])


def applies(requirement: Requirement, python: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"python_version": python, "extra": ""})


def pins(python: str) -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    chosen = [one for one in requirements if applies(one, python)]
    assert len({one.name for one in chosen}) == len(chosen)
    return {one.name.lower(): str(one.specifier).removeprefix("==") for one in chosen}


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("dependency", direct_dependencies(), ids=str)
def test_every_direct_dependency_is_pinned_within_its_bounds(
    dependency: Requirement, python: str
) -> None:
    if applies(dependency, python):
        assert pins(python)[dependency.name.lower()] in dependency.specifier


# What is imported -----------------------------------------------------------------------------

SOURCE = REPOSITORY / "src"
OURS = {"editgrpo", "experiments"}
installed = cache(packages_distributions)  # reads the lists of files of all that is installed
# Read by other libraries for us, and not imported by us.
NOT_IMPORTED = {"protobuf", "sentencepiece"}


def included(extra: str) -> set[str]:
    """Return the extras that come with one."""
    ours = [one for one in EXTRAS[extra] if one.name == PROJECT["name"]]
    return {name for one in ours for name in one.extras}


def declared(extra: str | None) -> set[str]:
    """Return the distributions of the core and of an extra, those that come with it included."""
    if extra is None:
        return {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    own = {canonicalize_name(one.name) for one in EXTRAS[extra] if one.name != PROJECT["name"]}
    return own.union(declared(None), *map(declared, included(extra)))


def distributions(module: str) -> set[str]:
    return {canonicalize_name(name) for name in installed().get(module, [module])}


def imports(tree: ast.Module, *, at_once: bool = False) -> set[str]:
    """Return the modules that a module imports, Python's own left out.

    With `at_once` only those that are imported with it: not those in functions, nor those for types
    alone.
    """
    found, rest = set(), list(ast.iter_child_nodes(tree))
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        if not (at_once and is_later):
            rest.extend(ast.iter_child_nodes(node))
    return {name for name in found if top(name) not in sys.stdlib_module_names}


def top(module: str) -> str:
    return module.partition(".")[0]


def undeclared(modules: Iterable[str], extra: str | None = None) -> set[str]:
    """Return the top-level packages among modules that no declared distribution brings."""
    names = {top(module) for module in modules} - OURS
    return {name for name in names if not distributions(name) & declared(extra)}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}


def loaded_with(module: str) -> set[str]:
    """Return the modules that are imported when one is, by what it imports too."""
    found: set[str] = set()
    rest = [module]
    while rest:
        name = rest.pop()
        if name in found:
            continue
        found.add(name)
        if name in TREES:
            rest.extend(imports(TREES[name], at_once=True))
            rest.extend([name.rpartition(".")[0]] if "." in name else [])
    return found


def test_imports_are_found_wherever_they_are() -> None:
    source = ast.parse("import os, a.b\nfrom . import c\ndef f():\n    from d.e import g\n")
    assert imports(source) == {"a.b", "d.e", "d.e.g"}
    assert imports(source, at_once=True) == {"a.b"}
    typed = ast.parse("if TYPE_CHECKING:\n    import a\ntry:\n    import b\nfinally:\n    pass")
    assert imports(typed, at_once=True) == {"b"}
    assert undeclared(["yaml", "PIL.Image", "numpy.linalg", "no_such"]) == {"PIL", "no_such"}
    assert undeclared(["yaml", "PIL.Image"], "data") == set()
    assert undeclared(["PIL.Image", "plotly", "torch"], "train") == {"plotly"}


def test_every_import_is_of_a_distribution_of_the_core_or_of_the_extra_of_its_room() -> None:
    # Another distribution brings it today, and may stop to: it would fail where somebody runs it.
    found = {name: undeclared(imports(tree), extra_of(name)) for name, tree in TREES.items()}
    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.slow
def test_a_module_loads_with_its_own_extra() -> None:
    found = {name: undeclared(loaded_with(name), extra_of(name)) for name in TREES}
    assert {name: modules for name, modules in found.items() if modules} == {}


def test_every_import_of_the_study_is_declared() -> None:
    paths = sorted((REPOSITORY / "experiments").rglob("*.py"))
    found = {
        path: undeclared(imports(ast.parse(path.read_text("utf-8"))), "bench") for path in paths
    }
    assert found
    assert {str(path): modules for path, modules in found.items() if modules} == {}


@pytest.mark.parametrize("extra", Extra)
def test_the_tables_of_extras_are_those_of_the_project(extra: Extra) -> None:
    listed = modules_of(extra).difference(*map(modules_of, map(Extra, included(extra))))
    own = {one for one in EXTRAS[extra] if one.name != PROJECT["name"]}
    # What is asked of TRL with vLLM is vLLM.
    wanted = {canonicalize_name(name) for one in own for name in one.extras or {one.name}}
    brought = {name for module in listed for name in distributions(module)}
    assert wanted - NOT_IMPORTED <= brought
    assert all(distributions(module) & wanted for module in listed)


def test_every_room_of_the_table_exists() -> None:
    assert {f"editgrpo.{room}" for room in extras._ROOMS} <= TREES.keys()
    assert {"editgrpo.edits.rules", "editgrpo.rewards", "editgrpo.adapters.trl"} <= {
        name for name in TREES if extra_of(name) is None
    }


def test_all_is_every_extra_that_needs_no_gpu() -> None:
    def closure(extra: str) -> set[str]:
        return {extra}.union(*map(closure, included(extra)))

    assert closure("all") - {"all"} == set(Extra) - {Extra.VLLM, Extra.DEEPSPEED, Extra.EIGHT_BIT}
    assert "all" in closure("dev")


# As `pip install 'editgrpo[train,clinical]'` or, in a checkout, '.[dev]' name them.
NAMED_EXTRAS = re.compile(r"""['"`](?:editgrpo|\.)\[([\w, -]+)\]['"`]""")
TEXTS = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "Makefile", "docs/**/*.md", "docs/**/*.ipynb")
    for path in REPOSITORY.glob(pattern)
] + [path for path in SOURCE.rglob("*") if path.suffix in (".py", ".yaml", ".md", ".j2", ".jinja")]


def test_every_extra_that_a_text_tells_to_install_exists() -> None:
    found = {
        (path.relative_to(REPOSITORY).as_posix(), name.strip())
        for path in TEXTS
        for names in NAMED_EXTRAS.findall(path.read_text("utf-8"))
        for name in names.split(",")
    }
    assert {("src/editgrpo/extras.py", "train"), ("docs/models.md", "clinical")} <= found
    assert sorted(one for one in found if one[1] not in EXTRAS) == []
