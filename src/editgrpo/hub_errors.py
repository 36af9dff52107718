"""What the client of the Hugging Face Hub raises, as one line each: for models, data sets and
uploads alike; and what may be the name of something there."""

from collections.abc import Iterator
from contextlib import contextmanager

from editgrpo.errors import EditGRPOError, ModelError
from editgrpo.foreign import behind, reading

_LOG_IN = "log in with `hf auth login` or HF_TOKEN"
_LONGEST_REASON = 200  # a refused card is answered with the list of all licences that there are


def may_be_hub_id(path: str) -> bool:
    """Say whether a text has the form of a Hub id, `name` or `organisation/name`, and is not surely
    a path."""
    return path.count("/") <= 1 and not path.startswith((".", "/", "~")) and "\\" not in path


@contextmanager
def hub_errors(
    place: str,
    remedy: str,
    *,
    page: str,
    error: type[EditGRPOError] = ModelError,
    fault: str = "failed ({reason})",
) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says why, and what to do.

    Use it around calls of the client and nothing else, as `foreign.reading`.

    Args:
        place: The repository, and at which revision if that counts; begins the message.
        remedy: What to do where the Hub cannot be reached, or is out of order.
        page: Address of the repository, for people.
        error: Which error is raised.
        fault: What is wrong where it is not the Hub's, as of `foreign.reading`.

    Yields:
        Nothing.

    Raises:
        EditGRPOError: of the kind asked for. It repeats what the Hub gives as its reason, which is
            about names and the header of a card.
    """
    try:
        with reading(place, remedy, error=error, fault=fault):
            yield
    except error as raised:
        for cause in behind(raised.__cause__):
            line = _line(cause, remedy, page)
            if line is not None:
                raise error(f"{place}: {line}") from raised.__cause__
        raise


def _line(cause: BaseException, remedy: str, page: str) -> str | None:
    """Say in words what was raised; None of what is not the Hub's."""
    import httpx2
    from huggingface_hub import errors

    match cause:
        case errors.LocalEntryNotFoundError():  # what led to it says more
            return None
        case errors.GatedRepoError():
            return f"its owners ask you to accept terms first; do so at {page}, then {_LOG_IN}"
        case errors.RevisionNotFoundError() | errors.EntryNotFoundError():
            return f"no such revision or file; see {page}"
        case errors.RepositoryNotFoundError():
            return f"no such repository, or not open to you; check the name, or {_LOG_IN}"
        case errors.HFValidationError():
            return "not a Hub id; write organisation/name"
        case errors.OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE switches the Hub off; unset it"
        case errors.LocalTokenNotFoundError():
            return f"you are not known to the Hub; {_LOG_IN}"
        case errors.HfHubHTTPError():
            return _answer(cause.response.status_code, cause.server_message, remedy)
        case httpx2.HTTPError() | errors.FileMetadataError():
            return f"no connection to the Hub ({type(cause).__name__}); {remedy}"
    return None


def _answer(status: int, reason: str | None, remedy: str) -> str:
    words = " ".join((reason or "").split())
    if len(words) > _LONGEST_REASON:
        words = words[:_LONGEST_REASON].rstrip() + " ..."
    why = f" ({words})" if words else ""
    if status in (401, 403):
        remedy = f"{_LOG_IN}, with a token that may do this"
    elif words and status < 500 and status != 429:
        remedy = "mend what it names"
    return f"the Hub answered with status {status}{why}; {remedy}"
