"""CheXbert's checkpoint is loaded whole or refused by name, and never runs code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig

from editgrpo.errors import ModelError
from editgrpo.reports.chexbert_network import load_network
from tests.checkpoints.chexbert import build_chexbert


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_chexbert(tmp_path_factory.mktemp("models") / "chexbert")


@pytest.fixture
def bert(folder: Path) -> Any:
    return BertConfig.from_pretrained(folder / "tokenizer")


def saved_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "chexbert.pth")["model_state_dict"]
    return state


def test_every_weight_is_taken(folder: Path, bert: Any) -> None:
    network = load_network(bert, folder / "chexbert.pth")
    saved = saved_state(folder)
    loaded = {f"module.{name}": weight for name, weight in network.state_dict().items()}
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(weight, saved[name]) for name, weight in loaded.items())


def test_positions_saved_by_another_transformers_are_passed_over(
    folder: Path, bert: Any, tmp_path: Path
) -> None:
    positions = {"module.bert.embeddings.position_ids": torch.arange(512)[None]}
    path = tmp_path / "chexbert.pth"
    torch.save({"model_state_dict": saved_state(folder) | positions}, path)
    load_network(bert, path)


def without(state: dict[str, Any]) -> dict[str, Any]:
    return {name: weight for name, weight in state.items() if "linear_heads.13" not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, r"lacks 'linear_heads.13.bias' and 1 more;"),
        (lambda state: state | {"module.extra": torch.ones(1)}, "unknown weight 'extra';"),
        (
            lambda state: state | {"module.linear_heads.13.bias": torch.ones(4)},
            "another shape of 'linear_heads.13.bias';",
        ),
        (
            lambda state: state | {"module.linear_heads.0.bias": "none"},
            "another shape of 'linear_heads.0.bias';",
        ),
    ],
)
def test_a_checkpoint_of_other_weights_is_refused_by_name(
    folder: Path, bert: Any, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "chexbert.pth"
    torch.save({"model_state_dict": change(saved_state(folder))}, path)
    with pytest.raises(ModelError, match=message) as caught:
        load_network(bert, path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


class Harmful:
    """Would run a function of its choice when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("the checkpoint ran code",))


def test_a_checkpoint_with_code_is_refused(bert: Any, tmp_path: Path) -> None:
    path = tmp_path / "chexbert.pth"
    torch.save({"model_state_dict": {"a": Harmful()}}, path)
    with pytest.raises(ModelError, match="weights only"):
        load_network(bert, path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_file_that_is_no_checkpoint_is_refused(bert: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chexbert.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="editgrpo models fetch chexbert"):
        load_network(bert, path)


def test_a_checkpoint_of_another_form_is_refused(bert: Any, tmp_path: Path) -> None:
    path = tmp_path / "chexbert.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match="no 'model_state_dict'"):
        load_network(bert, path)
