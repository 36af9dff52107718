"""SembScore and RadCliQ-v1, a linear fit to the number of errors that radiologists counted.

RadCliQ-v1 is lower for better reports. It is defined here for one report, from its own reference
alone, as leaderboards use it. RadEval 2.2 differs twice: it weighs BERTScore's tokens by how rare
they are among the references of the call, so that a report's value depends on the other reports,
and its aggregate is 1 / mean, which is not the mean of anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from editgrpo.metrics.check import checked_read, score_pairs
from editgrpo.metrics.component import Component


@dataclass(frozen=True, slots=True)
class _Term:
    """One input of the fit: standardised by mean and scale, then multiplied by the coefficient."""

    mean: float
    scale: float
    coefficient: float


# The published fit (rajpurkarlab/CXR-Report-Metric, its saved scaler and regression). Its fourth
# input, BLEU-2, has the coefficient 4.3e-12 and is left out: with mean 0.447 and scale 0.299 it
# moves the value by less than 1e-11.
_RADGRAPH = _Term(mean=0.53792312, scale=0.30282584, coefficient=-0.377083683)
_BERT_SCORE = _Term(mean=0.61757256, scale=0.22430938, coefficient=-0.370300100)
_SEMB = _Term(mean=0.76479421, scale=0.25394391, coefficient=-0.252616218)
_INTERCEPT = 2.46655256e-10


def radcliq_v1(
    radgraph_N: NDArray[np.float64],
    bert_score_N: NDArray[np.float64],
    semb_N: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Combine three metrics of N reports.

    Args:
        radgraph_N: (N,) mean of RadGraph's entity F1 and relation F1, in [0, 1].
        bert_score_N: (N,) BERTScore F1 of distilroberta-base, rescaled, at most 1.
        semb_N: (N,) cosine of CheXbert's embeddings, in [-1, 1].

    Returns:
        (N,) float64, lower is better: -1.4407 where all three are 1, 2.4501 where all are 0.

    Source: RadCliQ-v1 (Patterns 2023); coefficients of rajpurkarlab/CXR-Report-Metric.
    """
    total_N = np.full(len(radgraph_N), _INTERCEPT)
    for term, value_N in ((_RADGRAPH, radgraph_N), (_BERT_SCORE, bert_score_N), (_SEMB, semb_N)):
        total_N += term.coefficient * (value_N - term.mean) / term.scale
    return total_N


class Embedder(Protocol):
    """Gives a text one vector, as `CheXbertLabeler` does."""

    name: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) float32."""
        ...


class SembScore:
    """Cosine of the embeddings of two reports.

    Attributes:
        name: `semb@<embedder>`.

    Args:
        embedder: Embeds reports.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.name = f"semb@{embedder.name}"
        self._embedder = embedder

    def read(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the (D,) embedding of each text."""
        return list(self._embedder.embed(texts))

    def compare(
        self, candidates: Sequence[NDArray[np.float32]], references: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """Return the (N,) cosines of N pairs; 0 where an embedding is zero."""
        candidate_ND = np.stack(candidates).astype(np.float64)
        reference_ND = np.stack(references).astype(np.float64)
        norm_N = np.linalg.norm(candidate_ND, axis=1) * np.linalg.norm(reference_ND, axis=1)
        dot_N = np.einsum("nd,nd->n", candidate_ND, reference_ND)
        return np.asarray(dot_N / np.where(norm_N == 0, 1.0, norm_N))


class RadCliQ:
    """RadCliQ-v1 of one report; lower is better.

    Attributes:
        name: `radcliq-v1`.

    Args:
        radgraph: `radgraph/rexrank@radgraph`.
        bert_score: `bertscore@distilroberta-base`.
        semb: `semb@chexbert`.
    """

    name = "radcliq-v1"

    def __init__(
        self, radgraph: Component[Any], bert_score: Component[Any], semb: Component[Any]
    ) -> None:
        self._parts = (radgraph, bert_score, semb)

    def read(self, texts: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return what the three metrics read of each text."""
        return list(zip(*(checked_read(part)(texts) for part in self._parts), strict=True))

    def compare(
        self, candidates: Sequence[tuple[Any, ...]], references: Sequence[tuple[Any, ...]]
    ) -> NDArray[np.float64]:
        """Return the (N,) scores of N pairs."""
        values = [
            score_pairs(
                part,
                [facts[index] for facts in candidates],
                [facts[index] for facts in references],
            )
            for index, part in enumerate(self._parts)
        ]
        return radcliq_v1(*values)


class NegatedRadCliQ:
    """RadCliQ-v1 with its sign turned, as it is paid: 1.4407 for a perfect report.

    Attributes:
        name: `radcliq-v1-negated`.

    Args:
        radcliq: `radcliq-v1`.
    """

    name = "radcliq-v1-negated"

    def __init__(self, radcliq: Component[Any]) -> None:
        self._radcliq = radcliq

    def read(self, texts: Sequence[str]) -> Sequence[Any]:
        """Return what RadCliQ-v1 reads of each text."""
        return checked_read(self._radcliq)(texts)

    def compare(self, candidates: Sequence[Any], references: Sequence[Any]) -> NDArray[np.float64]:
        """Return the (N,) negated scores of N pairs."""
        return -score_pairs(self._radcliq, candidates, references)
