"""Random RadGraph archives, in the form of the published ones.

Parameter names and shapes are written out here and not taken from the package, so that they are
checked against the reference package, which loads the same archive strictly.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.checkpoints import Size
from tests.checkpoints.chexbert import SPECIAL_TOKENS, spread
from tests.checkpoints.corpus import SENTENCES, word_pieces

ENTITY_LABELS = {
    "radgraph-xl": (
        "Observation::definitely present",
        "Anatomy::definitely present",
        "Observation::definitely absent",
        "Observation::uncertain",
        "Anatomy::measurement::definitely present",
        "Anatomy::uncertain",
        "Observation::measurement::definitely present",
    ),
    "radgraph": ("OBS-DP", "ANAT-DP", "OBS-DA", "OBS-U"),
}
RELATION_LABELS = ("modify", "located_at", "suggestive_of")

# About as on real reports with real weights; few enough that most spans and pairs have the null
# label, and enough that a test sees all labels.
_ENTITIES_PER_WORD = 0.3
_RELATED_SHARE = 0.2  # of the pairs of entities that are scored


@dataclass(frozen=True, slots=True)
class _Dimensions:
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    max_length: int
    max_span_width: int
    feature_size: int
    feedforward: int


_DIMENSIONS = {
    Size.TINY: _Dimensions(32, 2, 2, 64, 300, 64, 48, 4, 6, 24),
    # The published models': a BERT base, and the usual sizes of DyGIE++ above it.
    Size.TRUE: _Dimensions(768, 12, 12, 3072, 30522, 512, 512, 8, 20, 150),
}


def build_radgraph(
    folder: Path,
    *,
    model: str = "radgraph-xl",
    size: Size = Size.TINY,
    seed: int = 0,
    texts: Sequence[str] = SENTENCES,
    packed: bool = True,
) -> Path:
    """Write a random checkpoint.

    Args:
        folder: The model's folder; made if it is not there.
        model: `radgraph-xl` or `radgraph`.
        size: TINY for tests, TRUE for benchmarks.
        seed: Of the random weights.
        texts: What the vocabulary of the encoder is made from.
        packed: Whether the archive is a `.tar.gz`; else its files lie in the folder.

    Returns:
        The folder.
    """
    dims = _DIMENSIONS[size]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _encoder(folder / "encoder", dims, texts)
        ids_RT = _rows(folder / "encoder", texts)
        state = {
            f"_embedder.token_embedder_bert._matched_embedder.transformer_model.{name}": tensor
            for name, tensor in encoder.state_dict().items()
        }
        state |= _heads(encoder, ids_RT, model, dims)
        state |= _untrained_modules(dims)
    weights = io.BytesIO()
    torch.save(state, weights)
    config = _config(dims, str((folder / "encoder").absolute()))
    files = {
        "config.json": json.dumps(config).encode(),
        "weights.th": weights.getvalue(),
        "vocabulary/non_padded_namespaces.txt": b"*tags\n*labels\n",
        f"vocabulary/{model}__ner_labels.txt": _lines(("", *ENTITY_LABELS[model])),
        f"vocabulary/{model}__relation_labels.txt": _lines(RELATION_LABELS),
    }
    _write(folder, f"{model}.tar.gz" if packed else None, files)
    return folder


def _lines(labels: Sequence[str]) -> bytes:
    return "".join(f"{label}\n" for label in labels).encode()


def _write(folder: Path, archive_name: str | None, files: Mapping[str, bytes]) -> None:
    if archive_name is None:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        return
    with tarfile.open(folder / archive_name, "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _encoder(folder: Path, dims: _Dimensions, texts: Iterable[str]) -> BertModel:
    """Write configuration and tokenizer of the encoder, as `encoder/` holds them; return it."""
    folder.mkdir(parents=True)
    vocabulary = word_pieces(texts, dims.vocabulary, SPECIAL_TOKENS)
    vocabulary += [f"[unused{number}]" for number in range(dims.vocabulary - len(vocabulary))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = BertConfig(
        vocab_size=dims.vocabulary,
        hidden_size=dims.hidden,
        num_hidden_layers=dims.layers,
        num_attention_heads=dims.heads,
        intermediate_size=dims.intermediate,
        max_position_embeddings=dims.positions,
    )
    config.save_pretrained(folder)
    encoder = BertModel(config).eval()
    if dims is _DIMENSIONS[Size.TINY]:
        spread(encoder)
    return encoder


def _rows(folder: Path, texts: Sequence[str]) -> Tensor:
    """Return (R, 40) ids of the first texts, one behind the other."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(" ".join(texts[:100]), add_special_tokens=False)["input_ids"]
    return torch.tensor(ids[: len(ids) // 40 * 40]).view(-1, 40)[:16]


def _config(dims: _Dimensions, encoder: str) -> dict[str, Any]:
    bert = {"model_name": encoder, "max_length": dims.max_length}
    kind = "pretrained_transformer_mismatched"
    return {
        "dataset_reader": {
            "type": "dygie",
            "max_span_width": dims.max_span_width,
            "token_indexers": {"bert": {"type": kind, **bert}},
        },
        "model": {
            "type": "dygie",
            "embedder": {"token_embedders": {"bert": {"type": kind, **bert}}},
            "initializer": {},
            "module_initializer": {},
            "feature_size": dims.feature_size,
            "feedforward_params": {
                "num_layers": 2,
                "hidden_dims": dims.feedforward,
                "dropout": 0.4,
            },
            "loss_weights": {"coref": 0.0, "events": 0.0, "ner": 0.2, "relation": 1.0},
            "max_span_width": dims.max_span_width,
            "modules": {
                "coref": {"coref_prop": 0, "max_antecedents": 100, "spans_per_word": 0.3},
                "events": {
                    "argument_spans_per_word": 0.8,
                    "loss_weights": {"arguments": 1.0, "trigger": 1.0},
                    "trigger_spans_per_word": 0.3,
                },
                "ner": {},
                "relation": {"spans_per_word": 0.5},
            },
            "target_task": "relation",
        },
    }


def _network(sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Return (weight, bias) of each layer; ReLU keeps the variance of its input."""
    return [
        (torch.randn(after, before) * (2 / before) ** 0.5, torch.zeros(after))
        for before, after in pairwise(sizes)
    ]


def _scores(network: Sequence[tuple[Tensor, Tensor]], vectors: Tensor) -> Tensor:
    for weight, bias in network[:-1]:
        vectors = (vectors @ weight.T + bias).relu()
    weight, bias = network[-1]
    return vectors @ weight.T + bias


def _calibrate(
    network: list[tuple[Tensor, Tensor]],
    vectors: Tensor,
    share: float,
    added: Tensor | float = 0.0,
) -> None:
    """Scale each output to mean 0 and deviation 2, and lower all so that in a share of the rows one
    is above 0 when `added` is added."""
    weight, _ = network[-1]
    scores = _scores(network, vectors)
    scale = 2 / scores.std(dim=0)
    best = ((scores - scores.mean(dim=0)) * scale).max(dim=1).values + added
    bias = -scores.mean(dim=0) * scale - best.quantile(1 - share)
    network[-1] = (weight * scale.unsqueeze(1), bias)


@torch.no_grad()
def _heads(encoder: BertModel, ids_RT: Tensor, model: str, dims: _Dimensions) -> dict[str, Tensor]:
    """Return the parameters of the entity scorer, the pruner and the relation scorer.

    They are scaled so that reports like the rows of `ids_RT` get entities and relations of all
    kinds.
    """
    words = encoder(input_ids=ids_RT).last_hidden_state
    widths = torch.randn(dims.max_span_width, dims.feature_size)
    width = torch.randint(dims.max_span_width, (4000,))
    row = torch.randint(len(ids_RT), (4000,))
    first = torch.randint(ids_RT.shape[1] - dims.max_span_width, (4000,))
    spans = torch.cat([words[row, first], words[row, first + width], widths[width]], dim=1)
    span_size, middle = spans.shape[1], (dims.feedforward, dims.feedforward)
    entity = _network((span_size, *middle, len(ENTITY_LABELS[model])))
    pruner = _network((span_size, *middle, 1))
    relation = _network((3 * span_size, *middle, len(RELATION_LABELS)))
    _calibrate(entity, spans, _ENTITIES_PER_WORD / dims.max_span_width)
    _calibrate(pruner, spans, 0.5)
    found = spans[_scores(entity, spans).max(dim=1).values > 0]
    mention = _scores(pruner, found).squeeze(1)
    kept = mention.topk(len(found) // 2).indices
    first, second = (kept[torch.randint(len(kept), (2000,))] for _ in range(2))
    a, b, added = found[first], found[second], mention[first] + mention[second]
    _calibrate(relation, torch.cat([a, b, a * b], dim=1), _RELATED_SHARE, added)
    entities, pairs = f"{model}__ner_labels", f"{model}__relation_labels"
    return {
        "_endpoint_span_extractor._span_width_embedding.weight": widths,
        **_timed(f"_ner._ner_scorers.{entities}", entity),
        **_timed(f"_relation._mention_pruners.{pairs}._scorer", pruner),
        **_plain(f"_relation._relation_feedforwards.{pairs}", relation[:-1]),
        f"_relation._relation_scorers.{pairs}.weight": relation[-1][0],
        f"_relation._relation_scorers.{pairs}.bias": relation[-1][1],
    }


def _untrained_modules(dims: _Dimensions) -> dict[str, Tensor]:
    """Return the coreference and event modules that a DyGIE++ archive always carries."""
    span_size = 2 * dims.hidden + dims.feature_size
    middle = (dims.feedforward, dims.feedforward)
    mention = _network((span_size, *middle, 1))
    antecedent = _network((3 * span_size + dims.feature_size, *middle, 1))
    return {
        "_coref._distance_embedding.weight": torch.randn(10, dims.feature_size),
        **_plain("_coref._antecedent_feedforward._module", antecedent[:-1]),
        **_timed("_coref._mention_pruner._scorer", mention),
        "_coref._antecedent_scorer._module.weight": antecedent[-1][0],
        "_coref._antecedent_scorer._module.bias": antecedent[-1][1],
        **_plain("_coref._f_network", _network((2 * span_size, span_size))),
        "_events._distance_embedding.weight": torch.randn(10, dims.feature_size),
    }


def _plain(prefix: str, layers: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    state = {}
    for number, (weight, bias) in enumerate(layers):
        state[f"{prefix}._linear_layers.{number}.weight"] = weight
        state[f"{prefix}._linear_layers.{number}.bias"] = bias
    return state


def _timed(prefix: str, network: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Name a feed-forward network and its last layer, each wrapped as AllenNLP does."""
    return {
        **_plain(f"{prefix}.0._module", network[:-1]),
        f"{prefix}.1._module.weight": network[-1][0],
        f"{prefix}.1._module.bias": network[-1][1],
    }
