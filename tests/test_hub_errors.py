"""What the Hub's client raises becomes one line that says why, and what to do."""

import httpx2
import pytest
from huggingface_hub import errors

from editgrpo.errors import DataError
from editgrpo.hub_errors import hub_errors, may_be_hub_id


def refused(
    kind: type[errors.HfHubHTTPError], status: int, reason: str | None = None
) -> errors.HfHubHTTPError:
    request = httpx2.Request("GET", "https://huggingface.co/a/b")
    return kind("words", response=httpx2.Response(status, request=request), server_message=reason)


def led_to(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (
            refused(errors.GatedRepoError, 403),
            "its owners ask you to accept terms first; do so at PAGE, then log in with "
            "`hf auth login` or HF_TOKEN",
        ),
        (refused(errors.RevisionNotFoundError, 404), "no such revision or file; see PAGE"),
        (refused(errors.RemoteEntryNotFoundError, 404), "no such revision or file; see PAGE"),
        (
            refused(errors.RepositoryNotFoundError, 401),
            "no such repository, or not open to you; check the name, or log in with "
            "`hf auth login` or HF_TOKEN",
        ),
        (errors.HFValidationError("a//b"), "not a Hub id; write organisation/name"),
        (errors.OfflineModeIsEnabled("off"), "HF_HUB_OFFLINE switches the Hub off; unset it"),
        (
            errors.LocalTokenNotFoundError("none"),
            "you are not known to the Hub; log in with `hf auth login` or HF_TOKEN",
        ),
        (refused(errors.HfHubHTTPError, 503), "the Hub answered with status 503; WAIT"),
        (
            refused(errors.HfHubHTTPError, 429, "Too many"),
            "the Hub answered with status 429 (Too many); WAIT",
        ),
        (
            refused(errors.HfHubHTTPError, 403, "You have\nread access only"),
            "the Hub answered with status 403 (You have read access only); log in with "
            "`hf auth login` or HF_TOKEN, with a token that may do this",
        ),
        (
            refused(errors.BadRequestError, 400, "No such licence"),
            "the Hub answered with status 400 (No such licence); mend what it names",
        ),
        (httpx2.ConnectError("no route"), "no connection to the Hub (ConnectError); WAIT"),
        (
            led_to(errors.LocalEntryNotFoundError("nothing here"), httpx2.ReadTimeout("late")),
            "no connection to the Hub (ReadTimeout); WAIT",
        ),
        (
            led_to(
                errors.LocalEntryNotFoundError("nothing here"), errors.OfflineModeIsEnabled("off")
            ),
            "HF_HUB_OFFLINE switches the Hub off; unset it",
        ),
        (KeyError("whatever"), "failed (KeyError); WAIT"),
    ],
)
def test_what_the_client_raises_is_one_line(raised: Exception, line: str) -> None:
    with (
        pytest.raises(DataError) as caught,
        hub_errors("a/b at main", "WAIT", page="PAGE", error=DataError),
    ):
        raise raised
    assert str(caught.value) == f"a/b at main: {line}"


def test_errors_of_this_package_pass_through() -> None:
    with (
        pytest.raises(DataError, match=r"^ours$") as caught,
        hub_errors("a/b", "WAIT", page="PAGE", error=DataError),
    ):
        raise DataError("ours")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["name", "organisation/name"])
def test_a_hub_id_has_one_part_or_two(name: str) -> None:
    assert may_be_hub_id(name)
    assert not may_be_hub_id(f"./{name}")
    assert not may_be_hub_id(f"{name}/a/b")
