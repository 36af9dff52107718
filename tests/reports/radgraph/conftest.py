"""Small random checkpoints, built once."""

from pathlib import Path

import pytest

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.reports.radgraph.extractor import RadGraphExtractor
from tests.checkpoints.radgraph import build_radgraph


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with both checkpoints."""
    folder = tmp_path_factory.mktemp("models")
    build_radgraph(folder / "radgraph-xl", model="radgraph-xl")
    build_radgraph(folder / "radgraph", model="radgraph", packed=False)
    return folder


@pytest.fixture(scope="session")
def config(models: Path) -> ClinicalConfig:
    """Return a configuration that reads those checkpoints on the CPU."""
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


@pytest.fixture
def extractor(config: ClinicalConfig) -> RadGraphExtractor:
    """Return an extractor of radgraph-xl with an empty memory."""
    return RadGraphExtractor(config, ClinicalModel.RADGRAPH_XL)
