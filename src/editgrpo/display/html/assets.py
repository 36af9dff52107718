"""What our HTML pages are made of: templates, style sheet and scripts, all inside the package."""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_OURS = "editgrpo.display.html"


def page_environment(package: str = _OURS) -> Environment:
    """Return the environment of the page templates of a package: text is escaped, a missing value
    is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment


def asset(name: str, package: str = _OURS) -> Markup:
    """Return one of our own style sheets or scripts; they are trusted, so they are not escaped."""
    path = files(package) / "static" / name
    return Markup(path.read_text(encoding="utf-8"))


def plotly_script() -> Markup:
    """Return the script of plotly, which draws the charts."""
    from plotly.offline import get_plotlyjs  # loads slowly; only writing a page needs it

    return Markup(get_plotlyjs())
