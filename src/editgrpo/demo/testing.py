"""Reports of a model for the test studies of a set, and their scores."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from editgrpo.config import DataConfig
from editgrpo.data.study import Split
from editgrpo.display.terminal import ProgressCallback
from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.evaluation.files import evaluate_file
from editgrpo.evaluation.types import EvaluationOptions
from editgrpo.training.generate import GenerationConfig, generate_predictions

_BATCH = 64


def tested(
    model: Path,
    data: DataConfig,
    folder: Path,
    *,
    system: str,
    max_tokens: int,
    rare_findings: Sequence[str],
    stage: Callable[[], AbstractContextManager[ProgressCallback]],
) -> Evaluation:
    """Write greedy reports of a model, if they are not there, and score them.

    Args:
        model: Its folder.
        data: The studies, and how they are shown.
        folder: Where predictions and scores go.
        system: What the model is called.
        max_tokens: Longest report.
        rare_findings: Those of the metrics of rare findings.
        stage: Shows the progress of the reports; entered only if some are to be written.

    Returns:
        The scores.

    Raises:
        EditGRPOError: as raised by the generation or the scoring.
    """
    predictions = folder / "predictions.jsonl"
    if not predictions.is_file():
        with stage() as progress:
            generate_predictions(
                model=str(model),
                data=data,
                split=Split.TEST,
                output=predictions,
                config=GenerationConfig(max_completion_tokens=max_tokens, batch_size=_BATCH),
                progress=progress,
            )
    return evaluate_file(
        predictions,
        output=folder,
        system=system,
        options=EvaluationOptions(rare_findings=tuple(rare_findings)),
    )
