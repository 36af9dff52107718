"""Pages of Markdown from templates: cards of data sets and models, how to serve a model."""

from typing import Any

import jinja2


def render_page(package: str, template: str, **values: Any) -> str:
    """Fill in a template of a package.

    Args:
        package: Where its folder `templates` is.
        template: Name of its file.
        **values: What it shows; all that it names must be there.

    Returns:
        The page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, from our own words and names
    )
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(**values)


def _cell(text: object) -> str:
    """Keep a text within a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")
