"""Inference of a DyGIE++ model over many reports at once, in plain torch.

Words of all reports of a batch stand behind one another without padding, so that a report's
result does not depend on its neighbours. Three identities save work and change nothing but the
order of a few float32 sums:

- A linear layer over [first word; last word; width] is the sum of three smaller ones, computed once
  a word and once a width instead of once a span.
- A linear layer over [a; b; a * b] is the sum of one over a, one over b (once a span) and one over
  the product (once a pair).
- A relation counts only between two entities, so only pairs of entities are scored.

Source: DyGIE++ (EMNLP 2019) as in radgraph 0.1.18; tests/parity/clinical/test_radgraph.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_PAIRS_AT_ONCE = 2048  # bounds the products at 2048 * 1556 float32: 13 MB, which a cache can hold


@dataclass(frozen=True, kw_only=True, slots=True)
class DyGIEConfig:
    """Sizes of the layers above the encoder.

    Attributes:
        word_size: D, of the encoder's vectors.
        width_size: Of the embedding of a span's width.
        max_span_width: Most words of a span.
        hidden_sizes: Of the feed-forward networks, in order.
        spans_per_word: Spans that may have relations, for each word of the report.
        entity_labels: Without the null label.
        relation_labels: Without a null label.
    """

    word_size: int
    width_size: int
    max_span_width: int
    hidden_sizes: tuple[int, ...]
    spans_per_word: float
    entity_labels: tuple[str, ...]
    relation_labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WordPieces:
    """The wordpieces of a batch of reports, folded into segments that the encoder can read.

    Attributes:
        ids_ST: (S, T) int64 ids of S segments, special tokens included, padded at the end.
        is_token_ST: (S, T) bool, False at padding.
        place_P: (P,) int64, where in the flattened segments each wordpiece of a word stands.
        word_P: (P,) int64, the word of each wordpiece, counted over all reports.
        words_R: Words of each report, at least 1.
    """

    ids_ST: Tensor
    is_token_ST: Tensor
    place_P: Tensor
    word_P: Tensor
    words_R: tuple[int, ...]

    def to(self, device: torch.device) -> "WordPieces":
        """Return the same on another device."""
        return WordPieces(
            ids_ST=self.ids_ST.to(device),
            is_token_ST=self.is_token_ST.to(device),
            place_P=self.place_P.to(device),
            word_P=self.word_P.to(device),
            words_R=self.words_R,
        )


@dataclass(frozen=True, slots=True)
class FoundRelation:
    """A relation: label, index of the other entity of the report, raw score."""

    label: str
    target: int
    score: float


@dataclass(frozen=True, slots=True)
class FoundEntity:
    """An entity: first and last word (included), label, raw score, relations by target."""

    first_word: int
    last_word: int
    label: str
    score: float
    relations: tuple[FoundRelation, ...]


class _Spans:
    """All spans of a batch: (N,) int64 first word, width - 1, and N's bounds for each report."""

    def __init__(self, words_R: Sequence[int], max_width: int, device: torch.device) -> None:
        words_per = torch.tensor(words_R, device=device)
        ends_R = words_per.cumsum(0)
        report_W = torch.repeat_interleave(words_per)
        left_W = ends_R[report_W] - torch.arange(len(report_W), device=device)
        spans_W = left_W.clamp(max=max_width)
        self.first_N = torch.repeat_interleave(spans_W)
        before_W = spans_W.cumsum(0) - spans_W
        self.width_N = torch.arange(len(self.first_N), device=device) - before_W[self.first_N]
        self.report_N = report_W[self.first_N]
        per_report = torch.zeros_like(words_per).index_add_(0, report_W, spans_W).tolist()
        self.per_report: list[int] = per_report
        self.first_word_R = ends_R - words_per


class DyGIE(nn.Module):
    """Encoder, entity scorer, pruner and relation scorer of one data set's labels.

    Built with random weights, which are to be loaded.

    Args:
        encoder: Called with `input_ids` and `attention_mask`; gives `last_hidden_state`.
        config: Sizes of the layers above it.
    """

    def __init__(self, encoder: nn.Module, config: DyGIEConfig) -> None:
        super().__init__()
        span_size = 2 * config.word_size + config.width_size
        self.config = config
        self.encoder = encoder
        self.width_embedding = nn.Embedding(config.max_span_width, config.width_size)
        self.entity_scorer = _network(span_size, config.hidden_sizes, len(config.entity_labels))
        self.pruner = _network(span_size, config.hidden_sizes, 1)
        self.relation_scorer = _network(
            3 * span_size, config.hidden_sizes, len(config.relation_labels)
        )

    @torch.inference_mode()
    def forward(self, pieces: WordPieces) -> list[list[FoundEntity]]:
        """Find the entities of each report and their relations.

        Args:
            pieces: A batch on the model's device.

        Returns:
            For each report its entities, by first and then by last word.
        """
        words_WD = self.embed_words(pieces)
        spans = _Spans(pieces.words_R, self.config.max_span_width, words_WD.device)
        scores_NL, mention_N = self.score_spans(words_WD, spans.first_N, spans.width_N)
        best_N, label_N = scores_NL.max(dim=1)
        is_entity_N = best_N > 0  # 0 is the null label's score
        may_relate_N = is_entity_N & self._pruned(mention_N, spans.per_report, pieces.words_R)
        kept_K = may_relate_N.nonzero().squeeze(1)
        relations = self._relations(words_WD, spans, mention_N, kept_K)
        found_E = is_entity_N.nonzero().squeeze(1)
        return self._collect(spans, found_E, label_N, best_N, relations)

    def embed_words(self, pieces: WordPieces) -> Tensor:
        """Return (W, D) float32, the mean of each word's wordpieces; zeros for a word of none."""
        hidden_STD = self.encoder(
            input_ids=pieces.ids_ST, attention_mask=pieces.is_token_ST
        ).last_hidden_state
        hidden_PD = hidden_STD.flatten(0, 1).index_select(0, pieces.place_P).float()
        sum_WD = hidden_PD.new_zeros(sum(pieces.words_R), hidden_PD.shape[1])
        sum_WD.index_add_(0, pieces.word_P, hidden_PD)
        count_W = torch.bincount(pieces.word_P, minlength=len(sum_WD))
        words_WD: Tensor = sum_WD / count_W.clamp(min=1).unsqueeze(1)
        return words_WD

    def score_spans(
        self, words_WD: Tensor, first_N: Tensor, width_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score spans as entities and as candidates for relations.

        Args:
            words_WD: (W, D) float32, the words of all reports.
            first_N: (N,) int64, the first word of each span.
            width_N: (N,) int64, words of each span less one.

        Returns:
            (N, L) float32 entity scores, the null label left out, and (N,) float32 mention scores.
        """
        networks = (self.entity_scorer, self.pruner)
        weight_HI = torch.cat([_first(network).weight for network in networks])
        bias_H = torch.cat([_first(network).bias for network in networks])
        word_size = self.config.word_size
        starts_WH = words_WD @ weight_HI[:, :word_size].T
        ends_WH = words_WD @ weight_HI[:, word_size : 2 * word_size].T
        widths_MH = linear(self.width_embedding.weight, weight_HI[:, 2 * word_size :], bias_H)
        hidden_NH = starts_WH.index_select(0, first_N)
        hidden_NH += ends_WH.index_select(0, first_N + width_N)
        hidden_NH += widths_MH.index_select(0, width_N)
        of_entity, of_mention = hidden_NH.chunk(2, dim=1)
        return self.entity_scorer[1:](of_entity), self.pruner[1:](of_mention).squeeze(1)

    def _pruned(self, mention_N: Tensor, per_report: list[int], words_R: Sequence[int]) -> Tensor:
        """Return (N,) bool, True for the best spans of each report by mention score."""
        # In float32, as the package multiplies.
        keep_R = torch.ceil(torch.tensor(words_R).float() * self.config.spans_per_word).long()
        is_kept_N = torch.zeros(len(mention_N), dtype=torch.bool)
        start = 0
        # One report at a time: which of several equal scores topk takes depends on their number.
        for scores, keep in zip(
            torch.split(mention_N.cpu(), per_report), keep_R.tolist(), strict=True
        ):
            best = scores.topk(min(max(keep, 1), len(scores)), sorted=False).indices
            is_kept_N[start + best] = True
            start += len(scores)
        return is_kept_N.to(mention_N.device)

    def _relations(
        self, words_WD: Tensor, spans: _Spans, mention_N: Tensor, kept_K: Tensor
    ) -> dict[int, list[tuple[int, int, float]]]:
        """Return span to (other span, label, score) for all relations between the kept spans."""
        first_K, width_K = spans.first_N[kept_K], spans.width_N[kept_K]
        vectors_KI = torch.cat(
            [words_WD[first_K], words_WD[first_K + width_K], self.width_embedding(width_K)], dim=1
        )
        mention_K = mention_N[kept_K]
        found: dict[int, list[tuple[int, int, float]]] = {}
        layer = _first(self.relation_scorer)
        weight_a, weight_b, weight_product = layer.weight.chunk(3, dim=1)
        first_KH = linear(vectors_KI, weight_a, layer.bias)
        second_KH = linear(vectors_KI, weight_b)
        for a, b in _pairs(spans.report_N[kept_K]):
            hidden = linear(vectors_KI[a] * vectors_KI[b], weight_product)
            hidden += first_KH[a]
            hidden += second_KH[b]
            scores = self.relation_scorer[1:](hidden)
            best, label = (scores + (mention_K[a] + mention_K[b]).unsqueeze(1)).max(dim=1)
            related = best > 0
            rows = (kept_K[a[related]], kept_K[b[related]], label[related], best[related])
            for subject, other, index, score in zip(*(row.tolist() for row in rows), strict=True):
                found.setdefault(subject, []).append((other, index, score))
        return found

    def _collect(
        self,
        spans: _Spans,
        found_E: Tensor,
        label_N: Tensor,
        best_N: Tensor,
        relations: dict[int, list[tuple[int, int, float]]],
    ) -> list[list[FoundEntity]]:
        """Number the entities of each report and put the relations to them."""
        report_E = spans.report_N[found_E]
        first_E = spans.first_N[found_E] - spans.first_word_R[report_E]
        last_E = first_E + spans.width_N[found_E]
        columns = (found_E, report_E, first_E, last_E, label_N[found_E], best_N[found_E])
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        entities: list[list[FoundEntity]] = [[] for _ in spans.per_report]
        number: dict[int, int] = {}
        counts = [0] * len(entities)
        for span, report, *_ in rows:
            number[span] = counts[report]
            counts[report] += 1
        for span, report, first, last, label, score in rows:
            of_span = tuple(
                FoundRelation(self.config.relation_labels[index], number[other], value)
                for other, index, value in relations.get(span, ())
            )
            name = self.config.entity_labels[label]
            entities[report].append(FoundEntity(first, last, name, score, of_span))
        return entities


def _network(input_size: int, hidden_sizes: Sequence[int], output_size: int) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    sizes = (input_size, *hidden_sizes)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], output_size))


def _first(network: nn.Sequential) -> nn.Linear:
    layer = network[0]
    assert isinstance(layer, nn.Linear)
    return layer


def _pairs(report_K: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all ordered pairs of spans of one report, itself included, by first and then by second.

    Args:
        report_K: (K,) int64 ascending, the report of each span.

    Yields:
        (Q,) int64 indices of the first and of the second spans, Q at most `_PAIRS_AT_ONCE` but for
        the pairs of a single span.
    """
    per_report = torch.bincount(report_K) if len(report_K) else report_K
    start_R = per_report.cumsum(0) - per_report
    partners_K = per_report[report_K]
    first_Q = torch.repeat_interleave(partners_K)
    before_K = partners_K.cumsum(0) - partners_K
    second_Q = torch.arange(len(first_Q), device=report_K.device) - before_K[first_Q]
    second_Q += start_R[report_K[first_Q]]
    yield from zip(
        torch.split(first_Q, _PAIRS_AT_ONCE), torch.split(second_Q, _PAIRS_AT_ONCE), strict=True
    )
