"""Every error that the package raises on purpose.

A message is one line. It names the file, line, field or study, says what is wrong, and says what to
do. It never holds report text or image content: data use agreements forbid both in logs. The
command line prints the message and exits with code 2; anything that is not an `EditGRPOError` is a
bug and keeps its traceback.
"""

from collections.abc import Sequence
from difflib import get_close_matches


class EditGRPOError(Exception):
    """Base of all errors raised on purpose; catch it to tell a user's mistake from a bug."""


class ConfigError(EditGRPOError, ValueError):
    """A configuration value, recipe or command-line override is unknown, out of range or
    contradictory."""


class MissingExtraError(EditGRPOError, ImportError):
    """What was asked for needs libraries that come with an extra of the package."""


class DataError(EditGRPOError, ValueError):
    """A data file, study or image does not have the documented form."""


class EditError(EditGRPOError, ValueError):
    """The edit rules or the token splice were given inputs that contradict each other."""


class RewardError(EditGRPOError, RuntimeError):
    """A scorer failed or returned a value that must not become a reward."""


class ScorerBugError(EditGRPOError, RuntimeError):
    """A scorer or annotator is wrong in itself, whatever it is given: no other report helps."""


class ModelError(EditGRPOError, RuntimeError):
    """A model, tokenizer or checkpoint is missing, incomplete or of a kind that is not
    supported."""


class TrainingError(EditGRPOError, RuntimeError):
    """A training run cannot start, continue or be resumed as asked."""


class RunStoppedError(TrainingError):
    """A run was told to stop by a signal; it can be resumed.

    Args:
        what: Which run, and after which step; the message is this and how to go on. The command
            line puts its own way to go on in place of `--resume`, which not every command has.
        signal_number: The signal; the command line exits with 128 plus it, as shells expect.
    """

    def __init__(self, what: str, signal_number: int) -> None:
        super().__init__(f"{what}; continue with --resume")
        self.what = what
        self.signal_number = signal_number


class StorageError(EditGRPOError, RuntimeError):
    """What a command writes has no room, or its disk is out of order.

    Args:
        what: The file, and what the system says of it; the message is this and the remedy.
        remedy: What to do before the command is given again.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy} and try again")
        self.what = what
        self.remedy = remedy


def nearest_name(name: str, known: Sequence[str]) -> str:
    """End the message about an unknown name.

    Args:
        name: What was asked for.
        known: What there is.

    Returns:
        `; did you mean ...?` with the nearest known name, or `; choose one of ...` with all.
    """
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; choose one of {', '.join(known)}"
