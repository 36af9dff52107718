"""Damaged archives, tables and weights: read or refused in one line, and nothing else."""

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import BertConfig

from editgrpo.clinical.archive import encoder_of_archive
from editgrpo.clinical.catalogue import CATALOGUE, ClinicalModel
from editgrpo.clinical.manifest import MANIFEST, read_manifest
from editgrpo.clinical.model_folder import missing_files
from editgrpo.config import ClinicalConfig
from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.data.mimic_cxr.reports import ReportFiles
from editgrpo.data.prepared.arrow_files import read_arrow
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.image_writer import ImageStoreWriter
from editgrpo.data.readers.csv_columns import read_columns
from editgrpo.data.readers.table import read_table
from editgrpo.data.verify import verify
from editgrpo.errors import EditGRPOError
from editgrpo.reports.chexbert_network import load_network
from editgrpo.reports.radgraph.loading import load_radgraph
from editgrpo.reports.rate.embeddings import EntityEmbedder
from editgrpo.reports.rate.entities import EntityRecogniser
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.radgraph import build_radgraph
from tests.checkpoints.rate import build_biolord, build_rate_ner
from tests.data.small_sets import write_small_set
from tests.mutations import mutations

pytestmark = pytest.mark.slow

Read = Callable[[Path], object]

XML = b"<a><uId id='CXR7'/><AbstractText Label='FINDINGS'>Clear.</AbstractText></a>"
REPORT = "p10/p10000032/s50414267.txt"
CSV = b"study_id,findings\n" + b'1,Clear.\n2,"Small, left\n effusion."\n' * 30


def tar(members: Sequence[tuple[str, bytes]], mode: str, kind: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=kind) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if kind == tarfile.PAX_FORMAT:
                member.pax_headers = {"comment": "x" * 200}
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zipped(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def read_mimic(path: Path) -> object:
    with ReportFiles.open(path) as reports:
        return reports.read("10000032", "50414267")


def read_iu(path: Path) -> object:
    return read_reports(path, None)


def read_long(path: Path) -> object:
    return read_columns(path, ["study_id", "findings"])


CONFIG = {"model": {"embedder": {"token_embedders": {"bert": {"model_name": "a/b"}}}}}
MIMIC = [(f"files/{REPORT}", b"FINDINGS: Clear."), ("index.html", b"x" * 2000)]
FILES: dict[str, tuple[str, bytes, Read]] = {
    "IU tar.gz": ("r.tgz", tar([("a/7.xml", XML)], "w:gz"), read_iu),
    "IU tar": ("r.tgz", tar([("a/7.xml", XML)], "w", tarfile.GNU_FORMAT), read_iu),
    "IU tar.bz2": ("r.tgz", tar([("a/7.xml", XML)], "w:bz2"), read_iu),
    "IU tar.xz": ("r.tgz", tar([("a/7.xml", XML)], "w:xz"), read_iu),
    "MIMIC zip": ("r.zip", zipped(MIMIC), read_mimic),
    "MIMIC stored zip": ("r.zip", zipped(MIMIC, zipfile.ZIP_STORED), read_mimic),
    "MIMIC bz2 zip": ("r.zip", zipped(MIMIC, zipfile.ZIP_BZIP2), read_mimic),
    "MIMIC xz zip": ("r.zip", zipped(MIMIC, zipfile.ZIP_LZMA), read_mimic),
    "MIMIC tar.gz": ("r.tar.gz", tar(MIMIC, "w:gz"), read_mimic),
    "gzipped table": ("t.csv.gz", gzip.compress(CSV), read_table),
    "gzipped lines": ("t.jsonl.gz", gzip.compress(b'{"a": "b"}\n' * 40), read_table),
    "gzipped long table": ("t.csv.gz", gzip.compress(CSV), read_long),
    "zipped long table": ("t.zip", zipped([("t.csv", CSV)]), read_long),
    "AllenNLP archive": (
        "a.tar.gz",
        tar([("config.json", json.dumps(CONFIG).encode()), ("weights.th", bytes(999))], "w:gz"),
        encoder_of_archive,
    ),
}


def written(path: Path, content: bytes) -> Path:
    """Write a file anew: what was read before may still be mapped, and must not change."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def outcome(read: Read, path: Path, content: bytes) -> str | None:
    """Return why a file is refused, None if it is read; anything else is an error."""
    written(path, content)
    try:
        read(path)
    except EditGRPOError as error:
        message = str(error)
        assert str(path.parent) in message
        assert "; " in message
        assert "\n" not in message
        return message
    return None


@pytest.mark.parametrize("kind", FILES)
def test_damaged_archives_and_tables_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    name, content, read = FILES[kind]
    assert outcome(read, tmp_path / name, content) is None
    refused = [outcome(read, tmp_path / name, part) for part in mutations(content, 200, seed=3)]
    assert sum(message is not None for message in refused) > 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_chexbert(folder / "chexbert")
    build_radgraph(folder / "radgraph-xl")
    build_rate_ner(folder / "rate-ner")
    build_biolord(folder / "biolord")
    return folder


def copied(models: Path, folder: Path, name: str) -> Path:
    return Path(shutil.copytree(models / name, folder / name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_damaged_chexbert_is_loaded_or_refused(
    models: Path, tmp_path: Path, is_zip: bool
) -> None:
    path = copied(models, tmp_path, "chexbert") / "chexbert.pth"
    state = torch.load(path, weights_only=True)
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    # The pickle is what a parser reads: its front, or in a zip archive behind the first header.
    config = BertConfig.from_pretrained(path.parent / "tokenizer")

    def read(path: Path) -> object:
        return load_network(config, path)

    assert outcome(read, path, content) is None
    front, rest = content[:20_000], content[20_000:]
    for part in mutations(front, 60, seed=5):
        outcome(read, path, part + rest)
    for part in mutations(content, 60, seed=6):
        outcome(read, path, part)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_radgraph_is_loaded_or_refused(models: Path, tmp_path: Path) -> None:
    folder = copied(models, tmp_path, "radgraph-xl")
    config = ClinicalConfig(models=str(tmp_path), offline=True, device="cpu")

    def read(_: Path) -> object:
        return load_radgraph(config, ClinicalModel.RADGRAPH_XL)

    path = folder / "radgraph-xl.tar.gz"
    content = path.read_bytes()
    assert outcome(read, path, content) is None
    for part in mutations(content, 25, seed=7):
        outcome(read, path, part)
    # Undamaged outside, damaged inside: the configuration, the labels, the pickle.
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = [
            (member.name, archive.extractfile(member).read())  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        ]
    for name, inner in files:
        others = [(other, same) for other, same in files if other != name]
        for part in mutations(inner[:4000], 12, seed=8):
            damaged = tar([(name, part + inner[4000:]), *others], "w:gz")
            outcome(read, path, damaged)


WHOLE: dict[str, tuple[str, Callable[[ClinicalConfig], object]]] = {
    "rate-ner": ("rate-ner", lambda config: EntityRecogniser(config).find(["Clear lungs."])),
    "biolord": ("biolord", lambda config: EntityEmbedder(config).embed(["effusion"])),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", WHOLE)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damaged_files_of_a_hugging_face_folder_are_loaded_or_refused(
    models: Path, tmp_path: Path, model: str, name: str
) -> None:
    folder, use = WHOLE[model]
    path = copied(models, tmp_path, folder) / name
    config = ClinicalConfig(models=str(tmp_path), offline=True, device="cpu")
    content = path.read_bytes()
    front, rest = content[:6000], content[6000:]
    for part in mutations(front, 12, seed=9):
        outcome(lambda _: use(config), path, part + rest)


@pytest.mark.parametrize("depth", [0, 200_000])
def test_damaged_records_of_models_are_read_or_refused(tmp_path: Path, depth: int) -> None:
    record = {
        "model": "chexbert",
        "parts": [{"repository": "a/b", "revision": "c", "folder": ""}],
        "files": {"chexbert.pth": {"size": 1, "sha256": "0" * 64, "modified_ns": 3}},
    }
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model-1.safetensors").write_bytes(b"")
    entry = CATALOGUE[ClinicalModel.GREEN]
    cases: list[tuple[str, object, Read]] = [
        (MANIFEST, record, lambda path: read_manifest(path.parent)),
        ("model.safetensors.index.json", index, lambda path: missing_files(entry, path.parent)),
    ]
    for name, value, read in cases:
        content = json.dumps(value).encode()
        outcome(read, tmp_path / name, b"[" * depth + content)
        for part in mutations(content, 150, seed=10):
            outcome(read, tmp_path / name, b"[" * depth + part)


def test_a_damaged_prepared_set_is_read_or_refused(tmp_path: Path) -> None:
    folder = write_small_set(tmp_path)
    shard, index = (folder / "images" / name for name in ("shard-00000.arrow", "index.arrow"))
    names = list(ImageStore.open(folder))

    def use(_: Path) -> None:
        store = ImageStore.open(folder)
        assert store.blank <= set(names)
        for name in names:
            store.load(name)

    for path in (index, shard):
        content = path.read_bytes()
        for part in mutations(content, 40, seed=13):
            outcome(use, path, part)
            outcome(read_arrow, path, part)
            verify(folder, workers=1)
            assert ImageStoreWriter(folder, names).done in (0, len(names))
        written(path, content)
