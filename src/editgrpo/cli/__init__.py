"""The command line: each command parses its options, calls the library and shows the result.

One file a command. Whatever is slow to import is imported inside the command function, so that
`--help` and a mistyped option answer at once.
"""

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from editgrpo import __version__
from editgrpo.cli import (
    annotate,
    data,
    demo,
    edit,
    evaluate,
    folder,
    generate,
    iu_xray,
    mimic_cxr,
    models,
    padchest_gr,
    phantom,
    report,
    rexgradient,
    score,
    sft,
    train,
)
from editgrpo.cli.options import examples
from editgrpo.errors import EditGRPOError, RunStoppedError

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
prepare_app = typer.Typer(help="Turn a data set into a folder of studies.")
prepare_app.command("mimic-cxr", epilog=mimic_cxr.EXAMPLES)(mimic_cxr.prepare_mimic_cxr)
prepare_app.command("rexgradient", epilog=rexgradient.EXAMPLES)(rexgradient.prepare_rexgradient)
prepare_app.command("iu-xray", epilog=iu_xray.EXAMPLES)(iu_xray.prepare_iu_xray)
prepare_app.command("padchest-gr", epilog=padchest_gr.EXAMPLES)(padchest_gr.prepare_padchest_gr)
prepare_app.command("folder", epilog=folder.EXAMPLES)(folder.prepare_folder)
prepare_app.command("phantom", epilog=phantom.EXAMPLES)(phantom.prepare_phantom)
app.add_typer(prepare_app, name="prepare", epilog=examples("editgrpo prepare folder --help"))
data_app = typer.Typer(
    help="Look at a prepared set: what it holds, one study, whether it is whole."
)
data_app.command("stats", epilog=data.STATS_EXAMPLES)(data.stats)
data_app.command("show", epilog=data.SHOW_EXAMPLES)(data.show)
data_app.command("check", epilog=data.CHECK_EXAMPLES)(data.check)
app.add_typer(data_app, name="data", epilog=examples("editgrpo data stats studies/mimic"))
models_app = typer.Typer(help="Fetch, list and verify the weights of the clinical models.")
models_app.command("fetch", epilog=models.FETCH_EXAMPLES)(models.fetch)
models_app.command("list", epilog=models.LIST_EXAMPLES)(models.list_models)
models_app.command("verify", epilog=models.VERIFY_EXAMPLES)(models.verify)
app.add_typer(models_app, name="models", epilog=examples("editgrpo models fetch --for paper"))
app.command(epilog=annotate.EXAMPLES)(annotate.annotate)
app.command(epilog=sft.EXAMPLES)(sft.sft)
app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=generate.EXAMPLES)(generate.generate)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=score.EXAMPLES)(score.score)
app.command(epilog=edit.EXAMPLES)(edit.edit)
app.command(epilog=demo.EXAMPLES)(demo.demo)
app.command(epilog=report.EXAMPLES)(report.report)


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
    """Keep the options that stand before a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Args:
        arguments: The words after `editgrpo`; None takes those of this process.

    Raises:
        SystemExit: always: 0 done, 2 for what the user can put right (one line on the error
            stream), 130 interrupted, 143 told to terminate, 1 for a bug (after its traceback).
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    is_debug = DEBUG in words
    _set_up_logging()
    try:
        shown = [word for word in words if word != DEBUG]
        code = app(shown, prog_name="editgrpo", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except RunStoppedError as error:
        _show_error(error)
        code = SIGNALLED + error.signal_number
    except (EditGRPOError, typer.TyperException, *PATH_ERRORS) as error:
        if is_debug:
            raise
        _show_error(error)
        code = USER_ERROR
    sys.exit(code)


def _show_error(error: Exception) -> None:
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(" ".join(_message(error).split()), err=True)


def _message(error: Exception) -> str:
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
    # Announcements of other libraries to their callers, about which a user can do nothing.
    warnings.simplefilter("ignore", FutureWarning)
