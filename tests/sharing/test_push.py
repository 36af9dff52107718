"""A model goes to the Hub by the true client: what goes, what stays, and on whose word."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.errors import ConfigError, ModelError
from editgrpo.recipes import dump_config
from editgrpo.sharing.push import pack, push, warning
from tests.clinical.hub_server import point_to
from tests.sharing.model_folders import GOES, write_model_folder
from tests.sharing.upload_server import COMMIT, UploadHub, serve_uploads
from tests.training.tiny_run import Tiny

NAME = "organisation/model"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    served = UploadHub()
    with serve_uploads(served) as address:
        point_to(monkeypatch, address)
        # The client's other way for large files: Xet's protocol is in no Python that could be
        # played here.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield served


def test_what_is_allowed_goes_whole_and_nothing_else(hub: UploadHub, tmp_path: Path) -> None:
    folder = write_model_folder(tmp_path / "model", "phantom")
    address = push(pack(folder), NAME, message="First model")
    assert address.endswith(f"/{NAME}/commit/{COMMIT}")
    assert hub.files[NAME] == {name: (folder / name).read_bytes() for name in GOES}
    assert hub.messages == ["First model"]
    assert hub.private == {NAME: True}
    # Large files go by LFS, each once.
    assert sum(request.startswith("PUT /blobs/") for request in hub.requests) == 2


def test_a_second_upload_goes_to_the_same_repository(hub: UploadHub, tmp_path: Path) -> None:
    folder = write_model_folder(tmp_path / "model", "phantom")
    push(pack(folder), NAME)
    (folder / "config.json").write_text('{"a": 1}')
    push(pack(folder), NAME)
    assert hub.files[NAME]["config.json"] == b'{"a": 1}'


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (["mimic-cxr"], "PhysioNet Credentialed Health Data License 1.5.0"),
        (["phantom", "rexgradient"], "ReXGradient-160K Non-Commercial"),
        (["padchest-gr"], "BIMCV research use agreement"),
        (["mimic-cxr", "iu-xray"], "Creative Commons Attribution-NonCommercial-NoDerivatives"),
        (["folder"], "not known to editgrpo"),
        (["something else"], "not known to editgrpo"),  # of a later version, or written by hand
    ],
)
def test_data_under_an_agreement_ask_for_a_word(
    hub: UploadHub, tmp_path: Path, data: list[str], named: str
) -> None:
    parcel = pack(write_model_folder(tmp_path / "model", *data))
    with pytest.raises(ConfigError, match="--yes-i-may-share-this") as refused:
        push(parcel, NAME)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
    assert hub.requests == []
    push(parcel, NAME, may_share=True)
    assert hub.private == {NAME: True}


def test_the_warning_of_mimic_says_what_physionet_asks_of_models(tmp_path: Path) -> None:
    parcel = pack(write_model_folder(tmp_path / "model", "mimic-cxr", "phantom"))
    (line,) = warning(parcel.restricted).splitlines()
    assert "be shared on PhysioNet under the agreement of the data" in line
    assert "https://mimic.mit.edu/docs/community/derived/" in line
    assert "physionet.org/content/mimic-cxr/view-license" in line


def test_a_repository_that_is_public_already_is_not_written_to(
    hub: UploadHub, tmp_path: Path
) -> None:
    hub.private[NAME] = False
    parcel = pack(write_model_folder(tmp_path / "model", "phantom"))
    with pytest.raises(ConfigError, match="is there and public; make it private"):
        push(parcel, NAME)
    assert NAME not in hub.files
    push(parcel, NAME, is_public=True)
    assert sorted(hub.files[NAME]) == GOES


def test_a_repository_that_is_private_already_is_not_called_public(
    hub: UploadHub, tmp_path: Path
) -> None:
    hub.private[NAME] = True
    parcel = pack(write_model_folder(tmp_path / "model", "phantom"))
    with pytest.raises(ConfigError, match="is there and private; make it public"):
        push(parcel, NAME, is_public=True)
    assert NAME not in hub.files


def test_public_is_asked_for(hub: UploadHub, tmp_path: Path) -> None:
    push(pack(write_model_folder(tmp_path / "model", "phantom")), NAME, is_public=True)
    assert hub.private == {NAME: False}


@pytest.mark.parametrize("card", ["# No header\n", "---\ntags: [other]\n---\n", None])
def test_a_model_without_our_card_does_not_go(tmp_path: Path, card: str | None) -> None:
    folder = write_model_folder(tmp_path / "model", "phantom")
    (folder / "README.md").unlink()
    if card is not None:
        (folder / "README.md").write_text(card)
    with pytest.raises(ModelError, match="says nothing of the training data; write the card"):
        pack(folder)


def test_a_folder_without_a_model_does_not_go(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json with weights"):
        pack(tmp_path)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "status 401; log in with `hf auth login` or HF_TOKEN, with a token that may do this"),
        (500, "status 500; look at the connection, and try again: what has arrived is not sent"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(
    hub: UploadHub, tmp_path: Path, status: int, message: str
) -> None:
    hub.status = status
    with pytest.raises(ModelError, match=message) as refused:
        push(pack(write_model_folder(tmp_path / "model", "phantom")), NAME)
    assert "\n" not in str(refused.value)


def test_the_reason_of_a_refusal_is_shown(hub: UploadHub, tmp_path: Path) -> None:
    hub.status, hub.reason = 400, "Repository name is reserved.\nTake another."
    with pytest.raises(ModelError) as refused:
        push(pack(write_model_folder(tmp_path / "model", "phantom")), NAME)
    assert str(refused.value) == (
        f"{NAME}: the Hub answered with status 400 (Repository name is reserved. Take another.); "
        "mend what it names"
    )


def test_the_reason_against_the_header_of_a_card_is_shown(hub: UploadHub, tmp_path: Path) -> None:
    """The client puts an error of its own before the Hub's."""
    hub.wrong_header = '"license" must be one of ' + "[apache-2.0, mit, " * 20
    with pytest.raises(ModelError, match=r'400 \("license" must be one of \[apache-2.0') as refused:
        push(pack(write_model_folder(tmp_path / "model", "phantom")), NAME)
    assert str(refused.value).endswith(" ...); mend what it names")
    assert len(str(refused.value)) < 300


def test_a_wrong_name_is_one_line(hub: UploadHub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a//b: not a Hub id; write organisation/name"):
        push(pack(write_model_folder(tmp_path / "model", "phantom")), "a//b")


def test_no_connection_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"no connection to the Hub .*look at the connection"):
        push(pack(write_model_folder(tmp_path / "model", "phantom")), NAME)


def test_a_dry_run_lists_and_sends_nothing(
    hub: UploadHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_model_folder(tmp_path / "model", "mimic-cxr")
    with pytest.raises(SystemExit) as stop:
        main(["push", str(folder), NAME, "--dry-run"])
    said = capsys.readouterr()
    assert stop.value.code == 0
    for name in GOES:
        assert f"  {name}\n" in said.out
    assert "      stays  rollouts.jsonl\n" in said.out
    assert "500 bytes  model-00001-of-00002.safetensors" in said.out
    assert "PhysioNet Credentialed" in said.err
    assert hub.requests == []


def test_the_command_sends(
    hub: UploadHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_model_folder(tmp_path / "model", "mimic-cxr")
    for more, code in (([], 2), (["--yes-i-may-share-this"], 0)):
        with pytest.raises(SystemExit) as stop:
            main(["push", str(folder), NAME, *more])
        assert stop.value.code == code
    assert "Private: http://127.0.0.1" in capsys.readouterr().out
    assert sorted(hub.files[NAME]) == GOES


def run_of(tiny: Tiny, tmp_path: Path, *words: str) -> int:
    """Train for a step by the command line."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_config(tiny.train_config(tmp_path / "run", steps=1)), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["train", str(recipe), "--push-to-hub", NAME, *words])
    return int(stop.value.code or 0)


def does_not_begin(tiny: Tiny, tmp_path: Path) -> bool:
    """Say whether a run is refused before it has written anything."""
    return run_of(tiny, tmp_path) == 2 and not (tmp_path / "run").exists()


def of_dataset(tiny: Tiny, name: str, folder: Path) -> Tiny:
    """The same studies as if they were of another data set."""
    shutil.copytree(tiny.studies, folder)
    prepared = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps(prepared | {"dataset": name}))
    return replace(tiny, studies=folder)


@pytest.mark.slow
def test_a_run_gives_its_model_away_at_its_end(
    hub: UploadHub, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = of_dataset(tiny, "phantom", tmp_path / "studies")
    assert run_of(drawn, tmp_path) == 0
    sent = hub.files[NAME]
    assert sent["model.safetensors"] == (tmp_path / "run/model/model.safetensors").read_bytes()
    assert b"training_data:" in sent["README.md"]
    assert hub.private == {NAME: True}
    assert "Private: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_on_data_under_an_agreement_does_not_begin_without_a_word(
    hub: UploadHub, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protected = of_dataset(tiny, "mimic-cxr", tmp_path / "studies")
    assert does_not_begin(protected, tmp_path)
    assert "add --yes-i-may-share-this" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.slow
def test_a_run_that_nobody_could_upload_does_not_begin(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert does_not_begin(tiny, tmp_path)
    assert "run `hf auth login`" in capsys.readouterr().err
