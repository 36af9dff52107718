"""From a RadGraph archive to a model that runs.

Every parameter of the archive is either loaded or known to be without use for inference; anything
else is an error, since a model that is not what it seems would score quietly wrong.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from editgrpo.clinical.device import torch_device, torch_dtype
from editgrpo.clinical.pretrained import load_config, load_tokenizer
from editgrpo.clinical.weights import ClinicalModel, model_folder
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.reports.radgraph.archive import Archive, read_archive
from editgrpo.reports.radgraph.dygie import DyGIE, DyGIEConfig, FoundEntity
from editgrpo.reports.radgraph.wordpieces import ReportPieces, WordTokenizer

_LOG = logging.getLogger(__name__)

_ENCODER = "_embedder.token_embedder_bert._matched_embedder.transformer_model."
_WIDTHS = "_endpoint_span_extractor._span_width_embedding.weight"
# Modules that were built but not trained, scorers of other data sets, and a constant that older
# versions of transformers saved with the parameters.
_UNUSED = ("_coref.", "_events.", "_ner.", "_relation.", f"{_ENCODER}embeddings.position_ids")


@dataclass(frozen=True, slots=True)
class LoadedRadGraph:
    """A model on its device.

    Attributes:
        tokenizer: Cuts words into wordpieces and reports into segments.
        model: In evaluation mode.
        device: Where it runs.
        unused: Parameters of the archive that inference does not need, sorted.
    """

    tokenizer: WordTokenizer
    model: DyGIE
    device: torch.device
    unused: tuple[str, ...]

    def find(self, reports: Sequence[ReportPieces]) -> list[list[FoundEntity]]:
        """Find the entities of a batch of reports, each with at least one wordpiece."""
        found: list[list[FoundEntity]] = self.model(self.tokenizer.batch(reports).to(self.device))
        return found


def load_radgraph(config: ClinicalConfig, model: ClinicalModel) -> LoadedRadGraph:
    """Load a checkpoint.

    Args:
        config: Where it is, and device and number format (of the encoder; the small layers above it
            always compute in float32).
        model: RADGRAPH_XL or RADGRAPH.

    Returns:
        The model, ready to run.

    Raises:
        ModelError: the checkpoint is missing, damaged or of another architecture.
    """
    folder = model_folder(model, config)
    archive = read_archive(folder, model.value)
    tokenizer = load_tokenizer(folder / "encoder", model)
    config_of_encoder = load_config(folder / "encoder", model)
    word_size = getattr(config_of_encoder, "hidden_size", 0)
    settings = _settings(archive, model.value, word_size=word_size)
    # Memory is taken only for parameters that are there, whatever the configurations claim.
    with torch.device("meta"):
        _, claimed = _build(config_of_encoder, settings, archive.path)
    names = _parameter_names(model.value, len(settings.hidden_sizes))
    state, unused = _parameters(claimed, archive, names)
    # The weights drawn here are replaced at once; a run's own draws must not notice.
    with torch.random.fork_rng(devices=[]):
        encoder, dygie = _build(config_of_encoder, settings, archive.path)
    dygie.load_state_dict(state, assign=True)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # loaded with the rest, but nothing reads its output
    device = torch_device(config)
    encoder.to(torch_dtype(config))
    max_length = _max_length(archive) or encoder.config.max_position_embeddings
    _LOG.debug("%s: %d parameters without use for inference", archive.path, len(unused))
    return LoadedRadGraph(
        WordTokenizer(tokenizer, max_length), dygie.to(device).eval(), device, unused
    )


def _build(config: Any, settings: DyGIEConfig, place: Path) -> tuple[Any, DyGIE]:
    """Return an encoder and the model on top of it, their weights random."""
    with reading(place, "check that archive and encoder/ belong together", error=ModelError):
        encoder = AutoModel.from_config(config, trust_remote_code=False)
        return encoder, DyGIE(encoder, settings)


def _settings(archive: Archive, dataset: str, *, word_size: int) -> DyGIEConfig:
    """Read the sizes from the archive's configuration; refuse a model that needs more than is built
    here."""
    remedy = f"give the archive of {dataset} as published"
    lacking = "config.json or vocabulary/ lacks"
    with reading(archive.path, remedy, error=ModelError, fault=f"{lacking} what is needed"):
        try:
            model = archive.config["model"]
            layers = model["feedforward_params"]["num_layers"]
            hidden = model["feedforward_params"]["hidden_dims"]
            propagates = model["modules"]["coref"].get("coref_prop", 0) > 0
            scores_both = all(model["loss_weights"][name] > 0 for name in ("ner", "relation"))
            widths_agree = (
                model["max_span_width"] == archive.config["dataset_reader"]["max_span_width"]
            )
            null, *entity_labels = archive.labels[f"{dataset}__ner_labels"]
            settings = DyGIEConfig(
                word_size=word_size,
                width_size=model["feature_size"],
                max_span_width=model["max_span_width"],
                hidden_sizes=tuple(hidden) if isinstance(hidden, list) else (hidden,) * layers,
                spans_per_word=model["modules"]["relation"]["spans_per_word"],
                entity_labels=tuple(entity_labels),
                relation_labels=archive.labels[f"{dataset}__relation_labels"],
            )
        except KeyError as error:
            raise ModelError(f"{archive.path}: {lacking} {error}; {remedy}") from error
    if propagates or not scores_both or not widths_agree or null:
        raise ModelError(
            f"{archive.path}: not an entity and relation model without coreference propagation; "
            f"{remedy}"
        )
    return settings


def _max_length(archive: Archive) -> int | None:
    fault = "config.json names no token indexer as AllenNLP does"
    with reading(archive.path, "get it again", error=ModelError, fault=fault):
        indexer = archive.config["dataset_reader"].get("token_indexers", {}).get("bert", {})
        length = indexer.get("max_length")
    return length if isinstance(length, int) else None


def _parameter_names(dataset: str, n_hidden: int) -> dict[str, str]:
    """Return our prefix to the archive's, for each module but the encoder."""
    entity = f"_ner._ner_scorers.{dataset}__ner_labels"
    pruner = f"_relation._mention_pruners.{dataset}__relation_labels._scorer"
    relation = f"{dataset}__relation_labels"
    feedforward = f"_relation._relation_feedforwards.{relation}._linear_layers"
    names = {"width_embedding.weight": _WIDTHS}
    for part in ("weight", "bias"):
        for layer in range(n_hidden):
            # Our networks are Sequential: a linear layer at every even index.
            own, theirs = f"{2 * layer}.{part}", f"{layer}.{part}"
            names[f"entity_scorer.{own}"] = f"{entity}.0._module._linear_layers.{theirs}"
            names[f"pruner.{own}"] = f"{pruner}.0._module._linear_layers.{theirs}"
            names[f"relation_scorer.{own}"] = f"{feedforward}.{theirs}"
        last = f"{2 * n_hidden}.{part}"
        names[f"entity_scorer.{last}"] = f"{entity}.1._module.{part}"
        names[f"pruner.{last}"] = f"{pruner}.1._module.{part}"
        names[f"relation_scorer.{last}"] = f"_relation._relation_scorers.{relation}.{part}"
    return names


def _parameters(
    model: nn.Module, archive: Archive, names: Mapping[str, str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Find every parameter of the model in the archive.

    Args:
        model: Has the names, shapes and number formats; its values are not looked at.
        archive: Holds them under AllenNLP's names.
        names: Our name to the archive's; the encoder's are told by their prefix.

    Returns:
        The parameters under the model's names; and the names of those in the archive that the model
        has no use for, sorted.

    Raises:
        ModelError: a parameter is missing, has another shape, is not finite or is unknown.
    """
    expected = model.state_dict()
    state: dict[str, Tensor] = {}
    used = set()
    for own, parameter in expected.items():
        theirs = names.get(own, _ENCODER + own.removeprefix("encoder."))
        found = archive.weights.get(theirs)
        if found is None or found.shape != parameter.shape:
            what = "is missing" if found is None else f"has the shape {tuple(found.shape)}"
            raise ModelError(
                f"{archive.path}: {theirs} {what}, {tuple(parameter.shape)} was expected; "
                "check that archive and encoder/ belong together"
            )
        if not found.isfinite().all():
            raise ModelError(f"{archive.path}: {theirs} holds NaN or infinity; get it again")
        state[own] = found.to(parameter.dtype)
        used.add(theirs)
    unused = tuple(sorted(archive.weights.keys() - used))
    unknown = [name for name in unused if not name.startswith(_UNUSED)]
    if unknown:
        raise ModelError(
            f"{archive.path}: {len(unknown)} parameters are unknown, the first {unknown[0]}; "
            "check that archive and encoder/ belong together"
        )
    return state, unused
