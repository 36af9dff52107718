"""Writing reports with a trained policy: in memory for validation, or to a resumable file."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editgrpo.config import DataConfig
from editgrpo.data.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.files import json_line, read_jsonl
from editgrpo.training.models import (
    generation_tokens,
    load_for_inference,
    load_processor,
    resolve_model_folder,
)
from editgrpo.training.prompts import PromptEncoder
from editgrpo.training.rollouts import SamplingSettings, sample_responses
from editgrpo.training.seeds import uniform_draws

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationConfig:
    """How reports are generated."""

    max_completion_tokens: int = 256
    """Longest report, its end-of-sequence token included."""
    temperature: float = 0.0
    """0 takes the likeliest token; above 0 samples."""
    batch_size: int = 16
    """Studies in one pass."""
    seed: int = 0
    """Decides the draws of sampling; unused at temperature 0."""


def generate_reports(
    model: Any, encoder: PromptEncoder, studies: Sequence[Study], config: GenerationConfig
) -> Iterator[tuple[Study, str]]:
    """Generate one report for each study.

    Args:
        model: The policy, unwrapped, in evaluation mode.
        encoder: Encodes the studies for this model.
        studies: What to read.
        config: How to generate.

    Yields:
        Each study with its report, in order.
    """
    tokenizer = encoder.processor.tokenizer
    tokens = generation_tokens(model, tokenizer)
    settings = SamplingSettings(
        max_tokens=config.max_completion_tokens,
        eos_token_ids=tokens.eos_token_ids,
        pad_token_id=tokens.pad_token_id,
        temperature=config.temperature,
        forbidden_token_ids=tokens.forbidden_token_ids,
    )
    for start in range(0, len(studies), config.batch_size):
        batch = list(studies[start : start + config.batch_size])
        uniforms = torch.stack(
            [
                uniform_draws(
                    config.seed, "generate", study.study_id, count=config.max_completion_tokens
                )
                for study in batch
            ]
        )
        responses = sample_responses(model, encoder.encode_all(batch), uniforms[:, None], settings)
        for study, (response,) in zip(batch, responses, strict=True):
            yield study, tokenizer.decode(response, skip_special_tokens=True).strip()


def generate_predictions(
    *,
    model: str,
    data: DataConfig,
    split: Split,
    output: Path,
    config: GenerationConfig,
    progress: Progress | None = None,
) -> Path:
    """Generate reports for a split and write `predictions.jsonl`; continue where an earlier call
    stopped.

    Args:
        model: Folder or Hub id of the policy.
        data: The studies; `validation_limit` cuts validation and test splits, `train_limit` the
            training split.
        split: Which part.
        output: The predictions file. While it is incomplete it is named `<output>.partial`.
        config: How to generate.
        progress: Called with (done, total).

    Returns:
        The predictions file.

    Raises:
        DataError: the split is empty, or the partial file belongs to other studies.
        ModelError: the model cannot be loaded.
    """
    studies = StudySet.load(Path(data.folder), split=split)
    if not len(studies):
        raise DataError(f"{data.folder}: no {split.value} study; check the split field")
    limit = data.train_limit if split is Split.TRAIN else data.validation_limit
    studies = studies if limit is None else studies[:limit]
    partial = output.with_name(output.name + ".partial")
    done = _already_done(partial, studies)
    folder = resolve_model_folder(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    policy = load_for_inference(folder, dtype=dtype).to(device).eval()
    encoder = PromptEncoder(studies, load_processor(folder), data)
    partial.parent.mkdir(parents=True, exist_ok=True)
    # Whole batches, so that a continued file has the same batches, and bytes, as an uninterrupted
    # one.
    done -= done % config.batch_size
    _keep_lines(partial, done)
    with partial.open("a", encoding="utf-8", newline="\n") as stream:
        reports = generate_reports(policy, encoder, studies[done:], config)
        for count, (study, report) in enumerate(reports, start=done + 1):
            row = {"study_id": study.study_id, "prediction": report, "reference": study.findings}
            stream.write(json_line(row))
            if count % config.batch_size == 0:
                stream.flush()
            if progress is not None:
                progress(count, len(studies))
    partial.replace(output)
    return output


def _already_done(partial: Path, studies: Sequence[Study]) -> int:
    if not partial.is_file():
        return 0
    _keep_lines(partial, math.inf)
    done = 0
    for number, row in read_jsonl(partial):
        if done >= len(studies) or row.get("study_id") != studies[done].study_id:
            raise DataError(
                f"{partial}, line {number}: begun with other studies; delete it to start again"
            )
        done += 1
    return done


def _keep_lines(path: Path, count: float) -> None:
    # A line without its end was cut short by a crash.
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = whole[: int(count)] if math.isfinite(count) else whole
    if len(kept) != len(lines):
        path.write_text("".join(kept), encoding="utf-8", newline="\n")
