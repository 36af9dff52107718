"""The card of a trained model: where it comes from, what it may be used for, and what it scored.

It is the model folder's README.md; its header is what the Hub reads. The same run gives the same
card, and no path of the machine goes into it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from editgrpo.config import EditLevel, LossType, RewardConfig, SFTConfig, Target, TrainConfig
from editgrpo.data.prepared.licences import DATASETS, DatasetCard
from editgrpo.display.numbers import format_score
from editgrpo.errors import ModelError
from editgrpo.files import read_json_object
from editgrpo.foreign import reading
from editgrpo.markdown_pages import render_page
from editgrpo.metrics.table import TABLE
from editgrpo.model_files import CONFIG
from editgrpo.provenance import flat_settings, name_of_run
from editgrpo.recipes.values import plain_value
from editgrpo.recipes.yaml_core import dump_inline
from editgrpo.rewards.registry import REWARDS, complete_weights
from editgrpo.sharing.lineage import Lineage, Stage
from editgrpo.sharing.results import TestSetResult
from editgrpo.training.epochs import SELECTION
from editgrpo.training.policy.families import family_named

TASK = "image-text-to-text"
TRAINING_DATA = "training_data"
"""Key of a card's header: the data sets of training, keys of `DATASETS`."""
OUR_TAG = "editgrpo"

_HEADER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_HUB_DATASETS = "https://huggingface.co/datasets/"
# What says where something lies or runs; it is no part of what a model is.
_PLACES = (
    "clinical",
    "data.folder",
    "data.prompt_template",
    "model.path",
    "output",
    "report_to",
    "reward.class_rates",
    "rollout.vllm",
)
# Shown at their defaults, too.
_TELLING = frozenset(
    {
        "batch_size",
        "data.max_images",
        "data.target",
        "edit.annotator",
        "edit.level",
        "edit.max_edits",
        "edit.threshold",
        "epochs",
        "max_completion_tokens",
        "model.dtype",
        "model.freeze_vision_tower",
        "model.lora",
        "objective.beta",
        "objective.epsilon",
        "objective.loss",
        "objective.scale",
        "optim.learning_rate",
        "optim.schedule",
        "optim.warmup_steps",
        "optim.weight_decay",
        "prompts_per_step",
        "rollout.group_size",
        "rollout.max_completion_tokens",
        "rollout.temperature",
        "seed",
        "steps",
    }
)
_SOFTWARE = ("torch", "transformers", "trl", "peft", "accelerate")


@dataclass(frozen=True, kw_only=True, slots=True)
class CardOptions:
    """What a card says that a run does not know."""

    title: str | None = None
    """Heading, and the model's name in results; None takes the run's own."""
    licence: str | None = None
    """Identifier of the weights' licence on the Hub; None leaves it open, and the card says so."""
    results: tuple[TestSetResult, ...] = ()
    """Scores of the model."""


def model_card(lineage: Lineage, options: CardOptions | None = None) -> str:
    """Write the card of a model.

    Args:
        lineage: The model and what it comes from.
        options: What the runs do not know; None says no more than they do.

    Returns:
        Markdown with a YAML header.

    Raises:
        ModelError: the model's configuration is damaged.
        ConfigError: a reward's components are unknown.
    """
    options = options or CardOptions()
    title = options.title or name_of_run(lineage.last.run)
    config = read_json_object(lineage.model / CONFIG, "give a whole model", error=ModelError)
    kind = str(config["model_type"])
    family = family_named(kind)
    settings = lineage.prompt_settings()
    return render_page(
        "editgrpo.sharing",
        "model_card.jinja",
        header=_header(lineage, options, title, kind),
        title=title,
        base=lineage.base,
        base_commit=lineage.base_commit,
        family=kind if family is None else family.name,
        kind=kind,
        licence=options.licence,
        stages=[_stage_view(stage) for stage in lineage.stages],
        data=[_data_view(lineage, name) for name in lineage.datasets],
        settings=settings,
        sections=words_of(settings.target),
        prompt=_without_comment(lineage.prompt_template.read_text(encoding="utf-8")),
        results=options.results,
        citations=[one for name in lineage.datasets for one in DATASETS[name].citations],
        is_phantom=set(lineage.datasets) == {"phantom"},
        score=format_score,
        is_rl=isinstance(lineage.last.config, TrainConfig),
    )


def read_header(card: Path) -> dict[str, Any]:
    """Read the header of a card.

    Args:
        card: README.md of a model folder.

    Returns:
        Its values; empty if there is no card, or no header in it.

    Raises:
        ModelError: the header is damaged.
    """
    if not card.is_file():
        return {}
    remedy = "write the card again with `editgrpo card`"
    with reading(card, remedy, error=ModelError):
        match = _HEADER.match(card.read_text(encoding="utf-8-sig"))
        header = yaml.safe_load(match[1]) if match else {}
    if not isinstance(header, dict):
        raise ModelError(f"{card}: its header is no list of keys; {remedy}")
    return header


def _header(lineage: Lineage, options: CardOptions, title: str, kind: str) -> str:
    """Return the YAML that the Hub reads."""
    hub_sets = [
        DATASETS[name].source.removeprefix(_HUB_DATASETS)
        for name in lineage.datasets
        if DATASETS[name].source.startswith(_HUB_DATASETS)
    ]
    more: dict[str, Any] = {TRAINING_DATA: list(lineage.datasets)}
    if lineage.base is not None:
        more["base_model_relation"] = "finetune"
    if options.licence is None:
        more |= {"license": "other", "license_name": "not-stated"}
    else:
        more["license"] = options.licence
    has_lora = any(stage.config.model.lora is not None for stage in lineage.stages)
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type="chest-x-ray-reports",
            dataset_name=f"{result.test_set} ({result.studies:,} studies)",
            metric_type=metric.name,
            metric_name=metric.name,
            metric_value=round(metric.value, 4),
        )
        for result in options.results
        for metric in result.metrics
    ]
    data = ModelCardData(
        language="en",
        library_name="transformers",
        pipeline_tag=TASK,
        base_model=lineage.base,
        datasets=hub_sets or None,
        tags=[
            OUR_TAG,
            "radiology",
            "chest-x-ray",
            "report-generation",
            kind,
            *(["lora"] if has_lora else []),
        ],
        model_name=title,
        eval_results=results or None,
        **more,
    )
    return data.to_yaml()


def _stage_view(stage: Stage) -> dict[str, Any]:
    config, provenance = stage.config, stage.provenance
    git = provenance.get("git") or {}
    versions = provenance.get("versions") or {}
    launch = provenance.get("launch") or {}
    return {
        "name": _algorithm(config),
        "settings": _settings(config),
        "reward": _reward(config.reward),
        "best_epoch": _best_epoch(stage),
        "is_rl": isinstance(config, TrainConfig),
        "studies": stage.training_studies,
        "data": stage.licence.title,
        "software": ", ".join(
            f"{name} {versions[name]}" for name in _SOFTWARE if versions.get(name)
        ),
        "version": provenance.get("editgrpo"),
        "commit": git.get("commit"),
        "dirty": git.get("dirty"),
        "processes": launch.get("processes"),
        "sharding": launch.get("sharding"),
        "started": provenance.get("started"),
        "resumes": len(provenance.get("resumed") or []),
    }


def _algorithm(config: SFTConfig | TrainConfig) -> str:
    if isinstance(config, SFTConfig):
        return f"Supervised fine-tuning on the {words_of(config.data.target)} of reference reports"
    plain = "Dr. GRPO" if config.objective.loss is LossType.DR_GRPO else "GRPO"
    if config.edit.level is EditLevel.SENTENCE:
        return (
            f"EditGRPO ({plain}, half of each group rollouts after one sentence edit, "
            "arXiv:2509.22812)"
        )
    if config.edit.level is EditLevel.REPORT:
        return f"{plain} with the reference report in each group"
    return plain


def words_of(target: Target) -> str:
    """Name the sections that are written."""
    return " and ".join(target.sections)


def _settings(config: SFTConfig | TrainConfig) -> list[tuple[str, str]]:
    """Return the settings that matter: those that always tell, and those that are not defaults."""
    values, defaults = (flat_settings(plain_value(one)) for one in (config, type(config)()))
    return [
        (key, dump_inline(value))
        for key, value in values.items()
        if not any(key == place or key.startswith(f"{place}.") for place in _PLACES)
        if key in _TELLING or value != defaults.get(key)
    ]


def _reward(reward: RewardConfig) -> list[tuple[str, float, str]]:
    """Return name, weight and meaning of each part of a reward."""
    weights = complete_weights(REWARDS[reward.name], reward.weights, reward.custom)
    return [
        (name, weight, TABLE[name].description if name in TABLE else "a function of its own")
        for name, weight in weights.items()
    ]


def _best_epoch(stage: Stage) -> int | None:
    path = stage.run / SELECTION
    if not path.is_file():
        return None
    best = read_json_object(path, "put back the file as the run wrote it").get("best")
    return best if isinstance(best, int) else None


def _data_view(lineage: Lineage, name: str) -> dict[str, Any]:
    card: DatasetCard = DATASETS[name]
    studies = max(one.training_studies for one in lineage.stages if one.dataset == name)
    return {"card": card, "studies": studies}


def _without_comment(template: str) -> str:
    """Leave out what a template says to its readers."""
    return re.sub(r"\{#.*?#\}\s*", "", template, flags=re.DOTALL).strip()
