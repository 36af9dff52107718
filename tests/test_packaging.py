"""What `make setup` installs is pinned, within the bounds that the package states."""

import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

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
