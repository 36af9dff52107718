"""A model folder's JSON is believed only as far as it goes: its family, its index of weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from editgrpo.clinical.catalogue import CATALOGUE
from editgrpo.clinical.model_folder import missing_files
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.errors import ModelError
from editgrpo.model_files import check_family, check_model, check_weight_files, shard_names

INDEX = "model.safetensors.index.json"


def folder_of(folder: Path, **files: Any) -> Path:
    for name, value in files.items():
        path = folder / f"{name}.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


def index_of(folder: Path, value: Any) -> Path:
    path = folder / INDEX
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    "kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "gemma3", "glm4v", "llava"]
)
def test_what_reads_text_and_images_passes(tmp_path: Path, kind: str) -> None:
    check_family(folder_of(tmp_path, config={"model_type": kind}))


@pytest.mark.parametrize(
    "kind",
    [
        "qwen3_vl_text", "qwen3", "qwen2", "qwen2_5_vl_text", "gemma3_text", "bert", "QWEN2_VL",
        "qwen2-vl", "", 7, None, ["qwen2_vl"],
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(tmp_path: Path, kind: Any) -> None:
    folder_of(tmp_path, config={"model_type": kind})
    named = "names no model_type" if kind is None else f"model_type {kind!r} is not supported"
    with pytest.raises(ModelError) as caught:
        check_model(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'config.json'}: {named}; use one of Gemma 3 (gemma3), "
        "Qwen2-VL (qwen2_vl), Qwen2.5-VL (qwen2_5_vl), Qwen3-VL (qwen3_vl), Qwen3.5 (qwen3_5), or "
        "another that transformers reads text and images with"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '"qwen2_vl"', "null", "\xff\xfe", "[" * 100_000])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"config\.json: .*; ") as caught:
        check_family(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_configuration_and_a_name_without_a_model_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=r"no config\.json; give the folder of a saved model"):
        check_model(str(tmp_path))
    for name in ("nobody/has-this", str(tmp_path / "absent"), "a b", "x/y/z"):
        with pytest.raises(ModelError, match=f"^model {name!r} is no folder") as caught:
            check_model(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["runs/sft/model-for-rl", "./absent", "../absent", "/absent", "~/absent", r"runs\sft"]
)
def test_a_path_that_can_be_no_hub_id_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_model(name)
    assert str(caught.value) == f"model {name!r} is no folder; give a model folder or a Hub id"


OUTSIDE = [
    "../model.safetensors", "/etc/passwd", "a/../../b.safetensors", "..", "", r"..\b.safetensors",
    r"C:\b.safetensors", r"\\host\share\b.safetensors", "C:b.safetensors",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_may_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    index = index_of(tmp_path, {"weight_map": {"a": "model-1.safetensors", "b": name}})
    with pytest.raises(ModelError, match=r"names the file .* outside its folder"):
        shard_names(index)
    with pytest.raises(ModelError, match="outside its folder"):
        check_weight_files(tmp_path)


@pytest.mark.parametrize("name", OUTSIDE)
def test_nor_may_that_of_a_clinical_model(tmp_path: Path, name: str) -> None:
    for file in ("config.json", "tokenizer.json", "model-1.safetensors"):
        (tmp_path / file).write_text("{}")
    index_of(tmp_path, {"weight_map": {"a": "model-1.safetensors", "b": name}})
    with pytest.raises(ModelError, match=r"outside its folder; fetch the model again"):
        missing_files(CATALOGUE[ClinicalModel.GREEN], tmp_path)


@pytest.mark.parametrize(
    "value",
    ["{", "[]", "{}", {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": None}}],
)
def test_a_damaged_index_is_one_line(tmp_path: Path, value: Any) -> None:
    index_of(tmp_path, value)
    with pytest.raises(ModelError, match=rf"{INDEX}: .*; give the folder of a whole checkpoint"):
        check_weight_files(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    index_of(tmp_path, {"weight_map": {"a": "x.safetensors", "b": "parts/y.safetensors"}})
    (tmp_path / "x.safetensors").touch()
    with pytest.raises(ModelError, match=rf"no parts/y\.safetensors, which {INDEX} names"):
        check_weight_files(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/y.safetensors").touch()
    check_weight_files(tmp_path)


def test_an_index_beside_whole_weights_is_not_read_by_transformers(tmp_path: Path) -> None:
    index_of(tmp_path, {"weight_map": {"a": "gone.safetensors"}})
    (tmp_path / "model.safetensors").touch()
    check_weight_files(tmp_path)


def test_files_of_the_hubs_cache_may_be_links(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "1"
    blob.parent.mkdir()
    blob.touch()
    snapshot = tmp_path / "snapshots" / "c"
    snapshot.mkdir(parents=True)
    (snapshot / "x.safetensors").symlink_to(blob)
    index_of(snapshot, {"weight_map": {"a": "x.safetensors"}})
    check_weight_files(snapshot)
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(ModelError, match=r"no x\.safetensors"):
        check_weight_files(snapshot)
