"""`editgrpo edit`: one edit, shown."""

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from editgrpo.cli.clinical_options import clinical_options
from editgrpo.cli.options import Seed, examples
from editgrpo.config import ClinicalConfig, EditConfig, Placement, Target
from editgrpo.errors import DataError
from editgrpo.extras import Extra, require_extras

if TYPE_CHECKING:
    from editgrpo.edits.edit import Edit
    from editgrpo.reports.types import AnnotatedReport

DEFAULTS = EditConfig()
EXAMPLES = examples(
    'editgrpo edit --rollout "No pneumothorax. The heart is enlarged." '
    '--reference "Small left pneumothorax. Heart size is normal."',
    "editgrpo edit --rollout @generated.txt --reference @reference.txt --json",
    "editgrpo edit --rollout @generated.txt --reference @reference.txt --annotator rate",
    "editgrpo edit --rollout @generated.txt --reference @reference.txt "
    "--target findings+impression",
)


@clinical_options()
def edit(
    rollout: Annotated[
        str,
        typer.Option(
            metavar="TEXT|@FILE", help="Generated report; @FILE reads a file, @- reads stdin."
        ),
    ],
    reference: Annotated[str, typer.Option(metavar="TEXT|@FILE", help="Reference report.")],
    clinical: ClinicalConfig,
    annotator: Annotated[
        str, typer.Option(help="Annotator that finds entities: rules (offline), rate or radgraph.")
    ] = DEFAULTS.annotator,
    threshold: Annotated[
        float, typer.Option(help="Cosine above which two entities are the same finding.")
    ] = DEFAULTS.threshold,
    max_edits: Annotated[int, typer.Option(help="Most edits of the report.")] = DEFAULTS.max_edits,
    placement: Annotated[
        Placement, typer.Option(help="Where to add a missing sentence.")
    ] = DEFAULTS.placement,
    target: Annotated[
        Target,
        typer.Option(help="Sections of both reports; no edit takes a sentence to another section."),
    ] = Target.FINDINGS,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Edit a generated report towards its reference, and show what changed and why."""
    config = EditConfig(
        annotator=annotator, threshold=threshold, max_edits=max_edits, placement=placement
    )
    from editgrpo.reports.registry import annotator_models

    has_models = bool(annotator_models(config.annotator))
    if has_models:
        require_extras(Extra.CLINICAL)
    texts = [read_text_option(rollout, "--rollout"), read_text_option(reference, "--reference")]

    from editgrpo.cli.output import hide_loading_bars
    from editgrpo.edits import edit_report
    from editgrpo.reports import load_annotator
    from editgrpo.reports.references import warn_of_silence
    from editgrpo.reports.sectioned import annotator_of_target

    if has_models:
        hide_loading_bars()
    annotator_of_edits = annotator_of_target(load_annotator(config.annotator, clinical), target)
    before, wanted = annotator_of_edits.annotate(texts)
    warn_of_silence(annotator_of_edits, texts[1:])
    result = edit_report(
        before,
        wanted,
        rng=random.Random(seed),
        threshold=config.threshold,
        max_edits=config.max_edits,
        anatomy_counts=config.anatomy_counts,
        in_reference_order=config.placement is Placement.REFERENCE_ORDER,
    )
    _print_edit(result, before, wanted, as_json=as_json)


def _print_edit(
    result: "Edit", before: "AnnotatedReport", wanted: "AnnotatedReport", *, as_json: bool
) -> None:
    from rich.console import Console

    from editgrpo.display.diff import edit_as_json, plain_edit, render_edit

    if as_json:
        typer.echo(json.dumps(edit_as_json(result, before, wanted), ensure_ascii=False, indent=2))
    elif sys.stdout.isatty():
        Console().print(render_edit(result, before, wanted))
    else:
        typer.echo(plain_edit(result, before, wanted))


def read_text_option(value: str, option: str) -> str:
    """Take an option's text, or read it from the file that it names.

    Args:
        value: The text, `@FILE`, or `@-` for the standard input.
        option: Name of the option, for error messages.

    Returns:
        The text.

    Raises:
        DataError: the file is not UTF-8.
    """
    if not value.startswith("@"):
        return value
    if value == "@-":
        return sys.stdin.read()
    try:
        return Path(value[1:]).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{option} {value}: not UTF-8; save the file as UTF-8") from error
