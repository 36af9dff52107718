"""A part of a reward that a user has written, by its import path."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from editgrpo.errors import ConfigError
from editgrpo.foreign import reading

_FORM = "module:function, such as my_reward:score"
_REMEDY = f"give {_FORM}, in the current folder or the environment"


class CustomScore:
    """Scores by a function of one's own.

    Attributes:
        name: The import path.

    Args:
        path: `module:function`. The module is found as `python -m` finds it, in the current folder
            or the environment. The function takes N reports and their N references, two lists of
            texts, and returns N finite numbers, the higher the better.

    Raises:
        ConfigError: there is no such function.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._function = _imported(path)

    def read(self, texts: Sequence[str]) -> list[str]:
        """Return the texts: the function reads them itself."""
        return list(texts)

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> Any:
        """Return what the function gives for N pairs, whatever it is: the caller checks it."""
        return self._function(list(candidates), list(references))


def find_module(path: str) -> ModuleSpec:
    """Look for the module of an import path; what it holds is not run, but for packages around it.

    Args:
        path: `module:function`.

    Returns:
        Where it is.

    Raises:
        ConfigError: the path has another form, or there is no such module.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ConfigError(f"reward.custom is {path!r}; it must be {_FORM}")
    place = f"reward.custom: module {module_name!r}"
    with reading(place, _REMEDY, error=ConfigError), _here():
        spec = importlib.util.find_spec(module_name)
    if spec is None:
        raise ConfigError(f"{place}: not found; {_REMEDY}")
    return spec


def module_hash(path: str) -> str:
    """Hash the source of the module of an import path.

    Args:
        path: `module:function`.

    Returns:
        64 hexadecimal digits, those of its name for a module without a file. What it imports is not
        part of it.

    Raises:
        ConfigError: see `find_module`.
    """
    spec = find_module(path)
    if spec.origin is None or not Path(spec.origin).is_file():
        return hashlib.sha256(spec.name.encode()).hexdigest()
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def _imported(path: str) -> Callable[[list[str], list[str]], Any]:
    module_name, name = find_module(path).name, path.partition(":")[2]
    with reading(f"reward.custom: module {module_name!r}", _REMEDY, error=ConfigError), _here():
        module = importlib.import_module(module_name)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"reward.custom: {module_name} has no function {name!r}; {_REMEDY}")
    found: Callable[[list[str], list[str]], Any] = function
    return found


@contextmanager
def _here() -> Iterator[None]:
    """Look for modules in the current folder, too: a console script does not.

    Yields:
        Nothing.
    """
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
