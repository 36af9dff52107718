"""A card says what a reader must know, and nothing of the machine or of a patient."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from editgrpo.cli import main
from editgrpo.config import DataConfig
from editgrpo.data.prepared.licences import DATASETS
from editgrpo.errors import DataError, ModelError
from editgrpo.sharing.lineage import read_lineage
from editgrpo.sharing.model_card import CardOptions, model_card, read_header
from editgrpo.sharing.results import read_results
from tests.sharing.run_folders import BASE, rl_run, sft_run, write_studies

SCORES: dict[str, Any] = {
    "system": "EditGRPO",
    "n_studies": 312,
    "n_patients": 200,
    "seed": 5,
    "bootstrap_samples": 1000,
    "confidence": 0.95,
    "intervals": "95 % interval over 200 patients (312 studies)",
    "metrics": {
        "radgraph/partial@radgraph-xl": {
            "value": 0.23456, "low": 0.2, "high": 0.27, "direction": "higher"
        },
        "text/empty": {"value": 0.0, "low": None, "high": None, "direction": "lower"},
    },
    "scored_with": {"radgraph-xl": "sha256:abc"},
    "editgrpo": "0.1.0",
    "commit": "f" * 40,
    "command": "editgrpo evaluate /home/somebody/secret.jsonl",
}  # fmt: skip


def scores(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(SCORES | changes))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """SFT on MIMIC-CXR, then EditGRPO on phantom studies."""
    first = sft_run(tmp_path, write_studies(tmp_path / "mimic", "mimic-cxr"))
    studies = write_studies(tmp_path / "phantom", "phantom", train=5)
    return rl_run(tmp_path, studies, str(first / "model-for-rl"))


def header_of(text: str) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return value


def test_a_run_is_called_by_its_own_name(tmp_path: Path) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "studies"))
    assert "\n# sft\n" in model_card(read_lineage(run))
    named = rl_run(tmp_path, write_studies(tmp_path / "own"), BASE, run_name="chest-3b")
    assert "\n# chest-3b\n" in model_card(read_lineage(named))


def test_the_header_is_one_that_the_hub_reads(run: Path, tmp_path: Path) -> None:
    results = tuple(read_results([scores(tmp_path / "evaluation" / "test")]))
    text = model_card(read_lineage(run), CardOptions(title="cxr", results=results))
    data = ModelCard(text).data
    assert (data.base_model, data.library_name) == (BASE, "transformers")
    assert data.pipeline_tag == "image-text-to-text"
    assert (data.license, data.license_name) == ("other", "not-stated")
    assert {"editgrpo", "chest-x-ray", "qwen2_5_vl", "lora"} <= set(data.tags)
    first, second = data.eval_results
    assert (first.metric_name, first.metric_value) == ("radgraph/partial@radgraph-xl", 0.2346)
    assert first.dataset_name == second.dataset_name == "test (312 studies)"
    header = header_of(text)
    assert header["training_data"] == ["mimic-cxr", "phantom"]
    assert header["base_model_relation"] == "finetune"


def test_a_stated_licence_and_a_set_of_the_hub(tmp_path: Path) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "rex", "rexgradient"))
    header = header_of(model_card(read_lineage(run), CardOptions(licence="apache-2.0")))
    assert header["license"] == "apache-2.0" and "license_name" not in header
    assert header["datasets"] == ["rajpurkarlab/ReXGradient-160K"]
    assert "lora" not in header["tags"]


def test_the_text_names_data_terms_training_reward_and_results(run: Path, tmp_path: Path) -> None:
    results = tuple(read_results([scores(tmp_path / "evaluation" / "test")]))
    text = model_card(read_lineage(run), CardOptions(results=results))
    for term in (*DATASETS["mimic-cxr"].terms, *DATASETS["mimic-cxr"].citations):
        assert term in text
    for part in (
        "# rl\n",
        "**Not for clinical use.**",
        f"[{BASE}](https://huggingface.co/{BASE}) at `{'a' * 40}`",
        "### 1. Supervised fine-tuning on the findings",
        "- Data: MIMIC-CXR and MIMIC-CXR-JPG, 2 studies.",
        "- Epoch 2 was the best",
        "### 2. EditGRPO (Dr. GRPO, half of each group rollouts after one sentence edit",
        "- 2 processes, whole copies; started ",
        "| `steps` | 7 |",
        "| `seed` | 3 |",
        "| `optim.learning_rate` | 1.0e-06 |",
        "| `model.lora.rank` | 8 |",  # no default
        "| `entity_f1/partial@rules` | 1 | F1 of entities",
        "### test: 312 studies",
        "| `radgraph/partial@radgraph-xl` | 0.235 | 0.200 to 0.270 | higher |",
        "| `text/empty` | 0.000 | – | lower |",
        "95 % interval over 200 patients (312 studies); 1,000 bootstrap resamples, seed 5.",
        f"Scored as EditGRPO by editgrpo 0.1.0 at {'f' * 40}",
        "radgraph-xl `sha256:abc`",
        "- Images of 784 to 3,136 pixels, sides multiples of 28",
        "- At most 4 images of a study",
        'INDICATION: {{ indication or "not given" }}',
        "@inproceedings{zhang2025editgrpo,",
        "be treated as containing sensitive information",
    ):
        assert part in text, part


def test_nothing_of_the_machine_or_of_a_patient_is_in_it(run: Path, tmp_path: Path) -> None:
    results = tuple(read_results([scores(tmp_path / "evaluation" / "test")]))
    text = model_card(read_lineage(run), CardOptions(results=results))
    for secret in (str(tmp_path), "/home/", "somebody", "Secret finding", "secret"):
        assert secret not in text


def test_a_model_of_phantoms_says_so_and_one_without_a_base_too(tmp_path: Path) -> None:
    studies = write_studies(tmp_path / "phantom", "phantom")
    (tmp_path / "base").mkdir()
    run = rl_run(tmp_path, studies, str(tmp_path / "base"))
    text = model_card(read_lineage(run))
    assert "trained on drawn films of nobody" in text
    assert "a local folder; its origin is not known to this card" in text
    assert "None were given to this card." in text
    assert "base_model" not in header_of(text)


@pytest.mark.slow
def test_the_same_run_gives_the_same_card(run: Path) -> None:
    assert model_card(read_lineage(run)) == model_card(read_lineage(run))


def test_a_template_of_ones_own_is_shown_and_cannot_end_its_frame(tmp_path: Path) -> None:
    studies, template = write_studies(tmp_path / "studies"), tmp_path / "prompt.jinja"
    template.write_text("{# For us #}\nSay ```what``` you see.")
    data = DataConfig(folder=str(studies), prompt_template=str(template))
    text = model_card(read_lineage(sft_run(tmp_path, studies, data=data)))
    assert "````jinja\nSay ```what``` you see.\n````" in text
    assert "For us" not in text


@pytest.mark.parametrize("content", ["no header", "", "---\na: 1\n"])
def test_a_card_without_a_header_has_no_values(tmp_path: Path, content: str) -> None:
    (tmp_path / "README.md").write_text(content)
    assert read_header(tmp_path / "README.md") == {}
    assert read_header(tmp_path / "none.md") == {}


@pytest.mark.parametrize("content", ["---\n[\n---\n", "---\n- a\n---\n"])
def test_a_damaged_header_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "README.md").write_text(content)
    with pytest.raises(ModelError, match="write the card again with `editgrpo card`"):
        read_header(tmp_path / "README.md")


def test_results_are_read_from_folders_files_and_summaries(tmp_path: Path) -> None:
    folder = scores(tmp_path / "site-b")
    summary = tmp_path / "out.summary.json"
    summary.write_text(json.dumps({"systems": [SCORES, SCORES | {"system": "SFT"}]}))
    found = read_results([folder, folder / "scores.json", summary])
    assert [(one.test_set, one.system) for one in found] == [
        ("site-b", "EditGRPO"),
        ("site-b", "EditGRPO"),
        ("out", "EditGRPO"),
        ("out", "SFT"),
    ]


@pytest.mark.parametrize("content", ["{}", "[]", '{"system": "a", "n_studies": 1, "metrics": 3}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"scores\.json: .*; give scores\.json, its folder"):
        read_results([path])


@pytest.mark.slow
def test_the_command_writes_into_the_model_folder_or_a_new_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = run / "model" / "README.md"
    card.write_text("as training left it")
    for words, code in (
        ([], 0),
        (["--output", str(card)], 2),
        (["--output", str(tmp_path / "other.md"), "--title", "cxr"], 0),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["card", str(run), *words])
        assert stop.value.code == code
    assert "training_data:" in card.read_text()
    card.write_text(card.read_text() + "\nMore, by hand.\n")
    for words, code in (([], 2), (["--overwrite"], 0), ([], 0)):
        with pytest.raises(SystemExit) as stop:
            main(["card", str(run), *words])
        assert (stop.value.code, "by hand" in card.read_text()) == (code, code == 2)
    assert "# cxr\n" in (tmp_path / "other.md").read_text()
    assert "It has no results" in capsys.readouterr().out
