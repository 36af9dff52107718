"""What a release says of itself is the same everywhere: version, date, paper, licence, actions."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from editgrpo import __version__
from tests.builders import REPOSITORY

CITATION = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
GITHUB = REPOSITORY / ".github"


def test_version_and_date_are_those_of_the_newest_release_in_the_changelog() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changelog, flags=re.MULTILINE)
    released = [heading.split(" · ") for heading in headings if heading != "Unreleased"]
    assert released[0] == [__version__, str(CITATION["date-released"])]
    assert CITATION["version"] == __version__ == str(Version(__version__))
    versions = [Version(version) for version, _ in released]
    assert versions == sorted(set(versions), reverse=True)


def test_the_citation_names_the_paper() -> None:
    # https://aclanthology.org/2025.ijcnlp-short.26
    paper = CITATION["preferred-citation"]
    assert (paper["start"], paper["end"], paper["year"]) == (304, 316, 2025)
    assert [author["family-names"] for author in paper["authors"]] == [
        "Zhang",
        "Malon",
        "Sun",
        "Min",
    ]
    assert {"type": "other", "value": "arXiv:2509.22812", "description": "Preprint"} in (
        paper["identifiers"]
    )
    # What the schema of the format, version 1.2.0, requires.
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION)
    assert {"type", "title", "authors"} <= set(paper)
    assert CITATION["license"] == "Apache-2.0"


def uses(value: Any) -> list[str]:
    """Return every `uses` of a workflow, wherever in it."""
    if isinstance(value, list):
        return [found for item in value for found in uses(item)]
    if not isinstance(value, dict):
        return []
    here = [value["uses"]] if isinstance(value.get("uses"), str) else []
    return here + [found for item in value.values() for found in uses(item)]


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("workflows/*.y*ml")), ids=lambda p: p.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    found = uses(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert found
    # A tag of somebody else's can be moved to other code.
    assert [one for one in found if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_an_issue_form_has_what_the_page_shows(name: str) -> None:
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 0
    assert all(field["attributes"] for field in form["body"])


def test_what_the_security_page_names_is_there() -> None:
    page = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", page):
        assert (REPOSITORY / target).is_file(), target
