"""The demo's base model: a small Qwen2.5-VL that has learned to see, and how it was trained.

It lies in the package. It learned to see from captions whose wording no site uses; then it read
single sentences in all words of the phantom. So it is where a pre-trained model is: it sees, knows
the words, and has yet to learn what a report says. `train_base` makes it anew.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editgrpo.clinical.model_folder import file_sha256
from editgrpo.config import DataConfig, SFTConfig
from editgrpo.data.prepared.store import PREPARED_FILE, StudySet
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split, Study
from editgrpo.demo.places import PROMPT, RECIPES, TRAINING
from editgrpo.demo.sites import DEMO_PROFILES, EYES, EYES_SHARES, READING
from editgrpo.demo.testing import tested
from editgrpo.display.terminal import ProgressBar
from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.files import read_jsonl, write_json, write_text
from editgrpo.phantom import Site, SiteProfile, write_phantom
from editgrpo.recipes import load_recipe
from editgrpo.training.policy.tiny import TinyModelConfig, write_tiny_checkpoint
from editgrpo.training.run.folder import METRICS
from editgrpo.training.run.saving import publish_config
from editgrpo.training.sft import run_sft

BASE_SHAPE = TinyModelConfig(
    hidden_size=128, layers=4, vision_layers=3, heads=4, vocabulary=800, patch_size=14
)
BASE_SEED = 0
# The truly rare findings of the phantom's own sites (1 to 2 % of studies), by their CheXpert names.
RARE_FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Lung Lesion",
    "Pneumothorax",
    "Pleural Other",
    "Fracture",
)
WEIGHTS = "model.safetensors"
CARD = "README.md"
# What the tokenizer learns from, in studies: captions, and reports of each site.
_CAPTIONED, _REPORTED = 3000, 1500
_REPORTS_SEED = 9
_READING_SEED = 1
_SHOWN = ("rules/micro-f1-14", "rules/macro-f1-14", "rules/macro-f1-rare")
# Films of the studies whose reports alone are read.
_LEAST_PX = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSize:
    """How much the base model is trained on.

    Attributes:
        studies: Balanced studies with captions, those for testing included.
        steps: Optimiser steps on them.
        reading_studies: Balanced studies with captions or sentences.
        reading_steps: Optimiser steps on these, after the others.
    """

    studies: int = 24_000
    steps: int = 1600
    reading_studies: int = 17_100
    reading_steps: int = 500


QUICK_BASE = BaseSize(studies=2400, steps=160, reading_studies=1710, reading_steps=50)
"""A tenth: shows that it runs, and that the losses begin as those of the package's model did."""


def train_base(folder: Path, *, size: BaseSize, command: str, progress_bar: ProgressBar) -> Path:
    """Train a base model from nothing: studies, tokenizer, training, test, half precision.

    Args:
        folder: Where everything goes. Stages that are complete there are not repeated; a training
            that was interrupted goes on.
        size: How much; `BaseSize()` is what the package's model was trained on.
        command: What started it, for the provenance of the run.
        progress_bar: Gives a progress callback for a stage's description.

    Returns:
        The folder of the model with its card.

    Raises:
        EditGRPOError: as raised by a stage.
    """
    made = _Base(folder, size, progress_bar)
    made.draw()
    made.start()
    made.train(command)
    return made.publish(made.test(), command)


class _Base:
    """The stages, in their order."""

    def __init__(self, folder: Path, size: BaseSize, progress_bar: ProgressBar) -> None:
        self._folder = folder
        self._size = size
        self._progress_bar = progress_bar

    def draw(self) -> None:
        """Draw the balanced studies, and reports of both sites for the tokenizer."""
        self._draw("eyes", EYES, self._size.studies, EYES_SHARES, size_px=112, seed=BASE_SEED)
        reading = self._size.reading_studies
        self._draw("reading", READING, reading, EYES_SHARES, size_px=112, seed=_READING_SEED)
        for site in Site:
            self._draw(
                f"site-{site.value.lower()}",
                DEMO_PROFILES[site],
                _REPORTED,
                (1.0, 0.0, 0.0),
                size_px=_LEAST_PX,
                seed=_REPORTS_SEED,
            )

    def _draw(
        self,
        name: str,
        profile: SiteProfile,
        studies: int,
        shares: tuple[float, float, float],
        *,
        size_px: int,
        seed: int,
    ) -> None:
        folder = self._folder / "studies" / name
        if (folder / PREPARED_FILE).is_file():
            return
        with self._progress_bar(f"Phantom studies, {name}") as progress:
            write_phantom(
                folder,
                studies=studies,
                site=profile,
                seed=seed,
                size_px=size_px,
                split_shares=shares,
                progress=progress,
            )

    def start(self) -> None:
        """Write the untrained model; its tokenizer learns from captions, reports and prompts."""
        if not (self._untrained / WEIGHTS).is_file():
            names = {"eyes": _CAPTIONED} | {f"site-{s.value.lower()}": _REPORTED for s in Site}
            texts = (
                text
                for name, limit in names.items()
                for text in texts_shown(self._first(name, limit), self._config.data)
            )
            write_tiny_checkpoint(self._untrained, texts, BASE_SHAPE, seed=BASE_SEED)

    def train(self, command: str) -> None:
        """Train on the captions, then on sentences too."""
        for config, steps, title in (
            (self._config, self._size.steps, "Learning to see"),
            (self._reading_config, self._size.reading_steps, "Learning words"),
        ):
            self._train(config, steps, title, command)

    def _train(self, config: SFTConfig, steps: int, title: str, command: str) -> None:
        with self._progress_bar(title) as progress:
            run_sft(
                config,
                resume=True,
                command=command,
                on_metrics=lambda metrics: progress(int(metrics["step"]), steps),
            )

    def test(self) -> Evaluation:
        """Caption the balanced studies for testing, and score the captions."""
        return tested(
            self._reading / "model",
            replace(self._config.data, validation_limit=None),
            self._reading / "evaluation",
            system="base",
            max_tokens=self._config.max_completion_tokens,
            rare_findings=RARE_FINDINGS,
            stage=lambda: self._progress_bar("Captions of the test studies"),
        )

    def publish(self, scores: Evaluation, command: str) -> Path:
        """Copy the trained model in half precision, and write its card and its losses."""
        from safetensors.torch import load_file, save_file
        from torch import float16

        folder = self._folder / "base"
        folder.mkdir(exist_ok=True)
        trained = self._reading / "model"
        for path in trained.iterdir():
            if path.suffix in (".json", ".jinja", ".txt"):
                shutil.copyfile(path, folder / path.name)
        weights = load_file(trained / WEIGHTS)
        save_file(
            {name: value.to(float16) for name, value in weights.items()},
            folder / WEIGHTS,
            metadata={"format": "pt"},
        )
        publish_config(folder, float16)
        losses = [row["loss"] for _, row in read_jsonl(self._run / METRICS) if "loss" in row]
        facts = {
            "command": command,
            "seed": BASE_SEED,
            "studies": self._size.studies,
            "steps": self._size.steps,
            "reading_studies": self._size.reading_studies,
            "reading_steps": self._size.reading_steps,
            "sha256": file_sha256(folder / WEIGHTS),
            "test_studies": scores.n_studies,
            "scores": {name: round(scores.metrics[name].value, 4) for name in _SHOWN},
            "f1": {name: round(one.f1, 3) for name, one in scores.per_finding.items()},
            "losses": [round(loss, 4) for loss in losses[: self._size.steps // 10]],
        }
        write_json(folder / TRAINING, facts, shared=True)
        write_text(folder / CARD, _card(facts), shared=True)
        return folder

    def _first(self, name: str, limit: int) -> StudySet:
        """Return the first training studies of a set."""
        return StudySet.load(self._folder / "studies" / name, split=Split.TRAIN)[:limit]

    @property
    def _untrained(self) -> Path:
        return self._folder / "untrained"

    @property
    def _run(self) -> Path:
        return self._folder / "sft"

    @property
    def _reading(self) -> Path:
        return self._folder / "reading"

    @property
    def _config(self) -> SFTConfig:
        config = load_recipe(RECIPES / "base.yaml", SFTConfig)
        return replace(
            config,
            model=replace(config.model, path=str(self._untrained)),
            data=replace(
                config.data,
                folder=str(self._folder / "studies" / "eyes"),
                prompt_template=str(PROMPT),
            ),
            max_steps=self._size.steps,
            seed=BASE_SEED,
            output=str(self._run),
        )

    @property
    def _reading_config(self) -> SFTConfig:
        config = load_recipe(RECIPES / "base-reading.yaml", SFTConfig)
        return replace(
            self._config,
            model=replace(config.model, path=str(self._run / "model")),
            data=replace(self._config.data, folder=str(self._folder / "studies" / "reading")),
            optim=config.optim,
            max_steps=self._size.reading_steps,
            output=str(self._reading),
        )


def texts_shown(studies: Iterable[Study], shown: DataConfig) -> Iterator[str]:
    """Yield what a tokenizer learns from.

    Args:
        studies: Studies.
        shown: How they are shown to the model.

    Yields:
        The findings and the texts of the prompt of each study.
    """
    for study in studies:
        yield study.reference
        prompt = build_messages(study, max_images=shown.max_images, template=shown.prompt_template)
        for message in prompt.messages:
            yield from (part["text"] for part in message["content"] if part["type"] == "text")


def _card(facts: Mapping[str, Any]) -> str:
    scores = "\n".join(f"| {name} | {value:.3f} |" for name, value in facts["scores"].items())
    findings = "\n".join(f"| {name} | {value:.2f} |" for name, value in facts["f1"].items())
    return f"""\
---
library_name: transformers
pipeline_tag: image-text-to-text
license: apache-2.0
---

# The base model of the demo

A Qwen2.5-VL of two million parameters that sees phantom films (112 x 112 pixels, 16 image tokens a
film) and names what is on them, in captions ("Effusion, left, small.") or in sentences. It has read
no whole report. It was trained from random weights on synthetic studies, a fifth of which has each
finding; no film or word of it is of a patient.

- First it learned to see, in {facts["steps"]:,} steps of 32, from captions of {facts["studies"]:,}
  studies, in words that no report of the phantom uses for a finding.
- Then it learned words, in {facts["reading_steps"]:,} steps of 32, from
  {facts["reading_studies"]:,} studies: captions of half of them; of the others a sentence for each
  finding, in any wording of the phantom, and a normal statement here and there.
- Made by `{facts["command"]}`, seed {facts["seed"]}.
- `{WEIGHTS}` (float16): SHA-256 `{facts["sha256"]}`.
- `{TRAINING}` holds the same facts and the losses of the first tenth of the training.

Greedy texts for {facts["test_studies"]:,} balanced test studies, scored by `rules` against their
captions. Captions never say "pneumonia": the F1 of that class is 0, so macro-F1-14 can reach 13/14.

| score | value |
|---|---|
{scores}

| finding | F1 |
|---|---|
{findings}

It knows nothing of real radiographs, and is not for clinical use.
"""
