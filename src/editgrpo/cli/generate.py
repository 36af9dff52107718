"""`editgrpo generate`: a model's reports for a split."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import Overwrite, Seed, Set, examples, given, text_override
from editgrpo.cli.output import claim_output, hide_loading_bars
from editgrpo.config import DataConfig
from editgrpo.data.study import Split
from editgrpo.extras import Extra, require_extras
from editgrpo.files import read_jsonl
from editgrpo.provenance import CONFIG_FILE
from editgrpo.recipes import load_section, recipe_value

EXAMPLES = examples(
    "editgrpo generate runs/editgrpo/model --output runs/editgrpo/evaluation/a/predictions.jsonl",
    "editgrpo generate runs/sft/model --studies studies/site-b --output predictions.jsonl",
)


# Where `train` and `sft` say how long a report may be.
_LENGTH_LIMITS = ("rollout.max_completion_tokens", "max_completion_tokens")


def generate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, or a Hub id. For the model of a run, data settings are taken "
            "from the run's config.yaml, for an export from its editgrpo.json.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Predictions file to write (.jsonl).")],
    studies: Annotated[
        str | None, typer.Option(help="Prepared folder. Default: that of the run.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Split to generate.")] = Split.TEST,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only this number of studies.")
    ] = None,
    changes: Set = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy; above 0 samples. Default: 0.")
    ] = None,
    max_completion_tokens: Annotated[
        int | None,
        typer.Option(help="Most tokens of a report. Default: as in the run, or 256."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Studies in one pass. Default: 16.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a report for every study of a split; an interrupted command continues."""
    require_extras(Extra.TRAIN)
    overrides = [f"data.train_limit={limit or 'null'}", f"data.validation_limit={limit or 'null'}"]
    overrides += changes or []
    if studies is not None:
        overrides.append(text_override("data.folder", studies))
    data, longest = _settings_of(Path(model), overrides)
    max_completion_tokens = max_completion_tokens or longest
    claim_output(output, overwrite=overwrite)

    from editgrpo.display.terminal import closing_bar
    from editgrpo.training.generate import GenerationConfig, generate_predictions

    hide_loading_bars()
    settings = given(
        temperature=temperature, max_completion_tokens=max_completion_tokens, batch_size=batch_size
    )
    config = GenerationConfig(seed=seed, **settings)
    with closing_bar("Generating reports") as progress:
        generate_predictions(
            model=model, data=data, split=split, output=output, config=config, progress=progress
        )
    reports = [row["truncated"] for _, row in read_jsonl(output)]
    typer.echo(
        f"Reports that reached the limit of {config.max_completion_tokens} tokens: "
        f"{sum(reports):,} of {len(reports):,}"
    )
    typer.echo(f"The predictions are in {output}")


def _settings_of(model: Path, overrides: list[str]) -> tuple[DataConfig, int | None]:
    """Return how prompts are made for a model, and how long a report may be, as its run or its
    export says."""
    from editgrpo.sharing.serving import export_settings

    recipe = model.parent / CONFIG_FILE
    if recipe.is_file():
        data = load_section(recipe, "data", DataConfig, overrides)
        return data, recipe_value(recipe, *_LENGTH_LIMITS)
    exported = export_settings(model)
    if exported is None:
        return load_section(None, "data", DataConfig, overrides), None
    overrides = [*exported.overrides(model), *overrides]
    return load_section(None, "data", DataConfig, overrides), exported.max_completion_tokens
