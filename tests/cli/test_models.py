"""`editgrpo models` from end to end, against a Hub on this machine."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.clinical.catalogue import CATALOGUE, USES, ClinicalModel
from tests.clinical.hub_server import FakeHub, model_files, served_hub

Run = Callable[..., str]
NER = ClinicalModel.RATE_NER
COMMIT = CATALOGUE[NER].parts[0].revision or ""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with served_hub(monkeypatch) as hub:
        yield hub


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv("EDITGRPO_MODELS", str(folder))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `editgrpo models` and return what it printed; `code` is the exit code to expect."""

    def call(*words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["models", *(str(word) for word in words)])
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.err if code == 2 else captured.out

    return call


def test_a_model_is_fetched_listed_and_verified(hub: FakeHub, models: Path, run: Run) -> None:
    assert run("fetch", "rate-ner") == f"rate-ner: complete, 35.0 kB, in {models / 'rate-ner'}\n"
    (row,) = [line for line in run("list").splitlines() if line.strip().startswith("rate-ner")]
    assert row.split()[-3:] == ["35.0", "kB", "present"]
    assert f"Angelakeke/RaTE-NER-Deberta@{COMMIT[:7]}" in row
    assert run("verify") == "rate-ner: as it should be\n"


def test_every_model_is_listed_with_its_source(models: Path, run: Run) -> None:
    printed = run("list")
    for model, entry in CATALOGUE.items():
        assert f" {model} " in printed
        assert entry.parts[0].repository in printed
    assert printed.count("missing") == len(CATALOGUE)
    assert printed.endswith(f"Folder: {models}\n")


@pytest.mark.slow
def test_a_flipped_byte_is_found_and_repaired(hub: FakeHub, models: Path, run: Run) -> None:
    run("fetch", "rate-ner")
    path = models / "rate-ner" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    fault = "rate-ner: model.safetensors: other content than was fetched (SHA-256 differs)\n"
    assert run("verify", code=1) == fault
    assert "touched" in run("list")
    hub.requests.clear()
    run("fetch", "rate-ner")
    assert hub.downloads() == [], "a fetch reads nothing that has its size"
    run("fetch", "rate-ner", "--rehash")
    assert hub.downloads() == ["model.safetensors"]
    assert run("verify") == "rate-ner: as it should be\n"


def test_what_is_missing_or_cut_is_one_line_each(hub: FakeHub, models: Path, run: Run) -> None:
    run("fetch", "rate-ner")
    (models / "rate-ner" / "tokenizer_config.json").unlink()
    (models / "rate-ner" / "config.json").write_text("{}")
    assert run("verify", "rate-ner", code=1).splitlines() == [
        "rate-ner: config.json: 2 bytes instead of 18",
        "rate-ner: tokenizer_config.json: missing",
    ]
    assert "changed: config.json: 2 bytes" in run("list")
    (models / "rate-ner" / "vocab.txt").unlink()
    assert "incomplete: config.json: 2 bytes" in run("list")
    assert run("verify", "biolord", code=1) == "biolord: no config.json\n"


def test_a_copied_folder_is_verified_once(
    hub: FakeHub, models: Path, run: Run, tmp_path: Path
) -> None:
    run("fetch", "rate-ner")
    copy = tmp_path / "air-gapped"
    shutil.copytree(models, copy, copy_function=shutil.copyfile)  # without times
    assert "touched" in run("list", "--models", copy)
    assert run("verify", "--models", copy) == "rate-ner: as it should be\n"
    assert "touched" not in run("list", "--models", copy)


def test_a_lock_file_pins_what_was_fetched_first(
    hub: FakeHub, models: Path, run: Run, tmp_path: Path
) -> None:
    lock, source = tmp_path / "models.lock.json", "rate-ner=team/ner"
    hub.add("team/ner", model_files(b"first"), "1" * 40)
    run("fetch", "rate-ner", "--source", source, "--lock", lock)
    pinned = json.loads(lock.read_text())["models"]["rate-ner"]
    assert pinned["parts"] == [{"repository": "team/ner", "revision": "1" * 40, "folder": ""}]
    assert "modified_ns" not in pinned["files"]["config.json"], "the same file everywhere"

    elsewhere = ("--source", source, "--lock", lock, "--models", tmp_path / "other")
    run("fetch", "rate-ner", *elsewhere)
    assert hub.requests[-1].split("/resolve/")[1].startswith("1" * 40)
    assert run("verify", "rate-ner", *elsewhere) == "rate-ner: as it should be\n"

    hub.repositories["team/ner"]["config.json"] = b"{}"  # history was rewritten
    third = ("--source", source, "--lock", lock, "--models", tmp_path / "third")
    message = run("fetch", "rate-ner", *third, code=2)
    assert "rate-ner: config.json is not the file that is pinned" in message
    hub.commits["team/ner"] = "2" * 40  # the branch went on, the commit is gone
    assert "no such revision" in run("fetch", "rate-ner", *third, code=2)


def test_a_lock_file_is_met_by_files_put_there_by_hand(
    hub: FakeHub, models: Path, run: Run, tmp_path: Path
) -> None:
    lock, own = tmp_path / "models.lock.json", tmp_path / "own"
    run("fetch", "rate-ner", "--lock", lock)
    shutil.copytree(models / "rate-ner", own)
    words = ("verify", "rate-ner", "--source", f"rate-ner={own}", "--lock", lock)
    assert run(*words) == "rate-ner: as it should be\n"
    (own / "vocab.txt").write_text("[PAD]\nbone\n")
    assert run(*words, code=1).startswith("rate-ner: vocab.txt: other content")


def test_files_put_there_by_hand_are_compared_with_the_catalogue(
    hub: FakeHub, models: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("fetch", "rate-ner")
    (models / "rate-ner" / "editgrpo-model.json").unlink()
    assert run("verify") == "rate-ner: as it should be\n"
    pinned = replace(CATALOGUE[NER], sha256={"model.safetensors": "0" * 64})
    monkeypatch.setitem(CATALOGUE, NER, pinned)
    assert run("verify", code=1) == (
        "rate-ner: model.safetensors: not the pinned file (SHA-256 differs)\n"
    )


def test_another_commit_is_fetched_in_its_place(
    hub: FakeHub, models: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("fetch", "rate-ner")
    entry = CATALOGUE[NER]
    newer = replace(entry, parts=(replace(entry.parts[0], revision="d" * 40),))
    monkeypatch.setitem(CATALOGUE, NER, newer)
    hub.add_model(NER, model_files(b"newer"))
    run("fetch", "rate-ner")
    assert (models / "rate-ner" / "config.json").read_bytes().endswith(b"newer")
    assert f"@{'d' * 7}" in run("list")
    assert sorted(path.name for path in models.iterdir()) == [".rate-ner.lock", "rate-ner"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch"], "name models, or give --all, or --for; see editgrpo models list"),
        (["fetch", "rate-ner", "--all"], "name models, or give --all, or --for"),
        (["fetch", "rate"], "there is no clinical model 'rate'; it must be one of rate-ner, biol"),
        (["verify", "rate"], "there is no clinical model 'rate'"),
        (["fetch", "--for", "x"], "--for is 'x'; it must be one of paper, paper-7, radcliq-v1"),
        (["list", "--source", "rate-ner"], "--source rate-ner: write it as model=folder"),
        (["list", "--source", "ner=/"], "there is no clinical model 'ner'"),
        (["verify"], "no model there; run `editgrpo models fetch`"),
        (["verify", "--lock", "none.json"], "none.json: no such lock file"),
    ],
)
def test_bad_input_is_one_line(models: Path, run: Run, words: list[str], message: str) -> None:
    printed = run(*words, code=2)
    assert message in printed
    assert printed.count("\n") == 1


def test_a_lock_file_of_another_form_is_refused(
    hub: FakeHub, models: Path, run: Run, tmp_path: Path
) -> None:
    lock = tmp_path / "lock.json"
    for content, message in (
        ("{", "cannot be read (JSONDecodeError); remove it and fetch again"),
        ("[]", "not a JSON object"),
        ("{}", "no models in it"),
        ('{"models": {"rate-ner": {"parts": 3}}}', "not the record of a fetched model"),
    ):
        lock.write_text(content)
        assert message in run("fetch", "rate-ner", "--lock", lock, code=2)
    assert hub.requests == []


def test_fetching_offline_is_refused(models: Path, run: Run) -> None:
    assert "downloads are off; unset HF_HUB_OFFLINE" in run("fetch", "--for", "paper", code=2)


def test_the_paper_needs_what_its_reward_reads() -> None:
    assert {model.value for model in USES["paper"]} == {
        "rate-ner",
        "biolord",
        "chexbert",
        "radgraph-xl",
    }


def test_a_folder_that_cannot_be_written_is_one_line(
    hub: FakeHub, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    message = run("fetch", "rate-ner", "--models", tmp_path / "file" / "models", code=2)
    assert "name a folder that can be written with --models or EDITGRPO_MODELS" in message


# The base model of a recipe -----------------------------------------------------------------------

BASE_COMMIT = "5f0c" * 10


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What is asked of the Hub, which answers with a folder named by the commit."""
    requests: list[tuple[str, str | None]] = []
    snapshot = tmp_path / "snapshots" / BASE_COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))

    def download(path: str, *, revision: str | None, **_: object) -> str:
        requests.append((path, revision))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    return requests


@pytest.mark.parametrize("recipe", ["sft-mimic-cxr", "editgrpo-mimic-cxr"])
def test_the_base_model_of_a_recipe_is_fetched_and_its_commit_is_said(
    run: Run, asked: list[tuple[str, str | None]], recipe: str
) -> None:
    said = run("fetch", "--base", recipe, "--set", "model.path=Qwen/Qwen2.5-VL-3B-Instruct")
    assert {path for path, _ in asked} == {"Qwen/Qwen2.5-VL-3B-Instruct"}
    assert "Qwen/Qwen2.5-VL-3B-Instruct: complete, in " in said
    assert f"To pin it in every run: --set model.revision={BASE_COMMIT}\n" in said
    pinned = run(
        "fetch",
        "--base",
        recipe,
        "--set",
        "model.path=a/b",
        "--set",
        f"model.revision={BASE_COMMIT}",
    )
    assert asked[-1] == ("a/b", BASE_COMMIT)
    assert "To pin it" not in pinned


def test_a_base_model_on_disk_is_not_fetched_and_wrong_requests_are_refused(
    run: Run, asked: list[tuple[str, str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = run("fetch", "--base", "sft-mimic-cxr", "--set", f"model.path={tmp_path}")
    assert local == f"{tmp_path}: a local folder; nothing to fetch\n"
    assert "alone; fetch others after it" in run("fetch", "chexbert", "--base", "a", code=2)
    assert "give one by --base" in run("fetch", "chexbert", "--set", "seed=1", code=2)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "downloads are off" in run("fetch", "--base", "sft-mimic-cxr", code=2)
    assert asked == []
