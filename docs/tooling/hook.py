"""What MkDocs does not know of this repository: links out of docs/, notebooks, the demo's report.

The pages of docs/ are read on GitHub, too, where `../RESULTS.md` or `../src/editgrpo/...` leads to
a file of the repository. Here each file that a page links to becomes a page or a file of the site,
below `repository/`, and the link is turned to it. A link that leads to nothing stays as it was, so
that MkDocs reports it and the strict build fails.
"""

import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import as_markdown, read

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = "repository"
"""Where files from outside docs/ are on the site."""

ALWAYS = ("README.md", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Files of the repository that are on the site whether or not a page links to them."""

LANGUAGES = {".py": "python", ".yaml": "yaml", ".cff": "yaml", ".toml": "toml"}
"""Source files that are shown as a page; all others are copied as they are."""

# It may find too much, in code for instance: then the site has a file more. What it misses is
# reported by MkDocs as a link to nothing.
LINK = re.compile(r"\]\(([^)\s]+)\)")

REPORT = "demo/report.html"
"""Where `make demo` writes its report; git ignores it."""

REPORT_HERE = "<!-- the demo's report -->"
"""Where a page of the site says whether it has that report; on GitHub nobody sees it."""


def site_path(path: str) -> str:
    """Return where a file of the repository is among the sources of the site."""
    name = posixpath.relpath(path, "docs") if path.startswith("docs/") else f"{FOLDER}/{path}"
    stem, ending = posixpath.splitext(name)
    if ending == ".ipynb":
        return f"{stem}.md"
    return f"{name}.md" if ending in LANGUAGES else name


def linked_path(page: str, link: str) -> str | None:
    """Return the file of the repository that a link of a page leads to; None if there is none.

    Args:
        page: The page, seen from the root of the repository.
        link: The link as it is written.
    """
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
    return path if not path.startswith("..") and (REPOSITORY / path).is_file() else None


def turned(page: str, link: str) -> str:
    """Return a link of a page as it is to be on the site."""
    path = linked_path(page, link)
    if path is None:
        return link
    way = posixpath.relpath(site_path(path), posixpath.dirname(site_path(page)) or ".")
    fragment = urlsplit(link).fragment
    return quote(way) + (f"#{fragment}" if fragment else "")


class _TurnLinks(Treeprocessor):
    """Turns the links of the page that is being rendered, before MkDocs looks at them."""

    def run(self, root: Element) -> None:
        for element in root.iter():
            for attribute in ("href", "src"):
                link = element.get(attribute)
                if link is not None:
                    element.set(attribute, turned(_Links.page, link))


class _Links(Extension):
    """Registers `_TurnLinks`. MkDocs renders one page at a time: `page` is its file."""

    page = ""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (the name is Markdown's)
        # After the links are parsed ("inline", 20) and before MkDocs resolves them (0).
        md.treeprocessors.register(_TurnLinks(md), "repository_links", 10)


_origins: dict[str, str] = {}
"""The file of the repository that each page of the site was made from, by its path on the site."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let every page's Markdown turn its links."""
    config.markdown_extensions.append(_Links())  # Markdown takes names and extensions
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add notebooks, the demo's report if there is one, and what pages link to outside docs/."""
    _origins.clear()
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        _add(f"docs/{notebook.src_uri}", files, config)
    for page in files.documentation_pages():
        _origins.setdefault(page.src_uri, f"docs/{page.src_uri}")
    for path in [*ALWAYS, *([REPORT] if (REPOSITORY / REPORT).is_file() else [])]:
        _add(path, files, config)
    waiting = [*_origins.values()]
    while waiting:
        page = waiting.pop()
        if not page.endswith((".md", ".ipynb")):
            continue  # only text has links
        for link in LINK.findall((REPOSITORY / page).read_text(encoding="utf-8")):
            path = linked_path(page, link)
            if path is not None and files.get_file_from_path(site_path(path)) is None:
                _add(path, files, config)
                waiting.append(path)
    return files


def _add(path: str, files: Files, config: MkDocsConfig) -> None:
    """Add a file of the repository to those of the site."""
    name, source = site_path(path), REPOSITORY / path
    if name.endswith(".md"):
        _origins[name] = path
    language = LANGUAGES.get(source.suffix)
    if source.suffix == ".ipynb":
        files.append(File.generated(config, name, content=as_markdown(read(source))))
    elif language is not None:
        text = source.read_text(encoding="utf-8")
        # Their words are those of the reference: found twice, they would only be in the way.
        page = (
            "---\nsearch: {exclude: true}\n---\n"
            f"# {path}\n\n````{language}\n{text.rstrip()}\n````\n"
        )
        files.append(File.generated(config, name, content=page))
    else:
        files.append(File.generated(config, name, abs_src_path=str(source)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Say whose links are turned next, and lead to the demo's report."""
    _Links.page = _origins[page.file.src_uri]
    here = "*This site was built without the report of a demo.*"
    if files.get_file_from_path(site_path(REPORT)) is not None:
        way = posixpath.relpath(REPORT, posixpath.dirname(_Links.page) or ".")
        here = f"[**The report of a demo**, as the demo wrote it]({way})"
    return markdown.replace(REPORT_HERE, here)
