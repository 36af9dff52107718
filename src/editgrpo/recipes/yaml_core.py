"""The YAML of recipes: PyYAML's safe loader and dumper with the scalars of YAML 1.2's core schema.

PyYAML follows YAML 1.1, where `1e-6` is text, `no` is false and `12:30` is 750: three ways to train
with something else than was written. Reader and writer share one set of rules, so that what is
written is read back as it was.
"""

import re
from typing import Any

import yaml

from editgrpo.errors import ConfigError
from editgrpo.foreign import reading

_SCALARS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    # A leading zero means octal in YAML 1.1 and decimal in 1.2: it stays text.
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.inf|\.nan",
        list("-+.0123456789"),
    ),
)
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """A loader of what JSON has, too; it refuses a key given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML copies it on first change
    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _KINDS
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping, after looking for doubled keys."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                problem = "a key is a list or a mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """A safe dumper that writes every value out, without anchors."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML copies it on first change

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal objects twice; a reader should not have to look an anchor up."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds the line separators of Unicode into spaces unless the text is in double quotes.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)
    _Dumper.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


def parse_yaml(text: str, place: str) -> Any:
    """Parse one YAML document.

    Args:
        text: The document; empty text is None.
        place: File or override, for the error message.

    Returns:
        Plain Python values.

    Raises:
        ConfigError: it is not YAML, holds a tag that safe YAML does not have, a key twice, or
            something that holds itself; the message is one line and names place and line.
    """
    # PyYAML leaves what Python says of a number of thousands of digits, and of deep brackets.
    with reading(place, "fix the YAML", error=ConfigError):
        value = _parsed(text, place)
        if _holds_itself(value, set(), set()):
            raise ConfigError(f"{place}: an anchor is inside what it names; fix the YAML")
    return value


def _parsed(text: str, place: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{place}{line}: {error.problem or error.context}; fix the YAML"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: {' '.join(str(error).split())}; fix the YAML") from error


def _holds_itself(value: Any, above: set[int], done: set[int]) -> bool:
    """Say whether a list or mapping is within itself, by looking at each of them once."""
    if not isinstance(value, dict | list) or id(value) in done:
        return False
    if id(value) in above:
        return True
    above.add(id(value))
    items = value.values() if isinstance(value, dict) else value
    found = any(_holds_itself(item, above, done) for item in items)
    above.remove(id(value))
    done.add(id(value))
    return found


def dump_yaml(value: Any) -> str:
    """Write plain Python values as block-style YAML, keys in their given order."""
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )


def dump_inline(value: Any) -> str:
    """Write one value as flow-style YAML on one line, as `--set` takes it."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=2**31, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")
