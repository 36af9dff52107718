"""Pages are read on GitHub and on the site, whose Markdown asks for more space than GitHub's."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from editgrpo.config import ClinicalConfig
from tests.builders import REPOSITORY

PAGES = sorted([*(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*.md")])
ITEM = re.compile(r"(?:[-*]|\d+\.) ")


def read_otherwise(page: Path) -> list[str]:
    """Return what the site would not show as GitHub does, with line numbers."""
    found, is_code, before = [], False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        text, above = line.lstrip(), before.lstrip()
        indent = len(line) - len(text)
        is_code ^= text.startswith("```")
        is_table = text.startswith("|")
        is_paragraph = bool(above) and not before.startswith(" ") and not ITEM.match(above)
        after_table = above.startswith("|")
        if is_code:
            pass
        elif ITEM.match(text) and (is_paragraph or after_table):
            found.append(f"line {number}: a list needs an empty line before it")
        elif is_table and above and not after_table:
            found.append(f"line {number}: a table needs an empty line before it")
        elif (is_table or ITEM.match(text)) and indent % 4:
            found.append(f"line {number}: inside a list, indent by four spaces")
        before = line
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_reads_alike_on_github_and_on_the_site(page: Path) -> None:
    assert read_otherwise(page) == []


def test_the_page_on_protected_data_names_every_server_that_gets_reports() -> None:
    servers = [one.name for one in fields(ClinicalConfig) if one.name.endswith("_endpoint")]
    assert "green_endpoint" in servers
    page = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    assert [name for name in servers if f"`clinical.{name}`" not in page] == []


def test_what_reads_otherwise_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text:\n- one\n\n- two\n  - three\n\nText\n| a |\n|---|\n1. four\n```\nText\n- code\n```\n"
    )
    assert [line.split(":")[0] for line in read_otherwise(page)] == [
        "line 2",
        "line 5",
        "line 8",
        "line 10",
    ]
