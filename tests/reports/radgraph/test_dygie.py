"""The model against a plain reading of its definition, one span and one pair at a time."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.reports.radgraph import dygie
from editgrpo.reports.radgraph.dygie import FoundEntity
from editgrpo.reports.radgraph.loading import LoadedRadGraph, load_radgraph
from tests.checkpoints.corpus import SENTENCES

# Long enough for three segments of 48 tokens, and for words that are cut by a segment's end.
LONG = " ".join(SENTENCES).lower().replace(".", " .").split()
REPORTS = [
    LONG,
    ["no", "effusion"],
    ["normal"],
    ["a", "new", "12", "mm", "nodule", ",", "unchanged", ".", "the", "heart", "is", "enlarged"],
    ["left", "\u200b", "effusion"],  # the tokenizer drops the second
    LONG[40:75],
]
MAX_LENGTH, MAX_WIDTH = 48, 4
ENCODER = "_embedder.token_embedder_bert._matched_embedder.transformer_model."
NER, PAIR = "radgraph__ner_labels", "radgraph__relation_labels"

Graph = list[tuple[int, int, int, float, list[tuple[int, int, float]]]]


@pytest.fixture(scope="module")
def loaded(models: Path) -> LoadedRadGraph:
    config = ClinicalConfig(models=str(models), offline=True, device="cpu")
    return load_radgraph(config, ClinicalModel.RADGRAPH)


@pytest.fixture(scope="module")
def plain(models: Path) -> "Plain":
    return Plain(models / "radgraph")


class Plain:
    """The definition, from the archive's own parameter names."""

    def __init__(self, folder: Path) -> None:
        self.state = torch.load(folder / "weights.th", weights_only=True)
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "encoder")
        self.encoder = BertModel(BertConfig.from_pretrained(folder / "encoder")).eval()
        self.encoder.load_state_dict(
            {k.removeprefix(ENCODER): v for k, v in self.state.items() if k.startswith(ENCODER)}
        )

    def network(self, prefix: str, vector: Tensor) -> Tensor:
        for layer in range(2):
            name = f"{prefix}._linear_layers.{layer}"
            weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
            vector = (weight @ vector + bias).clamp(min=0)
        return vector

    def last(self, name: str, vector: Tensor) -> Tensor:
        return self.state[f"{name}.weight"] @ vector + self.state[f"{name}.bias"]

    def words(self, words: Sequence[str]) -> list[Tensor]:
        pieces = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        ids = [piece for word in pieces for piece in word]
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        vectors: list[Tensor] = []
        for start in range(0, len(ids), MAX_LENGTH - 2):
            segment = torch.tensor([[cls, *ids[start : start + MAX_LENGTH - 2], sep]])
            vectors += self.encoder(input_ids=segment).last_hidden_state[0, 1:-1]
        of_words = []
        for word in pieces:
            own, vectors = vectors[: len(word)], vectors[len(word) :]
            of_words.append(torch.stack(own).mean(0) if own else torch.zeros(32))
        return of_words

    def graph(self, words: Sequence[str]) -> Graph:
        vectors = self.words(words)
        widths = self.state["_endpoint_span_extractor._span_width_embedding.weight"]
        spans = [
            (first, last)
            for first in range(len(words))
            for last in range(first, min(first + MAX_WIDTH, len(words)))
        ]
        of_span = [torch.cat([vectors[i], vectors[j], widths[j - i]]) for i, j in spans]
        pruner = f"_relation._mention_pruners.{PAIR}._scorer"
        mention = torch.stack(
            [
                self.last(f"{pruner}.1._module", self.network(f"{pruner}.0._module", vector))[0]
                for vector in of_span
            ]
        )
        kept = mention.topk(math.ceil(0.5 * len(words))).indices.tolist()
        ner = f"_ner._ner_scorers.{NER}"
        found = {}
        for number, vector in enumerate(of_span):
            scores = self.last(f"{ner}.1._module", self.network(f"{ner}.0._module", vector))
            if scores.max() > 0:
                found[number] = (int(scores.argmax()), float(scores.max()))
        graph: Graph = []
        for number, (label, score) in found.items():
            relations = []
            for target, other in enumerate(found):
                if number in kept and other in kept:
                    a, b = of_span[number], of_span[other]
                    hidden = self.network(
                        f"_relation._relation_feedforwards.{PAIR}", torch.cat([a, b, a * b])
                    )
                    raw = self.last(f"_relation._relation_scorers.{PAIR}", hidden)
                    raw = raw + mention[number] + mention[other]
                    if raw.max() > 0:
                        relations.append((int(raw.argmax()), target, float(raw.max())))
            graph.append((*spans[number], label, score, relations))
        return graph


def as_plain(entities: Sequence[FoundEntity], loaded: LoadedRadGraph) -> Graph:
    config = loaded.model.config
    return [
        (
            entity.first_word,
            entity.last_word,
            config.entity_labels.index(entity.label),
            entity.score,
            [
                (config.relation_labels.index(relation.label), relation.target, relation.score)
                for relation in entity.relations
            ],
        )
        for entity in entities
    ]


def find(loaded: LoadedRadGraph, reports: Sequence[Sequence[str]]) -> list[Graph]:
    found = loaded.find(loaded.tokenizer.pieces(reports))
    return [as_plain(entities, loaded) for entities in found]


def flat(graph: Graph) -> tuple[list[tuple[int, ...]], list[float]]:
    """Return what must be equal exactly, and the scores."""
    names, scores = [], []
    for first, last, label, score, relations in graph:
        names.append((first, last, label, *(x for rel in relations for x in rel[:2])))
        scores += [score, *(rel[2] for rel in relations)]
    return names, scores


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(REPORTS)))
@torch.no_grad()
def test_a_report_of_a_batch_is_read_as_the_definition_says(
    loaded: LoadedRadGraph, plain: Plain, number: int
) -> None:
    names, scores = flat(find(loaded, REPORTS)[number])
    expected_names, expected_scores = flat(plain.graph(REPORTS[number]))
    assert names == expected_names
    torch.testing.assert_close(
        torch.tensor(scores), torch.tensor(expected_scores), rtol=1e-5, atol=1e-5
    )


def test_the_reports_have_all_labels_and_enough_relations(loaded: LoadedRadGraph) -> None:
    # Else the comparison above would compare little.
    graphs = find(loaded, REPORTS)
    labels = {label for graph in graphs for _, _, label, _, _ in graph}
    relations = [relation for graph in graphs for entity in graph for relation in entity[4]]
    assert labels == {0, 1, 2, 3}
    assert len(relations) > 10
    assert {label for label, _, _ in relations} == {0, 1, 2}


@pytest.mark.parametrize("others", [[], [1], [0, 2], [5, 4, 0, 1]])
def test_the_neighbours_of_a_report_change_nothing(
    loaded: LoadedRadGraph, others: list[int]
) -> None:
    batch = [REPORTS[3], *(REPORTS[other] for other in others)]
    names, scores = flat(find(loaded, batch)[0])
    alone_names, alone_scores = flat(find(loaded, [REPORTS[3]])[0])
    assert names == alone_names
    torch.testing.assert_close(
        torch.tensor(scores), torch.tensor(alone_scores), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("at_once", [1, 7])
def test_pairs_in_parts_give_what_all_at_once_give(
    loaded: LoadedRadGraph, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    whole = [flat(graph) for graph in find(loaded, REPORTS)]
    monkeypatch.setattr(dygie, "_PAIRS_AT_ONCE", at_once)
    parts = [flat(graph) for graph in find(loaded, REPORTS)]
    assert [names for names, _ in parts] == [names for names, _ in whole]
    for (_, ours), (_, theirs) in zip(parts, whole, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)


def test_segments_have_special_tokens_and_room_for_the_rest(loaded: LoadedRadGraph) -> None:
    pieces = loaded.tokenizer.pieces([LONG, ["normal"]])
    count = sum(map(len, pieces[0]))
    batch = loaded.tokenizer.batch(pieces)
    n_long = math.ceil(count / 46)  # 48 tokens less [CLS] and [SEP]
    assert batch.ids_ST.shape == (n_long + 1, 48)
    assert batch.is_token_ST.sum(dim=1)[-1] == 2 + sum(map(len, pieces[1]))
    assert loaded.tokenizer.length(pieces[0]) == count + 2 * n_long
    assert batch.words_R == (len(LONG), 1)
