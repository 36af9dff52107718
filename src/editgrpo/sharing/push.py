"""Giving a model to the Hub: which files, to whom, and on whose word.

Everything is private unless asked for otherwise, and a model that was trained on data under an
agreement goes nowhere before somebody has said that they may share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from editgrpo.data.prepared.licences import DatasetCard, Sharing, card_of
from editgrpo.errors import ConfigError, ModelError
from editgrpo.hub_errors import hub_errors
from editgrpo.sharing.allowed import CARD, allowed_files, left_out
from editgrpo.sharing.model_card import OUR_TAG, TRAINING_DATA, read_header

_REMEDY = "look at the connection, and try again: what has arrived is not sent twice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """What would leave the machine.

    Attributes:
        folder: The model folder.
        files: Its files that are given away.
        left_out: Names of what stays.
        data: The cards of the data sets that the model was trained on.
    """

    folder: Path
    files: tuple[Path, ...]
    left_out: tuple[str, ...]
    data: tuple[DatasetCard, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def restricted(self) -> tuple[DatasetCard, ...]:
        """The data sets whose terms ask for a word of the sender."""
        return restricted_of(self.data)


def restricted_of(data: Sequence[DatasetCard]) -> tuple[DatasetCard, ...]:
    """Return the data sets whose terms ask for a word of whoever shares a model."""
    return tuple(card for card in data if card.sharing is not Sharing.FREE)


def pack(folder: Path) -> Parcel:
    """Find out what of a model folder would be given away.

    Args:
        folder: A model folder with a card of `editgrpo card`.

    Returns:
        The parcel. A data set that the card names and nobody knows counts as one of your own.

    Raises:
        ModelError: the folder holds no model, or no card of `editgrpo card`.
    """
    files = allowed_files(folder)
    header = read_header(folder / CARD)
    named = header.get(TRAINING_DATA)
    if OUR_TAG not in (header.get("tags") or []) or not isinstance(named, list) or not named:
        raise ModelError(
            f"{folder / CARD}: says nothing of the training data; write the card with "
            "`editgrpo card` first"
        )
    return Parcel(
        folder=folder,
        files=tuple(files),
        left_out=tuple(left_out(folder)),
        data=tuple(map(card_of, named)),
    )


def warning(data: Sequence[DatasetCard]) -> str:
    """Say what the terms of data sets ask of whoever shares a model.

    Args:
        data: The data sets.

    Returns:
        A paragraph for each.
    """
    return "\n".join(
        " ".join(
            [
                f"This model was trained on {card.title}: {card.licence}"
                + (f" ({card.licence_link})." if card.licence_link else "."),
                card.models or "Find out what it says of models that were trained on the data.",
            ]
        )
        for card in data
    )


def require_leave(data: Sequence[DatasetCard], *, may_share: bool) -> None:
    """Ask for the sender's word where the terms of a data set do.

    Args:
        data: What the model was, or will be, trained on.
        may_share: Whether the sender has said that the terms allow it.

    Raises:
        ConfigError: they have not, and one of the data sets asks for it.
    """
    restricted = restricted_of(data)
    if restricted and not may_share:
        named = " ".join(warning(restricted).splitlines())
        raise ConfigError(f"{named} Read the terms; if they allow it, add --yes-i-may-share-this")


def require_login() -> None:
    """Ask for an account of the Hub before there is anything to send.

    Raises:
        ConfigError: nobody is logged in on this machine.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise ConfigError(
            "--push-to-hub: nobody is logged in to the Hub; run `hf auth login`, or set HF_TOKEN"
        )


def push(
    parcel: Parcel,
    repository: str,
    *,
    may_share: bool = False,
    is_public: bool = False,
    message: str = "Upload model",
) -> str:
    """Upload a model, its processor and its card in one commit.

    Args:
        parcel: From `pack`.
        repository: Hub id, made if there is none.
        may_share: Whether the sender has said that the terms of the training data allow it.
        is_public: Whether everybody may read it.
        message: Of the commit.

    Returns:
        Address of the commit.

    Raises:
        ConfigError: the data's terms ask for a word of the sender, or the repository is there and
            is public where `is_public` is off, or private where it is on.
        ModelError: the Hub cannot be reached or refuses; one line says why.
    """
    require_leave(parcel.data, may_share=may_share)
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with hub_errors(repository, _REMEDY, page=f"https://huggingface.co/{repository}"):
        api.create_repo(repository, private=not is_public, exist_ok=True)
        is_open = not api.model_info(repository).private
    if is_open and not is_public:
        raise ConfigError(
            f"{repository}: is there and public; make it private on the Hub, or add --public"
        )
    if is_public and not is_open:
        raise ConfigError(
            f"{repository}: is there and private; make it public on the Hub, or leave out --public"
        )
    with hub_errors(repository, _REMEDY, page=f"https://huggingface.co/{repository}"):
        commit = api.create_commit(
            repository,
            [
                CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file))
                for file in parcel.files
            ],
            commit_message=message,
        )
    return str(commit.commit_url)
