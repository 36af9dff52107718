"""A very small model, a few studies and run configurations that the tests of training share.

The reports are two or three short sentences, so that a rollout of twenty tokens is a whole report,
and the model has seen them for a few seconds, so that its rollouts end, differ, and can be edited.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from editgrpo.config import (
    DataConfig,
    DType,
    EditConfig,
    EditLevel,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RolloutConfig,
    TrainConfig,
)
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split, Study
from editgrpo.phantom import Site, write_phantom
from editgrpo.training.policy.load import load_for_inference, load_processor
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.policy.tiny import TinyModelConfig, write_tiny_checkpoint
from editgrpo.training.step.batches import UpdatePass
from editgrpo.training.step.step_group import show
from tests.builders import write_set

SENTENCES = (
    "The heart is enlarged.",
    "The heart size is normal.",
    "There is a left pleural effusion.",
    "There is no pleural effusion.",
    "There is a right pneumothorax.",
    "No pneumothorax.",
    "The lungs are clear.",
    "There is pulmonary edema.",
)

STUDIES = 24
MAX_TOKENS = 24
SHAPE = TinyModelConfig(hidden_size=32, layers=2, vision_layers=1, heads=2, vocabulary=400)


@dataclass(frozen=True, slots=True)
class Tiny:
    """Where the small checkpoint and the studies lie."""

    checkpoint: Path
    studies: Path

    def data(self, **changes: Any) -> DataConfig:
        """Return the data configuration."""
        return DataConfig(**{"folder": str(self.studies), **changes})

    def model(self, **changes: Any) -> ModelConfig:
        """Return the model configuration: float32, everything trained."""
        settings: dict[str, Any] = {
            "path": str(self.checkpoint),
            "dtype": DType.FLOAT32,
            "freeze_vision_tower": False,
            "gradient_checkpointing": False,
            **changes,
        }
        return ModelConfig(**settings)

    def with_model(self, write: Callable[[Path, list[str]], Path], folder: Path) -> "Tiny":
        """Return the same studies with another model, whose tokenizer learns from their reports."""
        texts = [study.findings for study in StudySet.load(self.studies)] * 4
        return replace(self, checkpoint=write(folder, texts))

    def load(self) -> Any:
        """Load the model for inference."""
        return load_for_inference(self.checkpoint, dtype=torch.float32)

    def encoder(self, split: Split = Split.TRAIN) -> tuple[StudySet, PromptEncoder]:
        """Load the studies of a split and what encodes them."""
        studies = StudySet.load(self.studies, split=split)
        return studies, PromptEncoder(studies, load_processor(self.checkpoint), self.data())

    def prompts(self, count: int) -> list[EncodedPrompt]:
        """Encode the first training studies."""
        studies, encoder = self.encoder()
        return encoder.encode_all(studies[:count])

    def train_config(self, output: Path, **changes: Any) -> TrainConfig:
        """Return a run of four steps with four groups of four responses."""
        settings: dict[str, Any] = {
            "model": self.model(),
            "data": self.data(),
            "optim": OptimConfig(learning_rate=2e-3),
            "edit": EditConfig(),
            "rollout": RolloutConfig(group_size=4, max_completion_tokens=MAX_TOKENS),
            "objective": ObjectiveConfig(),
            "steps": 4,
            "prompts_per_step": 4,
            "tokens_per_pass": 256,
            "save_every": 2,
            "max_dropped_share": 0.9,
            "output": str(output),
            **changes,
        }
        return TrainConfig(**settings)


PLAIN = EditConfig(level=EditLevel.NONE)


def write_short_studies(folder: Path, count: int, *, token_px: int = 28) -> None:
    """Write phantom studies, images of 2 x 2 tokens each, with short reports of our own."""
    raw = folder.with_name(folder.name + "-phantom")
    side = 2 * token_px
    write_phantom(
        raw,
        studies=count,
        site=Site.A,
        seed=3,
        size_px=side,
        split_shares=(0.75, 0.25, 0),
        workers=1,
    )
    studies = StudySet.load(raw)
    films = {image_id: studies.images.load(image_id) for image_id in studies.images}
    write_set(
        folder,
        [_with_short_report(k, study) for k, study in enumerate(studies)],
        films,
        budget=PixelBudget(min_pixels=token_px**2, max_pixels=side**2, multiple_of=token_px),
    )


def _with_short_report(number: int, study: Study) -> Study:
    draw = random.Random(number)
    pairs = [SENTENCES[k : k + 2] for k in range(0, len(SENTENCES), 2)]
    findings = " ".join(draw.choice(pair) for pair in draw.sample(pairs, 2 + number % 2))
    return replace(study, findings=findings, impression="")


def write_trained_checkpoint(folder: Path, studies: Path) -> None:
    """Write a small checkpoint that has seen the training reports for a few steps."""
    everything = StudySet.load(studies)
    texts = [study.findings for study in everything] * 4
    for study in everything:
        parts = build_messages(study, max_images=6).messages[0]["content"]
        texts.append("".join(part.get("text", "") for part in parts))
    write_tiny_checkpoint(folder, texts, SHAPE, seed=5)
    tiny = Tiny(folder, studies)
    model = tiny.load()
    teach(model, tiny, steps=40)
    model.save_pretrained(folder)


def teach(model: Any, tiny: Tiny, *, steps: int) -> None:
    """Show a model the training reports for a few steps."""
    from editgrpo.training.collator import FindingsCollator

    studies, encoder = tiny.encoder()
    collate = FindingsCollator(studies, encoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    draw = random.Random(0)
    for _ in range(steps):
        rows = [{"index": draw.randrange(len(studies))} for _ in range(8)]
        loss = model(**collate(rows)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@cache
def make_tiny(folder: Path) -> Tiny:
    """Write studies and checkpoint, once for each folder."""
    torch.set_num_threads(1)
    write_short_studies(folder / "studies", STUDIES)
    write_trained_checkpoint(folder / "checkpoint", folder / "studies")
    return Tiny(folder / "checkpoint", folder / "studies")


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """Return a copy of all gradients and clear them; a parameter without one counts as zero."""
    found = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
        for name, p in model.named_parameters()
    }
    model.zero_grad(set_to_none=True)
    return found


def largest_difference(
    left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]
) -> tuple[float, str]:
    """Return the largest absolute difference of two sets of tensors, and where it is."""
    assert left.keys() == right.keys()
    return max((float((left[name] - right[name]).detach().abs().max()), name) for name in left)


def make_trainer(config: TrainConfig) -> Any:
    """Build the trainer of a run without running it, its policy moved away from the reference."""
    from editgrpo.training.run.arguments import training_arguments
    from editgrpo.training.train import _set_up
    from editgrpo.training.trainer import EditGRPOTrainer

    setup, policy = _set_up(config, Path(config.output), None)
    trainer = EditGRPOTrainer(config, policy, setup, training_arguments(config))
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    generator = torch.Generator().manual_seed(11)
    for parameter in trainer.model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(0.05 * float(parameter.data.abs().mean()) * noise)
    return trainer


def step_passes(trainer: Any, count: int) -> list[UpdatePass]:
    """Sample, edit, score and pack groups for the first studies, as a step does."""
    passes: list[UpdatePass] = trainer._prepare_passes(
        [trainer._setup.studies[k] for k in range(count)]
    )
    return passes


def first_rollouts(trainer: Any, step: int, studies: Sequence[Study]) -> list[list[list[int]]]:
    """Sample the rollouts that a step begins with; return the token ids of each study's."""
    asked = show(studies, trainer._setup.encoder, None)
    rows = trainer._rounds.schedule.first_rows(step)
    sampled = trainer._sampler.sample(step, asked, rows)
    return [[list(one.token_ids) for one in of_study] for of_study in sampled]


def loss_of(trainer: Any, one: UpdatePass, **inputs: torch.Tensor) -> torch.Tensor:
    """Compute the loss of a pass, with some of its inputs replaced."""
    trainer._current = one
    loss: torch.Tensor = trainer._compute_loss(trainer.model, one.inputs | inputs)
    return loss
