"""BERTScore: how well the tokens of two reports match in meaning.

Every token's contextual embedding is matched greedily with the closest one of the other report;
values equal those of bert-score 0.3.13, without idf weights and rescaled by its published baselines
(tests/parity/clinical/test_bert_score.py). Why not a library: bert-score itself is no longer
maintained and calls what transformers 5 no longer has; torchmetrics leaves [CLS] and [SEP] out of
the tokens that may be matched, which gives other values, and downloads the baselines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.batching import run_rows
from editgrpo.clinical.device import batch_tokens, torch_device, torch_dtype
from editgrpo.clinical.memo import Memo
from editgrpo.clinical.shared import shared_model
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig

if TYPE_CHECKING:
    from editgrpo.metrics.token_embeddings import TokenEncoder

LAYER = 5
"""Layer whose embeddings are matched: bert-score's default for both models."""

BASELINES: Mapping[ClinicalModel, float] = {
    ClinicalModel.DISTILBERT: 0.66620487,
    ClinicalModel.DISTILROBERTA: 0.8473319,
}
"""F1 of unrelated English sentences at `LAYER`, published with bert-score 0.3.13
(rescale_baseline/en)."""

_PAIRS = 128
"""Pairs that are compared at a time: at 100 tokens of 768 numbers a text takes 0.3 MB, so that
embeddings of a whole test set at once would not fit into memory."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The tokens of a text.

    Attributes:
        unit_TD: (T, D) float32, embeddings of norm 1, special tokens included.
        weight_T: (T,) float64, what each token counts; special tokens have 0 but can be matched.
    """

    unit_TD: NDArray[np.float32]
    weight_T: NDArray[np.float64]


def greedy_f1(candidate: TokenVectors, reference: TokenVectors) -> float:
    """Match every token with the closest one of the other text.

    Args:
        candidate: Tokens of the generated report.
        reference: Tokens of the reference report.

    Returns:
        Harmonic mean of the weighted means of the best cosines of the candidate's tokens and of the
        reference's, not rescaled; 0 if either text has no token that counts.

    Source: BERTScore (ICLR 2020), equations of P, R and F1; bert-score 0.3.13 `greedy_cos_idf`
    for one pair (in a batch it takes padding for a token of cosine 0, which matters only where all
    cosines of a token are negative).
    """
    if not candidate.weight_T.any() or not reference.weight_T.any():
        return 0.0
    cosine_CR = candidate.unit_TD @ reference.unit_TD.T
    precision = np.average(cosine_CR.max(axis=1), weights=candidate.weight_T)
    recall = np.average(cosine_CR.max(axis=0), weights=reference.weight_T)
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def rescaled(score: float, baseline: float) -> float:
    """Stretch a score so that unrelated texts are near 0 and equal texts at 1.

    Args:
        score: Of `greedy_f1`.
        baseline: What unrelated texts score, below 1.

    Returns:
        (score - baseline) / (1 - baseline), which is negative below the baseline: a pair with an
        empty report has -2.0 with DistilBERT and -5.6 with DistilRoBERTa.
    """
    return (score - baseline) / (1 - baseline)


class BertScore:
    """BERTScore F1, rescaled, without idf.

    The model is loaded at the first comparison.

    Attributes:
        name: `bertscore@<model>`.

    Args:
        model: One of `BASELINES`.
        config: Where it lies and how it runs; None takes the defaults.
    """

    def __init__(self, model: ClinicalModel, config: ClinicalConfig | None = None) -> None:
        self.name = f"bertscore@{model.value}"
        self._model = model
        self._baseline = BASELINES[model]
        self._config = config or ClinicalConfig()
        self._embedded = Memo(self._embed, capacity=2 * _PAIRS)

    def read(self, texts: Sequence[str]) -> list[str]:
        """Return the texts themselves: their embeddings are too large to be kept by the thousand.

        `compare` makes them, each once as long as its pairs stand together.
        """
        return [text.strip() for text in texts]

    def compare(self, candidates: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs."""
        # Pairs of one reference side by side, so that its embeddings are at hand for all of them.
        order = sorted(
            range(len(references)), key=lambda pair: (references[pair], candidates[pair])
        )
        scores_N = np.zeros(len(references))
        for start in range(0, len(order), _PAIRS):
            block = order[start : start + _PAIRS]
            vectors = self._embedded(
                [*(candidates[pair] for pair in block), *(references[pair] for pair in block)]
            )
            matched = zip(block, vectors[: len(block)], vectors[len(block) :], strict=True)
            for pair, candidate, reference in matched:
                scores_N[pair] = rescaled(greedy_f1(candidate, reference), self._baseline)
        return scores_N

    def _embed(self, texts: Sequence[str]) -> list[TokenVectors]:
        encoder = self._encoder()
        rows = encoder.tokenize(texts)
        embeddings = run_rows(rows, encoder.embed, max_tokens=batch_tokens(self._config))
        return [
            TokenVectors(unit_TD, np.array([id_ not in encoder.special_ids for id_ in row], float))
            for unit_TD, row in zip(embeddings, rows, strict=True)
        ]

    def _encoder(self) -> "TokenEncoder":
        from editgrpo.metrics.token_embeddings import TokenEncoder

        device, dtype = torch_device(self._config), torch_dtype(self._config)
        return shared_model(
            self._model,
            self._config,
            lambda folder: TokenEncoder(
                folder, self._model, layers=LAYER, device=device, dtype=dtype
            ),
        )
