"""`editgrpo pairs`: a preference set for DPO."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from editgrpo.cli.options import Overwrite, Seed, examples, given, study_overrides
from editgrpo.cli.output import claim_output, hide_loading_bars
from editgrpo.cli.places import check_studies
from editgrpo.config import ClinicalConfig, DataConfig, EditConfig, RewardConfig
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError
from editgrpo.extras import Extra, require_extras
from editgrpo.model_files import check_model
from editgrpo.provenance import CONFIG_FILE
from editgrpo.recipes import load_section

if TYPE_CHECKING:
    from editgrpo.training.preference_set import Pair

EXAMPLES = examples(
    "editgrpo pairs runs/editgrpo --output pairs.parquet",
    "editgrpo pairs runs/sft/model --samples 8 --limit 2000 --output pairs.parquet",
    "editgrpo pairs runs/sft/model --studies studies/site-b --output pairs.parquet",
)

_SECTIONS = ("data", "edit", "reward", "clinical")
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting of data, edit, reward or clinical, such as edit.threshold=0.7. "
        "Repeatable.",
    ),
]
_MaxCompletionTokens = Annotated[
    int | None,
    typer.Option(help="Model: most tokens of a report. Default: as in the run, or 256."),
]
_ConfigT = TypeVar("_ConfigT")


def pairs(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL",
            help="The folder of a `train` run, whose recorded edits are taken; or a model folder "
            "or Hub id, which is sampled. Settings are those of the run's config.yaml, or of the "
            "export's editgrpo.json.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Preference set to write (.parquet).")],
    studies: Annotated[
        str | None,
        typer.Option(help="Prepared folder. Default: that of the run; needed if there is no run."),
    ] = None,
    min_gain: Annotated[
        float, typer.Option(help="The edit must raise the reward by more than this.")
    ] = 0.0,
    split: Annotated[
        Split | None, typer.Option(help="Model: split to sample. Default: train.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Model: use only this number of studies.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Model: rollouts each. Default: 4.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Model: sampling. Default: 1.")] = None,
    max_completion_tokens: _MaxCompletionTokens = None,
    batch_size: Annotated[int | None, typer.Option(help="Model: per pass. Default: 16.")] = None,
    changes: _Set = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write pairs of an edited report (chosen) and its rollout (rejected) for TRL's DPOTrainer."""
    is_run = (Path(source) / "rollouts.jsonl").is_file()
    model = Path(source) / "model" if is_run else Path(source)
    sections = _sections(
        model, study_overrides(changes, limit=limit, studies=studies), is_run=is_run
    )
    sampling = given(
        samples=samples,
        temperature=temperature,
        max_completion_tokens=max_completion_tokens,
        batch_size=batch_size,
    )
    if is_run:
        _refuse_for_runs(source, **sampling, split=split, limit=limit)
    else:
        sampling = given(max_completion_tokens=sections.max_completion_tokens) | sampling
    claim_output(output, overwrite=overwrite)

    from editgrpo.training.pairs import recorded_pairs

    partial = output.with_name(output.name + ".partial")
    if is_run:
        found = recorded_pairs(Path(source))
    else:
        found = _sampled(source, sections, split or Split.TRAIN, partial, seed=seed, **sampling)
    _write(output, source, found, sections.data, min_gain=min_gain)
    partial.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Sections:
    """The sections of a recipe that count here."""

    data: DataConfig
    edit: EditConfig
    reward: RewardConfig
    clinical: ClinicalConfig
    max_completion_tokens: int | None
    """Most tokens of a report, if anything says it."""


def _require(
    edit: EditConfig, reward: RewardConfig, clinical: ClinicalConfig, *, is_run: bool
) -> None:
    from editgrpo.clinical.sources import models_here
    from editgrpo.reports.registry import annotator_models
    from editgrpo.rewards.registry import reward_models

    models = [*reward_models(reward), *annotator_models(edit.annotator)]
    has_models = not is_run and models_here(models, clinical)
    require_extras(Extra.TRAIN, *([Extra.CLINICAL] if has_models else []))


def _sampled(
    model: str, sections: _Sections, split: Split, partial: Path, **sampling: Any
) -> list["Pair"]:
    from editgrpo.display.terminal import closing_bar
    from editgrpo.metrics.judges.costs import log_costs
    from editgrpo.training.pairs import PairConfig, sampled_pairs

    hide_loading_bars()
    config = PairConfig(edit=sections.edit, reward=sections.reward, **sampling)
    with closing_bar("Sampling rollouts") as progress:
        found = sampled_pairs(
            model,
            sections.data,
            split,
            partial,
            config,
            clinical=sections.clinical,
            progress=progress,
        )
    log_costs("judges")
    return found


def _write(
    output: Path, source: str, found: list["Pair"], data: DataConfig, *, min_gain: float
) -> None:
    from editgrpo.data.prepared.store import StudySet
    from editgrpo.display.terminal import closing_bar
    from editgrpo.training.pairs import preferred
    from editgrpo.training.preference_set import write_preference_set

    chosen = preferred(found, min_gain=min_gain)
    if not chosen:
        raise ConfigError(
            f"{source}: of {len(found):,} edits none raised the reward by more than {min_gain:g}; "
            "take more studies or samples, or another --min-gain"
        )
    with closing_bar("Writing pairs") as progress:
        studies = StudySet.load(data.folder, target=data.target)
        write_preference_set(output, chosen, studies, data, progress)
    typer.echo(
        f"{len(chosen):,} pairs of {len({pair.study_id for pair in chosen}):,} studies; "
        f"{len(found) - len(chosen):,} of {len(found):,} edits are left out: no gain, or twice"
    )
    typer.echo(f"The preference set is in {output}")


def _sections(model: Path, overrides: list[str], *, is_run: bool) -> _Sections:
    """Read what counts here of the run or export that a model is of, or the defaults."""
    recipe = model.parent / CONFIG_FILE
    for override in overrides:
        if override.partition(".")[0] not in _SECTIONS:
            names = ", ".join(_SECTIONS)
            raise ConfigError(f"--set {override}: only settings of {names} have an effect here")

    def inside(name: str) -> list[str]:
        return [one for one in overrides if one.startswith(f"{name}.")]

    def section(name: str, kind: type[_ConfigT]) -> _ConfigT:
        return load_section(recipe if recipe.is_file() else None, name, kind, inside(name))

    edit, reward = section("edit", EditConfig), section("reward", RewardConfig)
    clinical = section("clinical", ClinicalConfig)
    _require(edit, reward, clinical, is_run=is_run)
    from editgrpo.sharing.model_settings import settings_of_model

    data, longest = settings_of_model(model, inside("data"))
    if not is_run:
        check_model(str(model))
    check_studies(model, data)
    return _Sections(data, edit, reward, clinical, longest)


def _refuse_for_runs(run: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{option}: {run} is a run, whose recorded edits are taken; for fresh samples give "
                f"its model, {run}/model"
            )
