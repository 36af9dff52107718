"""Options that several commands share, and how their examples are laid out."""

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from editgrpo.recipes import text_override
from editgrpo.recipes.settings import list_settings

MOST_SEED = 2**32 - 1  # NumPy takes no larger one

Recipe = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", help="A YAML file, or a name from `editgrpo recipes list`."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the recipe, such as optim.learning_rate=2e-6. Repeatable.",
    ),
]
SetData = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=VALUE",
        help="Change how studies are shown to the model, such as data.max_images=4. Repeatable.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of all random draws.")]
MaxCompletionTokens = Annotated[
    int | None, typer.Option(help="Most tokens of a report. Default: as in the run, or 256.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the result of an earlier run in the output.")
]


def settings_option(kind: type) -> Any:
    """Make the option that lists the settings of a recipe and `--set`.

    Args:
        kind: The configuration whose keys and defaults are listed.

    Returns:
        A Typer option for a flag; it ends the command.
    """

    def show() -> None:
        for setting in list_settings(kind()):
            choices = f"  (of {', '.join(setting.choices)})" if setting.choices else ""
            typer.echo(f"{setting.key}={setting.default}{choices}")
            if setting.meaning:
                typer.echo(f"    {setting.meaning}")

    return listing_option(
        "--settings", show, "List every setting with its default and meaning, and stop."
    )


def listing_option(name: str, show: Callable[[], None], help_text: str) -> Any:
    """Make a flag that prints something instead of running the command.

    Args:
        name: The flag.
        show: Prints it.
        help_text: What the flag does.

    Returns:
        A Typer option; it ends the command before arguments are missed.
    """

    def show_and_exit(is_asked: bool) -> None:
        if is_asked:
            show()
            raise typer.Exit

    return typer.Option(name, callback=show_and_exit, is_eager=True, help=help_text)


def examples(*commands: str) -> str:
    """Format example commands for the end of a command's help.

    Args:
        *commands: Complete command lines.

    Returns:
        Text in which Typer keeps one command a line.
    """
    return "\n\n".join(
        ("[bold]Examples[/bold]" if commands[1:] else "[bold]Example[/bold]", *commands)
    )


def study_overrides(
    changes: list[str] | None, *, limit: int | None, studies: str | None
) -> list[str]:
    """Put `--limit` before the `--set` overrides, and `--studies` after them, so that it wins.

    Without a limit all studies of a split are taken, whatever the run took.
    """
    most = "null" if limit is None else str(limit)
    limits = [f"data.train_limit={most}", f"data.validation_limit={most}"]
    folder = [] if studies is None else [text_override("data.folder", studies)]
    return [*limits, *(changes or []), *folder]


def given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given, so that the library's own defaults hold for the others."""
    return {name: value for name, value in options.items() if value is not None}


Command = Callable[..., None]


def shared_options(
    name: str, factory: Callable[..., Any], *, without: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Give a command options that others have too.

    Args:
        name: A keyword argument of the command; it is given what the factory returns.
        factory: Takes one keyword argument for each option, annotated as Typer reads it.
        without: Options that this command does not have.

    Returns:
        A decorator that puts the options in the place of that argument.
    """
    parameters = inspect.signature(factory).parameters.values()
    return functools.partial(
        _with_options, name, factory, [one for one in parameters if one.name not in without]
    )


def _with_options(
    name: str,
    factory: Callable[..., Any],
    options: Collection[inspect.Parameter],
    command: Command,
) -> Command:
    own = list(inspect.signature(command).parameters.values())
    place = next(number for number, one in enumerate(own) if one.name == name)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        chosen = {option.name: values.pop(option.name) for option in options}
        command(**{name: factory(**chosen)}, **values)

    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in (*own[:place], *options, *own[place + 1 :])
    ]
    # Typer reads the options from both.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
