"""Writing reports with a trained policy: in memory for validation, or to a resumable file."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from editgrpo.config import DataConfig, DType, Target
from editgrpo.config.check import Count, NotNegative, ReportTokens, Seed, settings
from editgrpo.data.prepared.record import study_to_row
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.files import json_line, naming, open_to_append, parse_json_object, write_jsonl
from editgrpo.ownership import owning
from editgrpo.training.policy.generation_tokens import generation_tokens
from editgrpo.training.policy.load import load_for_inference, load_processor, resolve_model_folder
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.prompts import PromptEncoder, StudyEncoder, load_split
from editgrpo.training.run.inputs import (
    Hashes,
    changed_input,
    image_hashes,
    model_hashes,
    template_hashes,
)
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.sampling.self_check import check_sampling
from editgrpo.training.seeds import uniform_draws

Progress = Callable[[int, int], None]


@settings()
class GenerationConfig:
    """How reports are generated."""

    max_completion_tokens: ReportTokens = 256
    """Longest report, its end-of-sequence token included."""
    temperature: NotNegative = 0.0
    """0 takes the likeliest token; above 0 samples."""
    batch_size: Count = 16
    """Studies in one pass."""
    seed: Seed = 0
    """Decides the draws of sampling; unused at temperature 0."""


def generate_reports(
    model: Policy, encoder: PromptEncoder, studies: Sequence[Study], config: GenerationConfig
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
    for one in _generate(model, encoder, studies, config):
        yield one.study, one.report


@dataclass(frozen=True, slots=True)
class _Generated:
    study: Study
    report: str
    is_truncated: bool
    """Whether it reached the length limit before its end."""


def _generate(
    model: Policy, encoder: PromptEncoder, studies: Sequence[Study], config: GenerationConfig
) -> Iterator[_Generated]:
    tokenizer = encoder.processor.tokenizer
    tokens = generation_tokens(model, tokenizer)
    settings = tokens.sampling(
        max_tokens=config.max_completion_tokens, temperature=config.temperature
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
            report = tokenizer.decode(response, skip_special_tokens=True).strip()
            yield _Generated(study, report, response[-1] not in tokens.eos_token_ids)


def load_to_write(folder: Path) -> Policy:
    """Load a model as reports are generated with it: in bfloat16 on a GPU, else in float32.

    Args:
        folder: From `resolve_model_folder`.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: the model cannot be loaded.
    """
    has_gpu = torch.cuda.is_available()
    policy = load_for_inference(folder, dtype=torch.bfloat16 if has_gpu else torch.float32)
    return policy.to("cuda" if has_gpu else "cpu").eval()


def check_writing(
    policy: Policy, encoder: StudyEncoder, study: Study, *, max_tokens: int, temperature: float
) -> None:
    """Make sure, before the first report, that sampling takes the tokens of transformers.

    Args:
        policy: From `load_to_write`.
        encoder: Encodes the study for it.
        study: Any study.
        max_tokens: Longest report.
        temperature: Of sampling.

    Raises:
        DataError: an image of the study cannot be read.
        TrainingError: transformers' `generate` takes another token.
    """
    tokens = generation_tokens(policy, encoder.processor.tokenizer)
    check_sampling(
        policy,
        encoder.encode(study),
        tokens.sampling(max_tokens=max_tokens, temperature=temperature),
        dtype=DType.BFLOAT16 if torch.cuda.is_available() else DType.FLOAT32,
    )


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
            training split. Studies without the sections of `target` are left out, unless no study
            of the split has them.
        split: Which part.
        output: The predictions file. While it is incomplete it is named `<output>.partial`.
        config: How to generate.
        progress: Called with (done, total).

    Returns:
        The predictions file. `truncated` says of each report whether it reached the length limit.

    Raises:
        ConfigError: another process writes the file.
        DataError: the split is empty, images cannot be decoded, or the partial file was begun with
            another model, other studies or other settings.
        ModelError: the model cannot be loaded.
        TrainingError: sampling does not take the tokens that transformers' `generate` takes.
    """
    studies = load_split(data, split, without_references=True)
    folder = resolve_model_folder(model)
    with owning(output):
        return _write_predictions(folder, data, studies, output, config, progress)


def _write_predictions(
    folder: Path,
    data: DataConfig,
    studies: StudySet,
    output: Path,
    config: GenerationConfig,
    progress: Progress | None,
) -> Path:
    partial = output.with_name(output.name + ".partial")
    run = {"run": sampling_inputs(folder, studies, data, asdict(config))}
    rows = rows_done(partial, run, batch=config.batch_size)
    encoder = PromptEncoder(studies, load_processor(folder), data)
    policy = load_sampling_policy(folder, encoder, studies[0], config)
    if progress is not None:
        progress(len(rows), len(studies))  # a bar measures from here
    write_jsonl(partial, [run, *rows])
    # Predictions of findings say nothing of it, as ever; evaluation takes them for that.
    named = {} if data.target is Target.FINDINGS else {"target": data.target.value}
    with naming(partial), open_to_append(partial) as stream:
        for one in _generate(policy, encoder, studies[len(rows) :], config):
            row = {
                "study_id": one.study.study_id,
                "patient_id": one.study.patient_id,
                "prediction": one.report,
                "reference": one.study.reference,
                "truncated": one.is_truncated,
                **named,
            }
            rows.append(row)
            stream.write(json_line(row))
            if len(rows) % config.batch_size == 0:
                stream.flush()
            if progress is not None:
                progress(len(rows), len(studies))
    write_jsonl(output, rows)
    partial.unlink()
    return output


def load_sampling_policy(
    folder: Path, encoder: PromptEncoder, study: Study, config: GenerationConfig
) -> Policy:
    """Load a policy to sample reports with, and compare its sampling with transformers'.

    Args:
        folder: Of the model.
        encoder: Encodes studies for it.
        study: Any study, to compare with.
        config: How reports are sampled.

    Returns:
        The policy in evaluation mode; on a GPU, and then in bfloat16, if there is one.

    Raises:
        ModelError: the model cannot be loaded.
        DataError: an image of the study cannot be decoded.
        TrainingError: sampling does not take the tokens that transformers' `generate` takes.
    """
    policy = load_to_write(folder)
    longest, temperature = config.max_completion_tokens, config.temperature
    check_writing(policy, encoder, study, max_tokens=longest, temperature=temperature)
    return policy


def sampling_inputs(
    folder: Path, studies: Sequence[Study], data: DataConfig, settings: Mapping[str, Any]
) -> dict[str, Hashes]:
    """Hash all that sampled reports depend on; folders do not count, as they may move.

    Args:
        folder: Of the model.
        studies: The studies.
        data: How they are shown.
        settings: What else counts.

    Returns:
        For each kind of input its hashes.

    Raises:
        DataError: the images or the template cannot be read.
        ModelError: the model cannot be read.
    """
    digest = hashlib.sha256()
    for study in studies:
        digest.update(json_line(study_to_row(study)).encode())
    settings = {"data.max_images": data.max_images, **settings}
    if data.target is not Target.FINDINGS:  # files of earlier versions go on
        settings["data.target"] = data.target.value
    return {
        "the model": model_hashes(folder),
        "the images": image_hashes(Path(data.folder)),
        "the studies": {"the text": digest.hexdigest()},
        "the prompt": template_hashes(data),
        "the settings": {name: str(value) for name, value in settings.items()},
    }


def rows_done(
    partial: Path, run: dict[str, dict[str, Hashes]], *, batch: int
) -> list[dict[str, Any]]:
    """Return the rows that an earlier call of the same settings wrote whole.

    Args:
        partial: The file that they were written to; it may be absent.
        run: Under "run" the inputs, from `sampling_inputs`; the first line of the file.
        batch: Rows that are made together.

    Returns:
        The rows behind the first line, whole batches of them: so a continued file has the same
        batches, and bytes, as an uninterrupted one.

    Raises:
        DataError: the file was begun with other inputs, or is damaged.
    """
    if not partial.is_file():
        return []
    with partial.open("rb") as stream:
        found = [
            parse_json_object(line, f"{partial}, line {number}")
            for number, line in enumerate(stream, start=1)
            if line.endswith(b"\n")  # else cut short by a crash
        ]
    before = found[0].get("run") if found else None
    changed = changed_input(before if isinstance(before, dict) else {}, run["run"])
    if changed is not None:
        raise DataError(
            f"{partial}: begun with another model, other studies or other settings ({changed}); "
            "delete it to start again"
        )
    return found[1 : len(found) - (len(found) - 1) % batch]
