"""Rendering templates in a process of its own, within limits; see `template_process.py`.

One such process serves a process of ours and all its threads. It is started with the first template
and ends with us.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from editgrpo.data import template_process
from editgrpo.errors import ConfigError, ModelError

TIME_LIMIT_S = 5.0
"""Time of a processor; a prompt takes a millisecond."""

_TOO_MUCH = ("MemoryError", "OverflowError", "RecursionError")
_LONGEST_WAIT_S = 60.0  # by the clock, where the process does not keep its limit by itself


def render(path: Path, source: str, variables: dict[str, Any], *, hint: str) -> str:
    """Render a template.

    Args:
        path: Its file, for messages.
        source: Its text.
        variables: What it sees; plain values.
        hint: What a template may use; ends the message about a name that is not there.

    Returns:
        The text.

    Raises:
        ConfigError: the template is faulty, or takes more time, memory or characters than it may;
            the message names its file and holds nothing of the variables.
    """
    answer = _renderer.ask(
        {"source": source, "variables": variables, "is_chat": False, "time_limit_s": TIME_LIMIT_S}
    )
    if "text" in answer:
        return str(answer["text"])
    if "syntax" in answer:
        line, message = answer["syntax"]
        raise ConfigError(f"{path}:{line}: {message}; correct the template")
    if excess := _excess(answer):
        raise ConfigError(f"{path}: {excess}")
    message, kind, line = answer["fault"]
    raise ConfigError(f"{path}: {message or kind + _in_line(line)}; {hint}")


def require_limits(place: Path, source: str, variables: dict[str, Any]) -> None:
    """Try whether a model's chat template keeps the limits, before transformers renders it in this
    process, where nothing could end it.

    Args:
        place: Its file, for messages.
        source: Its text.
        variables: What it sees; plain values.

    Raises:
        ModelError: it takes more time, memory or characters than a template may. Other faults are
            transformers' to find.
    """
    answer = _renderer.ask(
        {"source": source, "variables": variables, "is_chat": True, "time_limit_s": TIME_LIMIT_S}
    )
    if excess := _excess(answer):
        raise ModelError(f"{place}: chat template {excess}")


def _excess(answer: dict[str, Any]) -> str:
    """Return what a template takes too much of; empty if nothing."""
    if "fault" in answer:
        _, kind, line = answer["fault"]
        if kind not in _TOO_MUCH:
            return ""
        return (
            f"asks for too much ({kind}{_in_line(line)}); look for a loop, a product of texts or a "
            "macro that calls itself"
        )
    if "too_long" in answer:
        return f"writes more than {template_process.LONGEST_TEXT:,} characters; look for a loop"
    if "too_slow" in answer:
        return f"is not done after {TIME_LIMIT_S:g} s; look for a loop without an end"
    if answer:
        return ""
    return (
        "has ended the process that renders it; it may take more memory than the "
        f"{template_process.MEMORY_LIMIT_BYTES >> 20} MiB that it is given"
    )


def _in_line(line: int | None) -> str:
    return "" if line is None else f" in line {line}"


class _Renderer:
    """The process, started when it is needed and again when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer; `too_slow` or nothing where there is none."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            is_new = self._process is None
            answer = self._ask(line)
            if not answer and not is_new:  # perhaps somebody else ended it meanwhile
                answer = self._ask(line)
            if "text" not in answer:
                self.close()  # what a template asked for may still be held by the process
            return answer

    def _ask(self, line: bytes) -> dict[str, Any]:
        process = self._process = self._process or _start()
        assert process.stdin is not None and process.stdout is not None
        watch = threading.Timer(_LONGEST_WAIT_S, process.kill)
        watch.daemon = True
        watch.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            reply = process.stdout.readline()
        except OSError:
            reply = b""
        finally:
            is_late = not watch.is_alive()
            watch.cancel()
        if reply.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(reply)
            return answer
        status = self.close()
        return {"too_slow": True} if is_late or status == -_ALARM else {}

    def close(self) -> int:
        """End the process, if there is one; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.kill()
        with suppress(OSError), process:  # what was not yet sent cannot be any more
            pass
        return process.wait()


_ALARM = getattr(signal, "SIGPROF", 0)


def _start() -> "subprocess.Popen[bytes]":
    # -P: beside the script lie modules whose names are not Jinja's to find. A session of its own,
    # so that Ctrl-C reaches us alone.
    return subprocess.Popen(
        [sys.executable, "-P", template_process.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _begin_anew() -> None:
    """Forget the parent's process and lock, which a forked process must not use."""
    global _renderer
    _forgotten.append(_renderer)  # kept: closing it would take the parent's pipe
    _renderer = _Renderer()


_renderer = _Renderer()
_forgotten: list[_Renderer] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
atexit.register(lambda: _renderer.close())
