"""Errors of foreign libraries become one line that names the file and the remedy."""

import errno
import re
import struct
from pathlib import Path

import pytest

from editgrpo.errors import DataError, EditGRPOError, ModelError, RewardError, ScorerBugError
from editgrpo.foreign import reading, scoring

REPORT_TEXT = "Small left effusion."


@pytest.mark.parametrize(
    "foreign",
    [
        IndexError(REPORT_TEXT),
        struct.error(REPORT_TEXT),
        EOFError(),
        RecursionError(REPORT_TEXT),
        Exception(REPORT_TEXT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_library_raises_names_the_file_and_keeps_its_words_back(
    foreign: Exception,
) -> None:
    with pytest.raises(DataError) as caught, reading(Path("a.png"), "get it again"):
        raise foreign
    assert str(caught.value) == f"a.png: cannot be read ({type(foreign).__name__}); get it again"


def test_the_kind_of_error_can_be_chosen() -> None:
    with (
        pytest.raises(ModelError, match=r"^weights: "),
        reading("weights", "fetch it", error=ModelError),
    ):
        raise KeyError("x")


def test_what_the_system_says_of_a_file_is_repeated() -> None:
    with (
        pytest.raises(DataError, match=r"^a: cannot be read \(Permission denied\); mend it$"),
        reading("a", "mend it"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("foreign", [IndexError(), PermissionError(errno.EACCES, "denied")])
def test_a_message_that_is_counted_is_the_same_for_all_errors(foreign: Exception) -> None:
    with (
        pytest.raises(DataError, match=r"^image is damaged; get it again$"),
        reading("", "get it again", fault="image is damaged"),
    ):
        raise foreign


@pytest.mark.parametrize(
    "passing",
    [
        EditGRPOError("ours"),
        MemoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_own_errors_and_the_machine_s_pass_through(passing: BaseException) -> None:
    with pytest.raises(type(passing)) as caught, reading("a", "mend it"):
        raise passing
    assert caught.value is passing


def test_nothing_else_in_the_package_swallows_every_exception() -> None:
    source = Path(__file__).parents[1] / "src" / "editgrpo"
    everywhere = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(
            line.strip().startswith(("except Exception", "except BaseException", "except:"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    }
    # The other two hand whatever a thread raised to the threads that wait for it.
    assert everywhere == {"foreign.py", "rewards/guard.py", "adapters/verl.py"}


@pytest.mark.parametrize(
    "foreign", [ValueError("secret"), Exception("secret"), AssertionError("secret"), EOFError()]
)
def test_a_scorer_is_named_with_the_place_and_not_its_words(foreign: Exception) -> None:
    with (
        pytest.raises(RewardError, match=rf"^judge: {type(foreign).__name__} in test_fo") as caught,
        scoring("judge"),
    ):
        raise foreign
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is foreign


@pytest.mark.parametrize(
    "bug", [TypeError("secret"), AttributeError("secret"), NameError("secret")]
)
def test_a_bug_in_a_scorer_is_told_apart_and_named_without_its_words(bug: Exception) -> None:
    """`TypeError: cannot read 'Small effusion.'` would put a report into a log."""
    with pytest.raises(ScorerBugError) as caught, scoring("judge"):
        raise bug
    assert re.fullmatch(
        rf"judge: {type(bug).__name__} in test_foreign\.py, line \d+ \(test_a_bug_in_\w+\); "
        "--debug shows more, perhaps text of a report",
        str(caught.value),
    )
    assert caught.value.__cause__ is bug
