"""Archives are read without trust, and a damaged one is told."""

import gzip
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.reports.radgraph.archive import read_archive
from editgrpo.reports.radgraph.loading import load_radgraph
from tests.checkpoints.radgraph import ENTITY_LABELS, RELATION_LABELS, build_radgraph


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """Return a copy of the extracted checkpoint, to be spoilt."""
    return Path(shutil.copytree(models / "radgraph", tmp_path / "radgraph"))


def load(folder: Path) -> None:
    config = ClinicalConfig(models=str(folder.parent), offline=True, device="cpu")
    load_radgraph(config, ClinicalModel.RADGRAPH)


def test_a_packed_archive_holds_what_its_files_hold(tmp_path: Path) -> None:
    packed = read_archive(build_radgraph(tmp_path / "a"), "radgraph-xl")
    loose = read_archive(build_radgraph(tmp_path / "b", packed=False), "radgraph-xl")
    assert (
        packed.labels
        == loose.labels
        == {
            "radgraph-xl__ner_labels": ("", *ENTITY_LABELS["radgraph-xl"]),
            "radgraph-xl__relation_labels": RELATION_LABELS,
        }
    )
    assert packed.config["model"]["modules"] == loose.config["model"]["modules"]
    assert packed.weights.keys() == loose.weights.keys()
    assert all(torch.equal(loose.weights[name], weight) for name, weight in packed.weights.items())


def test_nothing_of_an_archive_is_written_to_disk(tmp_path: Path) -> None:
    build_radgraph(tmp_path / "a")
    path = tmp_path / "a" / "radgraph-xl.tar.gz"
    with tarfile.open(path) as archive:
        members = [(m, archive.extractfile(m).read()) for m in archive]  # type: ignore[union-attr]
    with tarfile.open(path, "w:gz") as archive:
        for member, content in [*members, (tarfile.TarInfo("../outside.txt"), b"x")]:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    read_archive(tmp_path / "a", "radgraph-xl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["encoder", "radgraph-xl.tar.gz"]


def test_pickled_objects_are_refused(folder: Path) -> None:
    (folder / "weights.th").write_bytes(pickle.dumps({"weight": Path("x")}))
    with pytest.raises(ModelError, match=r"weights\.th.*damaged or of another format"):
        read_archive(folder, "radgraph")


@pytest.mark.parametrize("keep", [10, 5000])
def test_a_truncated_archive_is_told(tmp_path: Path, keep: int) -> None:
    path = build_radgraph(tmp_path / "a") / "radgraph-xl.tar.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cannot be read") as caught:
        read_archive(path.parent, "radgraph-xl")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "radgraph.tar.gz").write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(ModelError, match="models fetch"):
        read_archive(tmp_path, "radgraph")


def test_an_archive_without_weights_is_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "radgraph.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("config.json.txt"))
    with pytest.raises(ModelError, match=r"holds no config\.json, weights\.th"):
        read_archive(tmp_path, "radgraph")


def change_weights(folder: Path, change: Mapping[str, torch.Tensor | None]) -> None:
    state = torch.load(folder / "weights.th", weights_only=True)
    state = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    torch.save(state, folder / "weights.th")


SCORER = "_ner._ner_scorers.radgraph__ner_labels.1._module.bias"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({SCORER: None}, r"bias is missing, \(4,\) was expected"),
        ({SCORER: torch.zeros(5)}, r"bias has the shape \(5,\), \(4,\) was expected"),
        ({SCORER: torch.full((4,), torch.nan)}, "bias holds NaN"),
        ({"_lexical.weight": torch.zeros(1)}, r"1 parameters are unknown, the first _lexical"),
    ],
)
def test_parameters_that_do_not_fit_are_told(
    folder: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    change_weights(folder, change)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_what_inference_does_not_need_is_listed(folder: Path) -> None:
    # Position ids are a constant that older archives carry among the weights.
    encoder = "_embedder.token_embedder_bert._matched_embedder.transformer_model"
    added = {
        f"{encoder}.embeddings.position_ids": torch.arange(4),
        "_ner._ner_scorers.other__ner_labels": torch.zeros(1),
    }
    change_weights(folder, added)
    config = ClinicalConfig(models=str(folder.parent), offline=True, device="cpu")
    unused = load_radgraph(config, ClinicalModel.RADGRAPH).unused
    assert {name.split(".")[0] for name in unused} == {"_coref", "_events", "_embedder", "_ner"}
    assert len([name for name in unused if name.startswith("_coref.")]) == 15


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "modules", "coref", "coref_prop"), 2, "without coreference propagation"),
        (("model", "loss_weights", "relation"), 0.0, "not an entity and relation model"),
        (("dataset_reader", "max_span_width"), 3, "not an entity and relation model"),
        (("model", "modules", "relation"), {}, "lacks 'spans_per_word'"),
    ],
)
def test_another_architecture_is_told(
    folder: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    inner = config
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_labels_of_another_data_set_are_told(folder: Path) -> None:
    names = folder / "vocabulary" / "radgraph__ner_labels.txt"
    names.rename(names.with_name("scierc__ner_labels.txt"))
    with pytest.raises(ModelError, match="lacks 'radgraph__ner_labels'"):
        load(folder)
