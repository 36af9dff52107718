"""Small random models in the published formats, and a count of what runs through them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DebertaV2ForTokenClassification, MPNetModel

from editgrpo.config import ClinicalConfig
from tests.checkpoints.rate import build_biolord, build_rate_ner


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rate")
    build_rate_ner(folder / "rate-ner")
    build_biolord(folder / "biolord")
    return folder


@pytest.fixture
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Rows that went through each model since the test began."""
    rows = {"entities": 0, "embeddings": 0}

    def count(model: type[torch.nn.Module], what: str) -> None:
        forward = model.forward

        def counting(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            rows[what] += len(kwargs["input_ids"])
            return forward(self, *args, **kwargs)

        monkeypatch.setattr(model, "forward", counting)

    count(DebertaV2ForTokenClassification, "entities")
    count(MPNetModel, "embeddings")
    yield rows
