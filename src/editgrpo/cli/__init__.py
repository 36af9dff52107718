"""The command line: each command parses its options, calls the library and shows the result.

One file a command. Whatever is slow to import is imported inside the command function, so that
`--help` and a mistyped option answer at once.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer

from editgrpo import __version__
from editgrpo.cli import (
    annotate,
    card,
    chexpert_plus,
    data,
    demo,
    edit,
    evaluate,
    export,
    folder,
    generate,
    huggingface,
    iu_xray,
    mimic_cxr,
    models,
    padchest_gr,
    pairs,
    phantom,
    push,
    recipes,
    report,
    rexgradient,
    rexrank,
    score,
    sft,
    tiny,
    train,
    try_model,
)
from editgrpo.cli.options import examples
from editgrpo.errors import EditGRPOError, RunStoppedError, StorageError
from editgrpo.extras import naming_missing_extras
from editgrpo.foreign import storing
from editgrpo.ownership import disown_all

USER_ERROR = 2
SIGNALLED = 128  # plus the number of the signal, as shells report it
INTERRUPTED = SIGNALLED + signal.SIGINT
DEBUG = "--debug"

# What a path given by the user can be wrong about; any other OSError is a bug or a broken machine.
PATH_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

app = typer.Typer(
    name="editgrpo",
    help="Train chest X-ray report generators that are clinically right.",
    epilog=f"{DEBUG}, anywhere in a command, shows the traceback of an error.",
    rich_markup_mode="rich",
    add_completion=False,
    # Typer's own tracebacks show local variables, and those hold report text.
    pretty_exceptions_enable=False,
)
prepare_app = typer.Typer(help="Turn a data set into a prepared folder.")
prepare_app.command("mimic-cxr", epilog=mimic_cxr.EXAMPLES)(mimic_cxr.prepare_mimic_cxr)
prepare_app.command("rexgradient", epilog=rexgradient.EXAMPLES)(rexgradient.prepare_rexgradient)
prepare_app.command("iu-xray", epilog=iu_xray.EXAMPLES)(iu_xray.prepare_iu_xray)
prepare_app.command("padchest-gr", epilog=padchest_gr.EXAMPLES)(padchest_gr.prepare_padchest_gr)
prepare_app.command("folder", epilog=folder.EXAMPLES)(folder.prepare_folder)
prepare_app.command("chexpert-plus", epilog=chexpert_plus.EXAMPLES)(
    chexpert_plus.prepare_chexpert_plus
)
prepare_app.command("hf", epilog=huggingface.EXAMPLES)(huggingface.prepare_huggingface)
prepare_app.command("phantom", epilog=phantom.EXAMPLES)(phantom.prepare_phantom)
app.add_typer(prepare_app, name="prepare", epilog=examples("editgrpo prepare folder --help"))
data_app = typer.Typer(help="Inspect and check a prepared folder.")
data_app.command("stats", epilog=data.STATS_EXAMPLES)(data.stats)
data_app.command("show", epilog=data.SHOW_EXAMPLES)(data.show)
data_app.command("check", epilog=data.CHECK_EXAMPLES)(data.check)
app.add_typer(data_app, name="data", epilog=examples("editgrpo data stats studies/mimic"))
models_app = typer.Typer(help="Fetch, list and verify weights; write a small model.")
models_app.command("fetch", epilog=models.FETCH_EXAMPLES)(models.fetch)
models_app.command("list", epilog=models.LIST_EXAMPLES)(models.list_models)
models_app.command("verify", epilog=models.VERIFY_EXAMPLES)(models.verify)
models_app.command("tiny", epilog=tiny.EXAMPLES)(tiny.tiny)
app.add_typer(models_app, name="models", epilog=examples("editgrpo models fetch --for paper"))
recipes_app = typer.Typer(
    help="List, show and copy the recipes that come with the package; print their schema."
)
recipes_app.command("list", epilog=recipes.LIST_EXAMPLES)(recipes.list_recipes)
recipes_app.command("show", epilog=recipes.SHOW_EXAMPLES)(recipes.show)
recipes_app.command("copy", epilog=recipes.COPY_EXAMPLES)(recipes.copy)
recipes_app.command("schema", epilog=recipes.SCHEMA_EXAMPLES)(recipes.schema)
app.add_typer(recipes_app, name="recipes", epilog=examples("editgrpo recipes list"))
app.command(epilog=annotate.EXAMPLES)(annotate.annotate)
app.command(epilog=sft.EXAMPLES)(sft.sft)
app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=generate.EXAMPLES)(generate.generate)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=score.EXAMPLES)(score.score)
app.command(epilog=edit.EXAMPLES)(edit.edit)
app.command(epilog=pairs.EXAMPLES)(pairs.pairs)
app.command(epilog=demo.EXAMPLES)(demo.demo)
app.command(epilog=report.EXAMPLES)(report.report)
app.command("try", epilog=try_model.EXAMPLES)(try_model.try_model)
app.command(epilog=card.EXAMPLES)(card.card)
app.command(epilog=export.EXAMPLES)(export.export)
app.command(epilog=push.EXAMPLES)(push.push)
rexrank_app = typer.Typer(help="Take part in ReXrank: cases as studies, and submissions.")
rexrank_app.command("table", epilog=rexrank.TABLE_EXAMPLES)(rexrank.table)
rexrank_app.command("submit", epilog=rexrank.SUBMIT_EXAMPLES)(rexrank.submit)
app.add_typer(rexrank_app, name="rexrank", epilog=examples("editgrpo rexrank submit --help"))


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"editgrpo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Keep the options that come before a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Args:
        arguments: The words after `editgrpo`; None takes those of this process.

    Raises:
        SystemExit: always: 0 done, 2 for what the user can put right (one line on the error
            stream), 130 interrupted and 143 told to terminate (one line too), 1 for a bug (after
            its traceback).
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    is_debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    _set_up_logging()
    try:
        with _terminable(), storing(), naming_missing_extras():
            code = _run(words)
    except (KeyboardInterrupt, _TerminatedError) as stop:
        is_ctrl_c = isinstance(stop, KeyboardInterrupt)
        what = "interrupted" if is_ctrl_c else "stopped by SIGTERM"
        _show_error(f"{what}; {_how_to_go_on(words)}")
        code = SIGNALLED + (signal.SIGINT if is_ctrl_c else signal.SIGTERM)
    except RunStoppedError as error:
        _show_error(f"{error.what}; {_how_to_go_on(words)}")
        code = SIGNALLED + error.signal_number
    except (EditGRPOError, typer.TyperException, OSError) as error:
        if is_debug or not _is_for_the_user(error):
            raise
        _show_error(_message(error, words))
        code = USER_ERROR
    finally:
        disown_all()
    sys.exit(code)


def _run(words: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    try:
        code: int = app(words, prog_name="editgrpo", standalone_mode=False) or 0
        sys.stdout.flush()  # a full disk behind it shall be met here, not as the process ends
    except typer.Abort as abort:
        # Typer takes the end of any file for one of the keyboard's, of which we ask nothing.
        if isinstance(abort.__cause__, EOFError):
            raise abort.__cause__ from None
        raise
    if code == INTERRUPTED:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt
    return code


class _TerminatedError(BaseException):
    """SIGTERM, wherever it came; like Ctrl-C nothing but `main` stops it."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end what runs as Ctrl-C does: what is open is closed, what is temporary removed.

    A handler that somebody else has set stays, and a process that was forked from this one dies as
    if there were none.
    """
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    process = os.getpid()

    def terminate(number: int, _: FrameType | None) -> NoReturn:
        if os.getpid() != process:
            os._exit(SIGNALLED + number)
        raise _TerminatedError

    if is_ours:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _how_to_go_on(words: Sequence[str]) -> str:
    """Say how a command that was cut short is continued, or done again if it cannot be."""
    command = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    if not any(option.name == "resume" for option in command.params):
        return "give the same command again"
    place = " in place of --overwrite" if "--overwrite" in words else ""
    return f"continue with --resume{place}"


def _show_error(message: str) -> None:
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(" ".join(message.split()), err=True)


def _is_for_the_user(error: Exception) -> bool:
    """Say whether an error is about what was asked for: of the system's, those that name a path."""
    return not isinstance(error, OSError) or bool(error.filename) or isinstance(error, PATH_ERRORS)


def _message(error: Exception, words: Sequence[str]) -> str:
    if isinstance(error, StorageError):
        return f"{error.what}; {error.remedy} and {_how_to_go_on(words)}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "editgrpo"
        return f"{error.format_message().rstrip('.')}; see {command} --help"
    return str(error)


def _set_up_logging() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("editgrpo").setLevel(logging.INFO)
    # The Hub's client writes its own lines; through the root logger each would come twice.
    logging.getLogger("huggingface_hub").propagate = False
    # Announcements of other libraries to their callers, about which a user can do nothing.
    warnings.simplefilter("ignore", FutureWarning)
