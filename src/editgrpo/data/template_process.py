"""The process in which a prompt template is rendered, within limits of time, memory and length.

Run as a script by `rendering.py`. It holds nothing but the standard library and Jinja, so that it
starts in a tenth of a second. It reads one request a line and writes
one answer a line, both JSON. Why a process: a template can loop for ever, or ask for a string of
gigabytes, inside one call that no thread and no exception can end.
"""

import json
import re
import signal
import sys
import traceback
from datetime import datetime
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_LIMIT_BYTES = 512 * 2**20
"""Address space of the whole process, of which Python and Jinja take about 50 MB."""

LONGEST_TEXT = 200_000
"""Characters of a prompt: more than any model of the supported families can read."""

# What Jinja says of a name that the template itself has written. Any other message may hold what a
# section says: `{{ images[indication] }}` ends in "has no element 'Cough for ...'".
_NAMED = re.compile(
    r"'(?P<name>\w+)' is undefined"
    r"|'[\w. ]+ object' has no attribute '(?P<attribute>\w+)'"
    r"|access to attribute '(?P<unsafe>\w+)' of '\w+' object is unsafe\."
)


def main() -> None:
    """Answer requests until the other end closes, or a template ends this process by a fault."""
    _limit_memory()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        sys.excepthook = partial(_tell_fault, request["source"])
        _set_alarm(request["time_limit_s"])
        answer = _answer(request)
        _set_alarm(0)
        _write(answer)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Render, and say in plain values what came of it.

    Args:
        request: `source` of the template, `is_chat` if it is a model's, `variables`,
            `time_limit_s`.

    Returns:
        `text`, or `syntax` (line, message), or `too_long`.
    """
    make = compile_chat_template if request["is_chat"] else compile_template
    try:
        template = make(request["source"])
    except jinja2.TemplateSyntaxError as error:
        return {"syntax": [error.lineno, (error.message or "").partition("\n")[0]]}
    pieces, length = [], 0
    for piece in template.generate(**request["variables"]):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_TEXT:
            return {"too_long": True}
    return {"text": "".join(pieces)}


def _tell_fault(
    source: str, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Answer with `fault`, as the last words of this process.

    That is a message, empty where it may hold what a section says; the class of the error; the
    line of the template, None if not known.
    """
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename == "<template>"]
    line = frames[-1].lineno if frames else None
    _write({"fault": [_quotable(source, str(error)), kind.__name__, line]})


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def _quotable(source: str, message: str) -> str:
    """Return a message if its names are in the template itself, else nothing."""
    named = _NAMED.fullmatch(message)
    name = next(filter(None, named.groups()), "") if named else ""
    return message if name and re.search(rf"\b{name}\b", source) else ""


@lru_cache(maxsize=8)
def compile_template(source: str) -> jinja2.Template:
    """Compile a template, in a sandbox: one that came with a data set can reach nothing else."""
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    return environment.from_string(source)


@lru_cache(maxsize=2)
def compile_chat_template(source: str) -> jinja2.Template:
    """Compile a model's chat template with what transformers gives to one (4.57 to 5,
    `_compile_jinja_template`)."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


class _GenerationTag(Extension):
    """The tag with which a chat template marks the assistant's words; here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

    def parse(self, parser: Parser) -> list[Node]:
        """Return what is between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows, where time is the only limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def _set_alarm(seconds: float) -> None:
    """Let the system end this process after so much time of a processor; 0 for not.

    Not by the clock: a machine that is busy with other things is no fault of the template.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
