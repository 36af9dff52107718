"""Recipes: YAML files and `--set a.b=c` overrides become the dataclasses of `editgrpo.config`.

A recipe states what differs from the defaults; `extends: other.yaml` (relative to the recipe, one
level) puts another recipe below it, and so does the name of one that comes with the package.
Mappings merge key by key; every other value replaces what it stands over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from editgrpo.config.check import short
from editgrpo.errors import ConfigError
from editgrpo.recipes.published_files import recipe_file, remedy_for_missing
from editgrpo.recipes.values import plain_value
from editgrpo.recipes.yaml_core import dump_yaml, parse_yaml

ConfigT = TypeVar("ConfigT")

Layer = tuple[str, Any]
"""Where a mapping comes from, for messages, and the mapping in the form of a recipe."""

EXTENDS = "extends"


def load_recipe(path: Path, kind: type[ConfigT], overrides: Sequence[str] = ()) -> ConfigT:
    """Read a recipe into a configuration.

    Args:
        path: A YAML file, or the name of a recipe that comes with the package (see
            `editgrpo.recipes.published_files`).
        kind: The dataclass to fill, such as `TrainConfig`. What no source names keeps the default
            of its place: `SFTConfig.optim` has other defaults than `OptimConfig`.
        overrides: `a.b=value` texts, the value in YAML; later ones win over earlier ones and over
            the recipe.

    Returns:
        The configuration; its own checks have run on the merged values.

    Raises:
        ConfigError: a file cannot be read or parsed, a key is unknown, a value has the wrong type
            or is out of range; the message names file or override, key, and the nearest known name.
    """
    layers = [*_read_with_base(path, kind), *_read_overrides(overrides)]
    return _filled(kind, layers, str(path), overrides)


def layered_recipe(
    path: Path, kind: type[ConfigT], layers: Sequence[tuple[str, Mapping[str, Any]]]
) -> ConfigT:
    """Read a recipe and lay mappings over it, one after another.

    Args:
        path: A YAML file.
        kind: The dataclass to fill.
        layers: Where each mapping comes from, for messages, and the mapping in the form of a
            recipe; later ones win.

    Returns:
        The configuration; its own checks have run on the merged values.

    Raises:
        ConfigError: see `load_recipe`; the message names the layer.
    """
    place = layers[-1][0] if layers else str(path)
    return _filled(kind, [*_read_with_base(path, kind), *layers], place)


def load_section(
    path: Path | None, name: str, kind: type[ConfigT], overrides: Sequence[str] = ()
) -> ConfigT:
    """Read one section of a recipe, whatever kind of recipe it is.

    Args:
        path: A YAML file without `extends`, such as a run's `config.yaml`; None starts from the
            defaults.
        name: Name of the section.
        kind: The dataclass to fill.
        overrides: `name.key=value` texts; see `load_recipe`.

    Returns:
        The section.

    Raises:
        ConfigError: see `load_recipe`; or an override is for another section.
    """
    layers: list[Layer] = []
    if path is not None:
        layers.append((str(path), _read_mapping(path).get(name, {})))
    for override in overrides:
        if not override.startswith(f"{name}."):
            raise ConfigError(f"--set {override}: only {name}.key=value has an effect here")
    layers += [(place, layer[name]) for place, layer in _read_overrides(overrides)]
    return _filled(kind, layers, str(path or "options"), overrides)


def recipe_value(path: Path, *keys: str) -> int | None:
    """Read a whole number of a recipe, whatever kind of recipe it is.

    Args:
        path: A YAML file without `extends`, such as a run's `config.yaml`.
        *keys: Dotted keys; the first that the file gives counts.

    Returns:
        The number; None if the file gives none of the keys.

    Raises:
        ConfigError: the file cannot be read or parsed, or the value is no whole number.
    """
    mapping = _read_mapping(path)
    for key in keys:
        value: Any = mapping
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is not None:
            raise ConfigError(f"{path}: {key} is {short(value)}; it must be a whole number")
    return None


def dump_config(config: Any) -> str:
    """Write a configuration as YAML that `load_recipe` reads back to an equal one.

    Args:
        config: A dataclass instance of `editgrpo.config`.

    Returns:
        Every field, defaults included, in the order of declaration.
    """
    return dump_yaml(plain_value(config))


def text_override(key: str, text: str) -> str:
    """Write an override whose value stays text, were it `2026` or `null`."""
    return f"{key}='" + text.replace("'", "''") + "'"


def parse_override(override: str) -> tuple[str, Any]:
    """Split `a.b=value` into its dotted key and its YAML value.

    Args:
        override: As given to `--set`.

    Returns:
        The key and the value; an empty value is None, as in YAML.

    Raises:
        ConfigError: there is no key or no `=`, or the value is not YAML.
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {override}: write it as section.key=value")
    return key, parse_yaml(text, f"--set {override}")


def _read_overrides(overrides: Sequence[str]) -> Iterator[Layer]:
    for override in overrides:
        key, value = parse_override(override)
        for name in reversed(key.split(".")):
            value = {name: value}
        yield f"--set {override}", value


def _filled(
    kind: type[ConfigT], layers: Iterable[Layer], place: str, overrides: Sequence[str] = ()
) -> ConfigT:
    """Lay mappings over the defaults, one after another, and check what comes out.

    Types are checked with each of them, so that its place can be named; limits, which may depend on
    several values, at the end.
    """
    from editgrpo.config.validation import validated

    values = plain_value(kind())
    for source, layer in layers:
        values = _merge(values, layer)
        with _naming(source):
            validated(kind, values, types_alone=True)
    with _naming(f"{place} with --set {' '.join(overrides)}" if overrides else place):
        config: ConfigT = validated(kind, values)
        return config


@contextmanager
def _naming(place: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _read_with_base(given: Path, kind: type) -> list[Layer]:
    """Read a recipe and, below it, the one that it extends."""
    path, _ = recipe_file(given, kind)
    mapping = _read_mapping(path, given)
    base_name = mapping.pop(EXTENDS, None)
    own = (str(path), mapping)
    if base_name is None:
        return [own]
    if not isinstance(base_name, str):
        raise ConfigError(f"{path}: {EXTENDS} must be the name of another recipe")
    base_path, is_published = recipe_file(Path(base_name), kind, within=path)
    if is_published:  # what those extend is theirs: one is one level, whatever lies below it
        return [*_read_with_base(base_path, kind), own]
    base = _read_mapping(base_path, Path(base_name))
    if EXTENDS in base:
        raise ConfigError(
            f"{path}: {base_path} itself extends another recipe; extend one that extends none"
        )
    return [(str(base_path), base), own]


def _read_mapping(path: Path, given: Path | None = None) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines; `given` is how it was asked for."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8; save the recipe as UTF-8") from error
    except FileNotFoundError as error:
        remedy = remedy_for_missing(given or path)
        raise ConfigError(f"{path}: {error.strerror}{remedy}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; give a recipe file") from error
    except ValueError as error:  # a zero byte in the name
        raise ConfigError(f"{str(path)!r}: is no name of a file; give a recipe file") from error
    value = parse_yaml(text, str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path}: a recipe is a list of `key: value` lines; see `editgrpo recipes list`"
        )
    return value


def _merge(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}
