"""`editgrpo annotate`: what the clinical models find in the reference reports, kept on disk."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from editgrpo.cli.clinical_options import clinical_options
from editgrpo.cli.options import Overwrite, examples
from editgrpo.cli.output import claim_output
from editgrpo.config import ClinicalConfig, Target
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, DataError
from editgrpo.extras import Extra, require_extras
from editgrpo.ownership import own

EXAMPLES = examples(
    "editgrpo annotate studies/mine --annotators rate,radgraph,chexbert",
    "editgrpo annotate studies/mine --annotators chexbert --class-rates class-rates.json",
    "editgrpo annotate studies/mine --target findings+impression",
)


@clinical_options()
def annotate(
    studies: Annotated[
        Path,
        typer.Argument(metavar="STUDIES", help="Prepared folder, from `editgrpo prepare`."),
    ],
    clinical: ClinicalConfig,
    annotators: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME...]",
            help="rate (edits, RaTEScore), radgraph (RadGraph-F1, edits), chexbert (labels).",
        ),
    ] = "rate,radgraph,chexbert",
    split: Annotated[Split, typer.Option(help="Split to annotate.")] = Split.TRAIN,
    target: Annotated[
        Target, typer.Option(help="Sections to read, like data.target of the run.")
    ] = Target.FINDINGS,
    class_rates: Annotated[
        Path | None,
        typer.Option(
            help="JSON file to write: rate of each of CheXbert's 14 findings in these reports."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Store entities and labels of the reference reports; an interrupted command continues.

    The store is the folder of --store (default: annotations/ in the prepared folder). Name it in
    `clinical.store` of a recipe and in `--store` of other commands.
    """
    require_extras(Extra.DATA, Extra.CLINICAL)
    names = [name.strip() for name in annotators.split(",") if name.strip()]
    if class_rates is not None:
        if "chexbert" not in names:
            raise ConfigError(
                "--class-rates counts CheXbert's labels; add chexbert to --annotators"
            )
        claim_output(class_rates, overwrite=overwrite)

    from editgrpo.cli.output import hide_loading_bars
    from editgrpo.data.prepared.store import ANNOTATIONS_FOLDER
    from editgrpo.display.terminal import progress_bar
    from editgrpo.reports.references import read_references

    store = clinical.store or str(studies / ANNOTATIONS_FOLDER)
    own(Path(store))
    config = replace(clinical, store=store, store_writes=True)
    texts = _texts(studies, split, target)
    hide_loading_bars()
    with progress_bar("Annotating") as progress:
        read = read_references(texts, names, config, progress=progress)
    typer.echo(f"{read.reports:>9,}  reports, {read.distinct:,} of them distinct")
    for name, added in read.added.items():
        typer.echo(f"{added:>9,}  values added by {name}")
    typer.echo(f"The store is in {config.store} ({read.size_bytes / 1e6:.1f} MB)")
    if class_rates is not None:
        write_rates(class_rates, texts, config, target)
        typer.echo(f"The class rates are in {class_rates}")


def _texts(studies: Path, split: Split, target: Target) -> list[str]:
    """Return the references, section by section, as edits and rewards read them."""
    from editgrpo.data.prepared.store import StudySet

    texts = [
        getattr(study, section)
        for study in StudySet.load(studies, split=split, target=target, needs_reference=True)
        for section in target.sections
    ]
    if not texts:
        raise DataError(
            f"{studies}: no study of split {split.value} has {' and '.join(target.sections)}; name "
            "another --split or --target"
        )
    return texts


def write_rates(path: Path, texts: list[str], config: ClinicalConfig, target: Target) -> None:
    """Write how often reports have each finding, by CheXbert's labels."""
    from editgrpo.clinical.weights import ClinicalModel, model_identity
    from editgrpo.metrics.class_rates import class_rates, write_class_rates
    from editgrpo.reports import load_labeler
    from editgrpo.reports.references import label_references

    labeler = load_labeler("chexbert", config)
    name = f"{labeler.name}@{model_identity(ClinicalModel.CHEXBERT, config)}"
    labels = label_references(labeler, texts)
    write_class_rates(path, class_rates(labels, labeler=name, target=target))
