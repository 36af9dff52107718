"""`editgrpo generate`: a model's reports for a split."""

from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.options import (
    MaxCompletionTokens,
    Overwrite,
    Seed,
    SetData,
    examples,
    given,
    study_overrides,
)
from editgrpo.cli.output import claim_output, hide_loading_bars
from editgrpo.cli.places import check_studies
from editgrpo.data.study import Split
from editgrpo.extras import Extra, require_extras
from editgrpo.files import read_jsonl
from editgrpo.model_files import check_model

EXAMPLES = examples(
    "editgrpo generate runs/editgrpo/model --output runs/editgrpo/evaluation/a/predictions.jsonl",
    "editgrpo generate runs/sft/model --studies studies/site-b --output predictions.jsonl",
)


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
        str | None,
        typer.Option(help="Prepared folder. Default: that of the run; needed if there is no run."),
    ] = None,
    split: Annotated[Split, typer.Option(help="Split to generate.")] = Split.TEST,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only this number of studies.")
    ] = None,
    changes: SetData = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy; above 0 samples. Default: 0.")
    ] = None,
    max_completion_tokens: MaxCompletionTokens = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Studies in one pass. Default: 16.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write a report for every study of a split; an interrupted command continues."""
    require_extras(Extra.TRAIN)
    overrides = study_overrides(changes, limit=limit, studies=studies)
    from editgrpo.sharing.model_settings import settings_of_model

    data, longest = settings_of_model(Path(model), overrides)
    check_model(model)
    check_studies(Path(model), data)
    max_completion_tokens = longest if max_completion_tokens is None else max_completion_tokens
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
