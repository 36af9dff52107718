"""What both sides of the benchmarks of training are given: model, studies, groups, settings.

The model is a true Qwen2.5-VL of a size that a CPU can train, with random weights, or one of
another family in the same shape (families.py). Its language model has twelve layers for two of the
vision tower, so that images take the share of the computation of a prompt that they take in
Qwen2.5-VL-3B, about a half. Prompts of the groups are
drawn to have exactly the length asked for; the studies are phantom studies with three images.
"""

import json
import os
import platform
import random
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.children import REPOSITORY
from benchmarks.families import GEMMA3, GEMMA_SIDE, GEMMA_TOKENS, QWEN2_5_VL, write_checkpoint
from editgrpo.config import (
    DataConfig,
    DType,
    EditConfig,
    EditLevel,
    ModelConfig,
    ObjectiveConfig,
    RewardConfig,
    RolloutConfig,
    TrainConfig,
)
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import folder_state
from editgrpo.data.prepared.flow import make_flow
from editgrpo.data.prepared.image_jobs import encode_image
from editgrpo.data.prepared.image_writer import ImageStoreWriter
from editgrpo.data.prepared.store import StudySet, write_tables
from editgrpo.data.prompt import build_messages, choose_images
from editgrpo.data.study import Split, Study
from editgrpo.phantom import Site, write_phantom
from editgrpo.provenance import processor_name
from editgrpo.training.policy.families._square import SquarePrompt
from editgrpo.training.policy.processor import EncodedPrompt, PromptProcessor, StudyProcessor
from editgrpo.training.policy.tiny import TinyModelConfig

SHAPE = TinyModelConfig(hidden_size=256, layers=12, vision_layers=2, heads=4, vocabulary=1024)
IMAGES = 3
THREADS = 2
PROMPT, RESPONSE, GROUP = 540, 60, 10
SIDE_PX = 336  # 12 x 12 image tokens; with the text of a study some 520 tokens

CHECKPOINT, STUDIES = "checkpoint", "studies"
_SEED = 7
_IMAGE_SHARE = 0.88  # of a prompt's tokens; paper: 4.2 images of some 500 tokens, little text
_PHANTOMS = 80
# Lengths of the responses of a group, in parts of their mean; sampled reports are as uneven.
_LENGTHS = (0.85, 1.3, 0.7, 1.0, 1.15, 0.9, 1.25, 0.75, 1.0, 1.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One group and how it is trained on.

    Attributes:
        prompt: Tokens of the prompt, those of its three images included.
        response: Tokens of a response, on average.
        group: Responses.
        is_tower_frozen: Whether the vision tower keeps its weights.
    """

    prompt: int = PROMPT
    response: int = RESPONSE
    group: int = GROUP
    is_tower_frozen: bool = True

    @property
    def ideal(self) -> float:
        """How often each token is computed in separate rows, for one time in a packed row."""
        separate = self.group * (self.prompt + self.response)
        return separate / (self.prompt + self.group * self.response)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnGroup:
    """A group of responses to one prompt, as if it had been sampled, edited and scored.

    Attributes:
        prompt: The prompt.
        responses: Token ids of each response; the second half are changed copies of the first, one
            of them unchanged.
        advantages: One for each, their sum is zero.
    """

    prompt: EncodedPrompt
    responses: list[list[int]]
    advantages: list[float]


def prepare(folder: Path, *, studies: int, family: str = QWEN2_5_VL) -> None:
    """Write the checkpoint and the studies that both sides load.

    Args:
        folder: Made if missing.
        studies: Studies of the training split.
        family: Of the checkpoint.
    """
    write_three_image_studies(folder / STUDIES, studies)
    texts = []
    for study in StudySet.load(folder / STUDIES):
        parts = build_messages(study, max_images=IMAGES).messages[0]["content"]
        texts += [study.findings, "".join(part.get("text", "") for part in parts)]
    write_checkpoint(family, folder / CHECKPOINT, texts, SHAPE, seed=_SEED)


def write_three_image_studies(folder: Path, count: int) -> None:
    """Write phantom studies with three images each, prior ones included."""
    raw = folder.with_name(f"{folder.name}-drawn")
    write_phantom(
        raw,
        studies=_PHANTOMS,
        site=Site.A,
        seed=_SEED,
        size_px=SIDE_PX,
        split_shares=(1, 0, 0),
        workers=1,
    )
    drawn = StudySet.load(raw)
    studies = [_with_three_images(study) for study in drawn if len(study.images) >= IMAGES][:count]
    if len(studies) < count:
        raise ValueError(f"{count} studies of three images are asked for, {len(studies)} are there")
    names = dict.fromkeys(image.image_id for study in studies for image in study.images)
    budget = PixelBudget(min_pixels=SIDE_PX**2, max_pixels=SIDE_PX**2, multiple_of=SIDE_PX)
    writer = ImageStoreWriter(folder, list(names))
    for name in names:
        writer.add(encode_image(name, drawn.images.load(name), budget))
    writer.finish()
    write_tables(folder, studies)
    account = folder_state.account_of(
        dataset="phantom",
        split_rule="all are training studies",
        budget=budget,
        flow=make_flow(kept=studies, rejections=[], facts={}, cut=dict.fromkeys(Split, 0)),
        mark="",
        redaction="",
    )
    folder_state.complete(folder, account, [])


def _with_three_images(study: Study) -> Study:
    return replace(study, images=tuple(choose_images(study, max_images=IMAGES)))


def train_config(folder: Path, case: Case, output: Path, **changes: Any) -> TrainConfig:
    """Return the settings of a run: float32, no gradient checkpointing, one group in a pass.

    Args:
        folder: What `prepare` wrote.
        case: Size of a group, and whether the tower is frozen.
        output: Run folder.
        **changes: Other settings of the run.
    """
    settings: dict[str, Any] = {
        "model": ModelConfig(
            path=str(folder / CHECKPOINT),
            dtype=DType.FLOAT32,
            freeze_vision_tower=case.is_tower_frozen,
            gradient_checkpointing=False,
        ),
        "data": DataConfig(folder=str(folder / STUDIES), max_images=IMAGES),
        "edit": EditConfig(level=EditLevel.NONE),
        "reward": RewardConfig(name="rules"),
        "rollout": RolloutConfig(group_size=case.group, max_completion_tokens=case.response),
        "objective": ObjectiveConfig(),
        "steps": 1,
        "prompts_per_step": 1,
        "max_dropped_share": 0.9,
        "output": str(output),
        **changes,
    }
    return TrainConfig(**settings)


def draw_group(case: Case, processor: PromptProcessor) -> DrawnGroup:
    """Draw a prompt with three images and a group of responses.

    Args:
        case: The lengths.
        processor: Of the model; the words of its tokenizer are drawn at random.
    """
    tokenizer: Any = processor.tokenizer
    draw = random.Random(f"{_SEED}/{case.prompt}/{case.response}/{case.group}")
    special = set(tokenizer.all_special_ids) | set(tokenizer.convert_tokens_to_ids(SPECIAL))
    special |= set(tokenizer.added_tokens_decoder)
    words = [token for token in range(len(tokenizer)) if token not in special]
    end = tokenizer.eos_token_id
    lengths = response_lengths(case)
    half = case.group - case.group // 2
    responses = [[*draw.choices(words, k=length - 1), end] for length in lengths[:half]]
    for index, length in enumerate(lengths[half:]):
        responses.append(_changed(responses[index], length, words, draw) if index else responses[0])
    advantages = [draw.uniform(-1, 1) for _ in responses]
    mean = sum(advantages) / len(advantages)
    return DrawnGroup(
        prompt=_draw_prompt(case, processor, words, draw),
        responses=responses,
        advantages=[value - mean for value in advantages],
    )


def response_lengths(case: Case) -> list[int]:
    """Return the tokens of each response, in order."""
    parts = [_LENGTHS[index % len(_LENGTHS)] for index in range(case.group)]
    return [max(2, round(case.response * part * case.group / sum(parts))) for part in parts]


def _changed(response: Sequence[int], length: int, words: Sequence[int], draw: Any) -> list[int]:
    """Keep the beginning of a response and draw the rest, as an edit of a late sentence does."""
    kept = min(len(response), length) // 2
    return [*response[:kept], *draw.choices(words, k=length - 1 - kept), response[-1]]


SPECIAL = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]


def _draw_prompt(
    case: Case, processor: PromptProcessor, words: Sequence[int], draw: Any
) -> EncodedPrompt:
    tokenizer: Any = processor.tokenizer
    if not isinstance(processor, StudyProcessor):
        return _draw_square_images(case, tokenizer, words, draw)
    image, _, start, end = tokenizer.convert_tokens_to_ids(SPECIAL)
    rows, columns = image_grid(case)
    images = [start, *[image] * (rows * columns), end] * IMAGES
    text = draw.choices(words, k=case.prompt - len(images))
    input_ids_T = torch.tensor([text[0], *images, *text[1:]])
    grid = torch.tensor([[1, 2 * rows, 2 * columns]] * IMAGES)
    generator = torch.Generator().manual_seed(_SEED)
    patch = 3 * 2 * SHAPE.patch_size**2  # the tower reads a still image as two equal frames
    return EncodedPrompt(
        study_id="drawn",
        input_ids_T=input_ids_T,
        is_image_token_T=input_ids_T == image,
        pixel_values=torch.randn(int(grid.prod(dim=1).sum()), patch, generator=generator),
        image_grid_thw=grid,
        image_ids=tuple(f"drawn-{number}" for number in range(IMAGES)),
    )


def _draw_square_images(
    case: Case, tokenizer: Any, words: Sequence[int], draw: Any
) -> EncodedPrompt:
    """Draw a prompt of Gemma, whose images have the same number of tokens in every case."""
    start, end, image = tokenizer.convert_tokens_to_ids(GEMMA_TOKENS)
    images = [start, *[image] * GEMMA_SIDE**2, end] * IMAGES
    if case.prompt <= len(images):
        raise ValueError(f"{GEMMA3}: a prompt of {case.prompt} tokens has no room for its images")
    text = draw.choices(words, k=case.prompt - len(images))
    input_ids_T = torch.tensor([text[0], *images, *text[1:]])
    side = GEMMA_SIDE * 2 * SHAPE.patch_size
    generator = torch.Generator().manual_seed(_SEED)
    return SquarePrompt(
        study_id="drawn",
        input_ids_T=input_ids_T,
        is_image_token_T=input_ids_T == image,
        pixel_values=torch.randn(IMAGES, 3 * side * side, generator=generator),
        image_grid_thw=torch.ones(IMAGES, 3, dtype=torch.long),
        image_ids=tuple(f"drawn-{number}" for number in range(IMAGES)),
        token_types="token_type_ids",
    )


def image_grid(case: Case) -> tuple[int, int]:
    """Return rows and columns of image tokens of each image."""
    tokens = int(_IMAGE_SHARE * case.prompt / IMAGES)
    rows = int(tokens**0.5)
    return rows, tokens // rows


def move_from_reference(model: Any) -> None:
    """Add noise to what is trained of a policy, the same on both sides: the KL term is not zero."""
    generator = torch.Generator().manual_seed(_SEED)
    for parameter in model.parameters():
        # The store's features of a frozen tower are good for policy and reference.
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(0.02 * float(parameter.data.abs().mean()) * noise)


def model_of(folder: Path) -> dict[str, Any]:
    """Say what the model is, for the result.

    Args:
        folder: What `prepare` wrote; the few words of its studies decide the vocabulary.
    """
    config = json.loads((folder / CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config", config)
    return {
        "architecture": f"{config['model_type']}, random weights, float32",
        "gradient_checkpointing": False,
        **asdict(SHAPE),
        "vocabulary": text["vocab_size"],
    }


def environment() -> dict[str, Any]:
    """Say what a result was measured with: versions, processor, commit."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")}
        | {"python": platform.python_version()},
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "commit": commit.stdout.strip(),
    }


def describe(case: Case) -> dict[str, Any]:
    """Say what a case is, for the result."""
    rows, columns = image_grid(case)
    return {
        "prompt": case.prompt,
        "response": case.response,
        "response_lengths": response_lengths(case),
        "group": case.group,
        "images": f"{IMAGES} of {rows} x {columns} tokens",
        "is_tower_frozen": case.is_tower_frozen,
        "ideal": round(case.ideal, 2),
    }
