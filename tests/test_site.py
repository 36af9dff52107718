"""The site: it builds strictly, a link to nothing fails it, and reading it fetches nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import REPOSITORY

pytestmark = pytest.mark.slow

pytest.importorskip(
    "mkdocs", reason="mkdocs, which builds the site, is not installed; run make setup"
)
TOOLING = REPOSITORY / "docs" / "tooling"


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_site_builds_strictly_and_its_pages_fetch_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    result = build(REPOSITORY, tmp_path)
    assert result.returncode == 0, result.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert {"index.html", "reference/edits.html", "repository/RESULTS.html"} <= {
        page.relative_to(tmp_path).as_posix() for page in pages
    }
    fetched = (
        r"<(?:script|img|iframe)[^>]* src=\"?https?:|<link[^>]* href=\"?https?:[^>]*stylesheet"
    )
    # The report is a page of its own that has all it needs inside, and tests of its own.
    own = [page for page in pages if page.name != "report.html" or page.parent == tmp_path]
    assert [page for page in own if re.search(fetched, page.read_text("utf-8"))] == []


@pytest.fixture
def small_site(tmp_path: Path) -> Path:
    """Make a repository of two pages with the site's settings."""
    settings = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(
        settings[: settings.index("\nnav:")] + "\nnav: [index.md]\n", encoding="utf-8"
    )
    shutil.copytree(TOOLING, tmp_path / "docs" / "tooling")
    for name in ("README", "RESULTS", "CONTRIBUTING", "CHANGELOG", "SECURITY"):
        (tmp_path / f"{name}.md").write_text("# A page\n\n## A heading\n", encoding="utf-8")
    (tmp_path / "code.py").write_text("x = 1\n", encoding="utf-8")
    return tmp_path


def test_links_out_of_docs_lead_to_pages_of_the_site(small_site: Path) -> None:
    (small_site / "docs" / "index.md").write_text(
        "# Home\n\n[a](../RESULTS.md#a-heading) [b](../code.py) `[c](../nothing.md)`\n\n"
        "<!-- the demo's report -->\n",
        encoding="utf-8",
    )
    (small_site / "demo").mkdir()
    (small_site / "demo" / "report.html").write_text("as it was written", encoding="utf-8")
    result = build(small_site, small_site / "site")
    assert result.returncode == 0, result.stderr
    home = (small_site / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="repository/RESULTS.html#a-heading"' in home
    assert 'href="repository/code.py.html"' in home
    assert "[c](../nothing.md)" in home  # code stays as it is
    assert 'href="repository/demo/report.html"' in home
    report = small_site / "site" / "repository" / "demo" / "report.html"
    assert report.read_text(encoding="utf-8") == "as it was written"
    assert "x = 1" in re.sub(
        "<[^>]+>", "", (small_site / "site" / "repository" / "code.py.html").read_text("utf-8")
    )


def test_whatever_leads_to_nothing_fails_the_build(small_site: Path) -> None:
    (small_site / "docs" / "index.md").write_text(
        "# Home\n\n[a](../A.md) [b](b.md) [c](../RESULTS.md#c-anchor) [d](#d-anchor)\n",
        encoding="utf-8",
    )
    (small_site / "docs" / "e.md").write_text("# In no menu\n", encoding="utf-8")
    result = build(small_site, small_site / "site")
    assert result.returncode != 0
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    for faulty in ("A.md", "b.md", "c-anchor", "d-anchor"):
        assert len([line for line in warnings if faulty in line]) == 1, faulty
    assert "  - e.md" in result.stderr
    assert len(warnings) == 5  # no page says something else
