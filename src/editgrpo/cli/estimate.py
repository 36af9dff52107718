"""`--estimate` of `editgrpo train`: what a run takes, before there is anything to run it on."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import typer

from editgrpo.cli.options import given
from editgrpo.config import TrainConfig
from editgrpo.errors import ConfigError

_option = partial(typer.Option, rich_help_panel="With --estimate")


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimateOptions:
    """What `--estimate` was told: whether, on what, and how it is printed.

    Raises:
        ConfigError: one of the others was given without `--estimate`.
    """

    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Print the memory and the time of a step, calculated from the settings, and stop. "
            "Needs no weights, data or GPU.",
        ),
    ] = False
    gpu: Annotated[
        str | None,
        _option(help="GPU, such as h100-80gb or rtx-4090. Default: the GPU of this machine."),
    ] = None
    gpus: Annotated[int | None, _option(min=1, help="Number of GPUs. Default: 1.")] = None
    launch: Annotated[
        str | None,
        _option(
            help="How GPUs share the model: ddp (a copy each) or fsdp2 (shards). Default: ddp."
        ),
    ] = None
    images: Annotated[
        float | None, _option(min=0, help="Images of a study on average. Default: 4.2.")
    ] = None
    report_tokens: Annotated[
        int | None, _option(min=1, help="Tokens of a report on average. Default: 125.")
    ] = None
    as_json: Annotated[bool, _option("--json", help="Print JSON.")] = False

    def __post_init__(self) -> None:
        told = [name for name, value in asdict(self).items() if value not in (None, False)]
        if told and not self.estimate:
            option = told[0].removeprefix("as_").replace("_", "-")
            raise ConfigError(f"--{option} has an effect with --estimate only; add it")


def print_estimate(config: TrainConfig, options: EstimateOptions) -> None:
    """Estimate a run and print what comes of it.

    Args:
        config: The run.
        options: On what, and how it is printed.

    Raises:
        ConfigError: an option or a setting is not accounted for.
        ModelError: the shape of the model is not known.
    """
    from editgrpo.display.estimate import estimate_lines
    from editgrpo.training.estimate.changes import helpful_changes
    from editgrpo.training.estimate.estimate import Fit, Setup, estimate
    from editgrpo.training.estimate.gpus import gpu_at_hand, named_gpu
    from editgrpo.training.estimate.spread import Spread, launch_named
    from editgrpo.training.estimate.workload import Studies

    spread = given(gpus=options.gpus, launch=options.launch and launch_named(options.launch))
    studies = given(images=options.images, report_tokens=options.report_tokens)
    setup = Setup(
        gpu=named_gpu(options.gpu) if options.gpu is not None else gpu_at_hand(),
        spread=Spread(**spread),
        studies=Studies(**studies),
    )
    found = estimate(config, setup)
    changes = helpful_changes(found) if found.fit in (Fit.TIGHT, Fit.TOO_LARGE) else []
    if options.as_json:
        typer.echo(json.dumps({**found.as_dict(), "changes": [asdict(one) for one in changes]}))
        return
    typer.echo("\n".join(estimate_lines(found, changes)))
