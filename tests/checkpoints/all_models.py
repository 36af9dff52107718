"""A models folder with a small random checkpoint of everything that the paper's reward needs."""

from pathlib import Path

from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.radgraph import build_radgraph
from tests.checkpoints.rate import build_biolord, build_rate_ner


def build_paper_models(folder: Path) -> Path:
    """Write the models of the annotators `rate` and `radgraph` and of the reward `paper`.

    Args:
        folder: The models folder.

    Returns:
        The folder.
    """
    build_rate_ner(folder / "rate-ner")
    build_biolord(folder / "biolord")
    build_chexbert(folder / "chexbert")
    build_radgraph(folder / "radgraph-xl")
    return folder
