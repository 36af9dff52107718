"""A model folder's own code is never run, whatever is typed at a prompt for it."""

import ast
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText

from editgrpo.clinical.pretrained import load_model
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.errors import EditGRPOError
from editgrpo.metrics.green.local import LocalBackend
from editgrpo.metrics.token_embeddings import TokenEncoder
from editgrpo.reports.chexbert_model import CheXbert
from editgrpo.reports.radgraph.loading import load_radgraph
from editgrpo.reports.rate.embeddings import EntityEmbedder
from editgrpo.reports.rate.entities import EntityRecogniser
from editgrpo.training.policy.load import (
    load_checkpoint_weights,
    load_for_inference,
    load_processor,
)
from tests.builders import REPOSITORY
from tests.checkpoints.bert_score import build_distilbert, build_distilroberta
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.green import build_green
from tests.checkpoints.published import QWEN2_5_VL, learnt_vocabulary, write_published
from tests.checkpoints.radgraph import build_radgraph
from tests.checkpoints.rate import build_biolord, build_rate_ner

SOURCES = sorted(
    path for folder in ("src", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")
)
CPU = torch.device("cpu")


def clinical(folder: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(folder.parent), offline=True, device="cpu")


def policy(folder: Path) -> Path:
    return write_published(folder, QWEN2_5_VL, learnt_vocabulary(SENTENCES))


def reload(folder: Path) -> None:
    """Load into a model that stands already, as on resuming."""
    twin = policy(folder.with_name("twin"))
    model = AutoModelForImageTextToText.from_pretrained(twin, dtype=torch.float32)
    load_checkpoint_weights(model, folder)


# What builds a folder, what loads it, and where in it code is named.
PLACES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str]] = {
    "policy": (policy, lambda f: load_for_inference(f, dtype=torch.float32), ""),
    "policy's processor": (policy, load_processor, ""),
    "checkpoint": (policy, reload, ""),
    "rate-ner": (
        build_rate_ner, lambda f: EntityRecogniser(clinical(f)).find(["The heart."]), ""
    ),
    "biolord": (build_biolord, lambda f: EntityEmbedder(clinical(f)).embed(["effusion"]), ""),
    "green": (build_green, lambda f: LocalBackend(clinical(f), max_tokens=20).answer(["Q?"]), ""),
    "chexbert": (
        build_chexbert, lambda f: CheXbert(f, device=CPU, dtype=torch.float32), "tokenizer"
    ),
    "radgraph-xl": (
        build_radgraph, lambda f: load_radgraph(clinical(f), ClinicalModel.RADGRAPH_XL), "encoder"
    ),
    "distilroberta-base": (
        build_distilroberta,
        lambda f: TokenEncoder(
            f, ClinicalModel.DISTILROBERTA, layers=1, device=CPU, dtype=torch.float32
        ),
        "",
    ),
    "distilbert-base-uncased": (
        build_distilbert,
        lambda f: load_model(AutoModel, f, ClinicalModel.DISTILBERT, dtype=torch.float32),
        "",
    ),
}  # fmt: skip
AUTO_MAP = {
    f"Auto{kind}": "evil.Evil"
    for kind in (
        "Config", "Model", "ModelForImageTextToText", "ModelForTokenClassification",
        "ModelForCausalLM", "ImageProcessor", "Processor",
    )
} | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}  # fmt: skip


def plant(folder: Path, trace: Path, *, rename: bool) -> None:
    """Put code into a model folder and name it wherever transformers looks for some.

    Args:
        folder: Holds config.json.
        trace: What the code writes when it is run.
        rename: Whether the classes get names that transformers does not know, so that it has
            nothing but the code to take.
    """
    code = f"open({str(trace)!r}, 'w').close()\nclass Evil:\n    pass\n"
    (folder / "evil.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(code + "def generate(model): ...\n")
    for name, key in (
        ("config.json", "model_type"),
        ("tokenizer_config.json", "tokenizer_class"),
        ("preprocessor_config.json", "image_processor_type"),
        ("processor_config.json", "processor_class"),
    ):
        path = folder / name
        value = json.loads(path.read_text()) if path.is_file() else {}
        value["auto_map"] = AUTO_MAP
        if rename:
            value[key] = "Evil"
        path.write_text(json.dumps(value))


@pytest.mark.slow
@pytest.mark.parametrize("rename", [False, True], ids=["known classes", "unknown classes"])
@pytest.mark.parametrize("place", PLACES)
def test_code_in_a_model_folder_is_not_run_after_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, rename: bool
) -> None:
    build, load, part = PLACES[place]
    folder = tmp_path / "models" / place.partition("'")[0]
    folder.parent.mkdir()
    build(folder)
    trace = tmp_path / "trace"
    plant(folder / part, trace, rename=rename)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    try:
        load(folder)
    except EditGRPOError as error:
        assert rename
        assert "\n" not in str(error)
    assert not trace.exists()
    assert sys.stdin.readline() == "y\n", "a prompt was shown"


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_whoever_loads_something_says_so(path: Path) -> None:
    """A new place is refused here before anybody thinks of adding it above."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("from_pretrained", "from_config")
    ]
    for call in calls:
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert said.get("trust_remote_code") == "False", f"{path}:{call.lineno}"
