"""Folders and identities of the clinical models, fetched from a Hub on this machine."""

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.clinical.catalogue import CATALOGUE, COMMIT, ENCODER_REVISIONS, matching
from editgrpo.clinical.manifest import MANIFEST, read_manifest
from editgrpo.clinical.weights import ClinicalModel, model_folder, model_identity
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, ModelError
from tests.clinical.hub_server import (
    BRANCH_COMMIT,
    ENCODER,
    FakeHub,
    drop_pinned_hashes,
    model_files,
    point_to,
    radgraph_archive,
    served_hub,
)

NER = ClinicalModel.RATE_NER


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with served_hub(monkeypatch) as hub:
        yield hub


@pytest.fixture
def config(tmp_path: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(tmp_path / "models"))


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_missing_model_is_fetched_whole_and_nothing_else(
    hub: FakeHub, config: ClinicalConfig
) -> None:
    folder = model_folder(NER, config)
    assert folder == Path(config.models or "") / "rate-ner"
    taken = {"config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"}
    assert contents(folder) == {*taken, MANIFEST}
    assert set(hub.downloads()) == taken, "code, pickles and folders stay where they are"
    assert sorted(path.name for path in folder.parent.iterdir()) == [".rate-ner.lock", "rate-ner"]


def test_the_manifest_pins_commit_and_content(hub: FakeHub, config: ClinicalConfig) -> None:
    folder = model_folder(NER, config)
    manifest = read_manifest(folder)
    assert manifest is not None
    (part,) = manifest.parts
    assert part.revision == CATALOGUE[NER].parts[0].revision
    weights = model_files()["model.safetensors"]
    assert manifest.files["model.safetensors"].sha256 == hashlib.sha256(weights).hexdigest()
    assert manifest.files["model.safetensors"].size == len(weights)


def test_a_model_that_is_there_asks_nothing(hub: FakeHub, config: ClinicalConfig) -> None:
    model_folder(NER, config)
    asked = len(hub.requests)
    hub.is_down = True
    model_folder(NER, config)
    assert len(hub.requests) == asked


def test_pickled_weights_are_taken_where_nothing_else_is(
    hub: FakeHub, config: ClinicalConfig
) -> None:
    del hub.repositories[CATALOGUE[NER].parts[0].repository]["model.safetensors"]
    assert "pytorch_model.bin" in contents(model_folder(NER, config))


def test_chexbert_is_put_together_from_two_repositories(
    hub: FakeHub, config: ClinicalConfig
) -> None:
    hub.add_model(ClinicalModel.CHEXBERT, {"chexbert.pth": b"state", "radgraph.tar.gz": b"x"})
    tokenizer = CATALOGUE[ClinicalModel.CHEXBERT].parts[1]
    hub.add(tokenizer.repository, model_files(), tokenizer.revision or "")
    expected = {"chexbert.pth", MANIFEST}
    expected |= {f"tokenizer/{n}" for n in ("config.json", "vocab.txt", "tokenizer_config.json")}
    assert contents(model_folder(ClinicalModel.CHEXBERT, config)) == expected


def test_the_archive_names_its_encoder(hub: FakeHub, config: ClinicalConfig) -> None:
    hub.add_model(ClinicalModel.RADGRAPH_XL, {"radgraph-xl.tar.gz": radgraph_archive()})
    hub.add(ENCODER, model_files(), ENCODER_REVISIONS[ENCODER])
    folder = model_folder(ClinicalModel.RADGRAPH_XL, config)
    encoder = {f"encoder/{n}" for n in ("config.json", "vocab.txt", "tokenizer_config.json")}
    assert contents(folder) == {"radgraph-xl.tar.gz", MANIFEST, *encoder}
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.parts[1].repository == ENCODER
    assert manifest.parts[1].revision == ENCODER_REVISIONS[ENCODER]


def test_an_unknown_encoder_is_pinned_by_its_first_fetch(
    hub: FakeHub, config: ClinicalConfig
) -> None:
    archive = radgraph_archive("somewhere/encoder")
    hub.add_model(ClinicalModel.RADGRAPH_XL, {"radgraph-xl.tar.gz": archive})
    hub.add("somewhere/encoder", model_files())
    manifest = read_manifest(model_folder(ClinicalModel.RADGRAPH_XL, config))
    assert manifest is not None
    assert manifest.parts[1].revision == BRANCH_COMMIT


def test_an_interrupted_download_continues_at_its_byte(
    hub: FakeHub, config: ClinicalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.stops["model.safetensors"] = 12_345
    with pytest.raises(ModelError, match=r"^rate-ner: .*no config\.json.*`editgrpo models fetch"):
        model_folder(NER, config)
    assert not (Path(config.models or "") / "rate-ner").exists(), "complete or absent"
    hub.is_down = False
    hub.requests.clear()
    folder = model_folder(NER, config)
    assert hub.ranges == {"model.safetensors": "bytes=12000-"}, "all whole pieces are kept"
    assert hub.downloads().count("config.json") == 0, "whole files are kept too"
    assert (folder / "model.safetensors").read_bytes() == model_files()["model.safetensors"]


def test_a_beginning_of_other_content_is_thrown_away(hub: FakeHub, config: ClinicalConfig) -> None:
    staging = Path(config.models or "") / ".rate-ner.partial"
    staging.mkdir(parents=True)
    (staging / "model.safetensors.part").write_bytes(b"other beginning")
    (staging / "stray.txt").write_text("of an earlier attempt")
    folder = model_folder(NER, config)
    assert (folder / "model.safetensors").read_bytes() == model_files()["model.safetensors"]
    assert not (folder / "stray.txt").exists()


@pytest.mark.parametrize(
    ("name", "digits"), [("model.safetensors", 64), ("config.json", 40)], ids=["LFS", "git"]
)
def test_a_file_of_another_hash_than_the_hub_states_is_refused(
    hub: FakeHub, config: ClinicalConfig, name: str, digits: int
) -> None:
    hub.stated[name] = "0" * digits
    with pytest.raises(ModelError, match=rf"{name} arrived with another hash"):
        model_folder(NER, config)
    assert not (Path(config.models or "") / "rate-ner").exists()


def test_a_file_of_another_hash_than_the_catalogue_pins_is_refused(
    hub: FakeHub, config: ClinicalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(CATALOGUE[NER], sha256={"model.safetensors": "0" * 64})
    monkeypatch.setitem(CATALOGUE, NER, entry)
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that is pinned"):
        model_folder(NER, config)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"is_gated": True}, r"accept terms first; do so at https://huggingface\.co/Angelakeke"),
        ({"is_down": True}, "the Hub answered with status 503"),
        ({"repositories": {}}, "no such repository, or not open to you"),
        ({"commits": {"Angelakeke/RaTE-NER-Deberta": "c" * 40}}, "no such revision"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    hub: FakeHub, config: ClinicalConfig, fault: dict[str, object], message: str
) -> None:
    for name, value in fault.items():
        setattr(hub, name, value)
    with pytest.raises(ModelError, match=message) as raised:
        model_folder(NER, config)
    assert "\n" not in str(raised.value)


def test_no_server_is_one_line(config: ClinicalConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"no connection to the Hub .*models fetch rate-ner") as e:
        model_folder(NER, config)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("by_environment", [True, False])
def test_offline_names_the_command(
    hub: FakeHub, config: ClinicalConfig, monkeypatch: pytest.MonkeyPatch, by_environment: bool
) -> None:
    if by_environment:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = replace(config, offline=not by_environment)
    with pytest.raises(ModelError) as raised:
        model_folder(NER, offline)
    folder = Path(config.models or "") / "rate-ner"
    assert str(raised.value) == (
        f"rate-ner: {folder} has no config.json, and downloads are off; run `editgrpo models fetch "
        f"rate-ner --models {config.models}` where there is a network"
    )
    assert hub.requests == []


def test_a_truncated_copy_is_found_without_hashing(hub: FakeHub, config: ClinicalConfig) -> None:
    folder = model_folder(NER, config)
    os.truncate(folder / "model.safetensors", 100)
    with pytest.raises(ModelError, match=r"incomplete model\.safetensors: 100 bytes instead of 35"):
        model_folder(NER, replace(config, offline=True))
    asked = len(hub.downloads())
    model_folder(NER, config)
    assert (folder / "model.safetensors").read_bytes() == model_files()["model.safetensors"]
    assert hub.downloads()[asked:] == ["model.safetensors"], "what was right is kept"


def test_own_files_in_the_models_folder_are_used_and_never_replaced(
    hub: FakeHub, config: ClinicalConfig
) -> None:
    folder = Path(config.models or "") / "rate-ner"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="fetch did not write what is there"):
        model_folder(NER, config)
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        (folder / name).write_bytes(b"{}")
    assert model_folder(NER, config) == folder
    assert hub.downloads() == []
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_local_folder_replaces_the_pinned_source(tmp_path: Path, config: ClinicalConfig) -> None:
    own = tmp_path / "own"
    own.mkdir()
    chosen = replace(config, sources={"rate-ner": str(own)})
    (own / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"own has no tokenizer\.json or vocab\.txt .*complete"):
        model_folder(NER, chosen)
    (own / "spm.model").write_text("")
    (own / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-1.safetensors"}})
    )
    with pytest.raises(ModelError, match=r"no model-1\.safetensors, which model\.safetensors\.ind"):
        model_folder(NER, chosen)
    (own / "model-1.safetensors").write_text("")
    assert model_folder(NER, chosen) == own


def test_another_repository_gets_a_folder_of_its_own(hub: FakeHub, config: ClinicalConfig) -> None:
    hub.add("team/ner", model_files(b"2"))
    pinned = model_folder(NER, config)
    chosen = replace(config, sources={"rate-ner": f"team/ner@{BRANCH_COMMIT}"})
    other = model_folder(NER, chosen)
    assert other != pinned
    assert (other / "config.json").read_bytes() == model_files(b"2")["config.json"]
    assert model_identity(NER, chosen) != model_identity(NER, config)


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all", "a b/c", "name"])
def test_a_source_that_is_nothing_is_refused(config: ClinicalConfig, source: str) -> None:
    with pytest.raises(ConfigError, match="neither a folder nor a Hub id"):
        model_folder(NER, replace(config, sources={"rate-ner": source}))


def test_a_source_of_an_unknown_model_is_refused(config: ClinicalConfig) -> None:
    with pytest.raises(ConfigError, match=r"no clinical model 'rate'.*rate-ner, biolord"):
        model_folder(NER, replace(config, sources={"rate": "/"}))


def test_the_models_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITGRPO_MODELS", str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match=r"elsewhere/rate-ner has no config\.json"):
        model_folder(NER, ClinicalConfig())


def test_the_identity_names_content_wherever_it_lies(
    hub: FakeHub, config: ClinicalConfig, tmp_path: Path
) -> None:
    fetched = model_identity(NER, config)
    folder = model_folder(NER, config)
    own = tmp_path / "own"
    own.mkdir()
    for name in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"):
        shutil.copyfile(folder / name, own / name)
    (own / "README.md").write_text("belongs to nobody")
    chosen = replace(config, sources={"rate-ner": str(own)})
    assert model_identity(NER, chosen) == fetched
    (own / "vocab.txt").write_text("[PAD]\nrib\n")
    assert model_identity(NER, chosen) != fetched


def test_the_identity_is_the_hash_over_names_and_hashes(
    tmp_path: Path, config: ClinicalConfig
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name, content in (("config.json", b"{}"), ("vocab.txt", b"a"), ("model.safetensors", b"")):
        (own / name).write_bytes(content)
    # SHA-256 of "{}", of nothing and of "a", as published test vectors and `sha256sum` give them.
    lines = (
        "config.json\x0044136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n"
        "model.safetensors\x00e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        "vocab.txt\x00ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\n"
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert model_identity(NER, replace(config, sources={"rate-ner": str(own)})) == expected


def test_the_identity_reads_no_content_while_the_manifest_holds(
    hub: FakeHub, config: ClinicalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder(NER, config)
    hashed: list[str] = []
    real = hashlib.sha256

    def count(path: Path) -> str:
        hashed.append(path.name)
        return real(path.read_bytes()).hexdigest()

    monkeypatch.setattr("editgrpo.clinical.weights.file_sha256", count)
    first = model_identity(NER, config)
    assert hashed == []
    os.utime(folder / "vocab.txt", ns=(0, 0))  # as after a copy that keeps no times
    assert model_identity(NER, config) == first
    assert len(hashed) == 4
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.files["vocab.txt"].modified_ns == 0, "true again for the next process"


def test_the_identity_follows_content_that_changed_in_place(
    hub: FakeHub, config: ClinicalConfig
) -> None:
    folder = model_folder(NER, config)
    before = model_identity(NER, config)
    (folder / "vocab.txt").write_bytes(b"[PAD]\nbone\n")  # of the same size
    assert model_identity(NER, config) != before


def _fetch_in_a_process(address: str, models: str, results: "multiprocessing.Queue[str]") -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        drop_pinned_hashes(monkeypatch)
        point_to(monkeypatch, address)
        results.put(model_identity(NER, ClinicalConfig(models=models)))


@pytest.mark.slow
def test_processes_that_ask_at_once_fetch_once(hub: FakeHub, config: ClinicalConfig) -> None:
    from huggingface_hub import constants

    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    words = (constants.ENDPOINT, config.models, results)
    processes = [context.Process(target=_fetch_in_a_process, args=words) for _ in range(3)]
    for process in processes:
        process.start()
    identities = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(identities) == 1
    assert sorted(hub.downloads()) == [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_every_source_is_pinned_to_a_commit() -> None:
    revisions = {part.revision or "" for entry in CATALOGUE.values() for part in entry.parts}
    for revision in revisions | set(ENCODER_REVISIONS.values()):
        assert COMMIT.fullmatch(revision), revision
    assert set(CATALOGUE) == set(ClinicalModel)


def test_a_star_stays_within_its_folder() -> None:
    names = ["model-1.safetensors", "model-1/of.safetensors", "a/model-2.safetensors"]
    assert matching(names, ["model-*.safetensors"]) == ["model-1.safetensors"]
    assert matching(names, ["a/model-*.safetensors"]) == ["a/model-2.safetensors"]


def test_nothing_that_could_run_is_on_a_list() -> None:
    patterns = {name for entry in CATALOGUE.values() for name in entry.patterns()}
    assert not [name for name in patterns if name.endswith((".py", ".pkl", ".so", "*"))]


def test_asking_for_a_folder_that_is_there_is_quick(hub: FakeHub, config: ClinicalConfig) -> None:
    model_folder(NER, config)
    started = time.perf_counter()
    for _ in range(20):
        model_folder(NER, config)
    assert time.perf_counter() - started < 1.0
