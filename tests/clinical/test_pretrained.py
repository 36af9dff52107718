"""A model folder is loaded whole or refused: no weight drawn at random, no empty vocabulary."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DebertaV2Tokenizer

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.metrics.green.local import LocalBackend
from editgrpo.reports.rate.embeddings import EntityEmbedder
from editgrpo.reports.rate.entities import EntityRecogniser
from tests.checkpoints.green import build_green
from tests.checkpoints.rate import build_biolord, build_rate_ner

Use = Callable[[ClinicalConfig], Any]

MODELS: dict[str, tuple[Callable[[Path], Path], Use, str]] = {
    "rate-ner": (
        build_rate_ner,
        lambda config: EntityRecogniser(config).find(["The heart is large."]),
        "classifier.weight",
    ),
    "biolord": (
        build_biolord,
        lambda config: EntityEmbedder(config).embed(["effusion"]),
        "encoder.layer.1.attention.attn.q.weight",
    ),
    "green": (
        build_green,
        lambda config: LocalBackend(config, max_tokens=20).answer(["How many?"]),
        "model.layers.1.mlp.down_proj.weight",
    ),
}
each_model = pytest.mark.parametrize("name", MODELS)


def offline(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


@pytest.mark.slow
@each_model
def test_a_missing_weight_is_refused_by_name(tmp_path: Path, name: str) -> None:
    build, use, weight = MODELS[name]
    file = build(tmp_path / name) / "model.safetensors"
    weights = load_file(file)
    del weights[weight]
    save_file(weights, file, metadata={"format": "pt"})
    before = torch.random.get_rng_state()
    with pytest.raises(ModelError, match=f"the weights lack '{weight}' .* models fetch {name}"):
        use(offline(tmp_path))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
@each_model
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_broken_file_is_refused(tmp_path: Path, name: str, file: str) -> None:
    build, use, _ = MODELS[name]
    (build(tmp_path / name) / file).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match=f"editgrpo models fetch {name}") as caught:
        use(offline(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_vocabulary_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    # What transformers makes of a vocabulary in a form that it has no reader for.
    DebertaV2Tokenizer().save_pretrained(build_rate_ner(tmp_path / "rate-ner"))
    with pytest.raises(ModelError, match=r"vocabulary has \d tokens; .* models fetch rate-ner"):
        EntityRecogniser(offline(tmp_path)).find(["The heart is large."])


def test_a_pooler_is_not_needed(tmp_path: Path) -> None:
    file = build_biolord(tmp_path / "biolord") / "model.safetensors"
    weights = {k: v for k, v in load_file(file).items() if not k.startswith("pooler.")}
    save_file(weights, file, metadata={"format": "pt"})
    assert len(EntityEmbedder(offline(tmp_path)).embed(["effusion"])) == 1


@pytest.mark.slow
@each_model
def test_loading_says_nothing(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    build, use, _ = MODELS[name]
    build(tmp_path / name)
    library = logging.getLogger("transformers")
    library.addHandler(caplog.handler)  # it keeps its records from the root
    try:
        use(offline(tmp_path))
    finally:
        library.removeHandler(caplog.handler)
    assert caplog.messages == []
