"""Does a frozen tower see a finding? Linear probes on its features.

Each finding has a logistic regression of its own, on the features of the study's current films. Two
views of the same features are tried, pooled over a film and token by token, at a few strengths of
regularisation; the studies that decide among them take no part in the fit, nor in the answer.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from editgrpo.data.study import Study, View
from editgrpo.training.policy.features import encode_images
from editgrpo.training.policy.prompts import PromptEncoder

# On the squared coefficients of standardised features, beside the mean loss of a study.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
# Share of the training studies that choose among the probes.
_CHOOSING = 0.2
_ITERATIONS = 60
_BATCH = 32


def film_features(
    model: Any, encoder: PromptEncoder, studies: Sequence[Study]
) -> dict[str, NDArray[np.float32]]:
    """Compute what the tower makes of the current films of studies.

    Args:
        model: The policy, unwrapped, in evaluation mode.
        encoder: Of the studies' set.
        studies: N studies, all of one size of film.

    Returns:
        Two views of the same features, (N, ...) float32 each: `pooled` (mean and maximum over the
        tokens of a film) and `tokens` (all of them). A frontal film stands before a lateral one; a
        missing film is zeros, and a last column says whether it is there.
    """
    rows: list[tuple[Tensor, Tensor | None]] = []
    for start in range(0, len(studies), _BATCH):
        batch = list(studies[start : start + _BATCH])
        for study, prompt in zip(batch, encoder.encode_all(batch), strict=True):
            with torch.no_grad():
                features = encode_images(model, prompt)
            assert features is not None and prompt.image_grid_thw is not None  # films, all of them
            films = features.chunk(prompt.image_grid_thw.shape[0])
            rows.append(_current(study, dict(zip(prompt.image_ids, films, strict=True))))
    blank = torch.zeros_like(rows[0][0])
    pairs = [(frontal, blank if lateral is None else lateral) for frontal, lateral in rows]
    seen = torch.tensor([[lateral is not None] for _, lateral in rows], dtype=torch.float32)
    pooled = [torch.cat([part for film in pair for part in _pool(film)]) for pair in pairs]
    tokens = [torch.cat([film.flatten() for film in pair]) for pair in pairs]
    return {
        name: torch.cat([torch.stack(parts).float().cpu(), seen], dim=1).numpy()
        for name, parts in (("pooled", pooled), ("tokens", tokens))
    }


def _current(study: Study, films: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the frontal and, if there is one, the lateral film of the study itself."""
    by_view = {image.view: films[image.image_id] for image in study.current_images}
    lateral = by_view.pop(View.LATERAL, None)
    (frontal,) = by_view.values()
    return frontal, lateral


def _pool(film_TD: Tensor) -> tuple[Tensor, Tensor]:
    return film_TD.mean(dim=0), film_TD.amax(dim=0)


def probe_auc(
    train: dict[str, NDArray[np.float32]],
    train_labels_NF: NDArray[np.uint8],
    test: dict[str, NDArray[np.float32]],
    test_labels_MF: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Fit probes on some studies and measure on others how well they tell findings.

    Args:
        train: Views of N studies, from `film_features`.
        train_labels_NF: (N, F) of 0 and 1.
        test: The same views of M studies.
        test_labels_MF: (M, F).

    Returns:
        (F,) area under the ROC curve on the M studies of the probe that did best on a fifth of the
        N, which were kept out of its fit; NaN where one of the two sets has a single class.
    """
    fit = slice(None, round(len(train_labels_NF) * (1 - _CHOOSING)))
    choose = slice(fit.stop, None)
    chosen, answers = [], []
    for name, features in train.items():
        probes = _fitted(features[fit], train_labels_NF[fit])
        for scores_of in probes:
            chosen.append(auc(scores_of(features[choose]), train_labels_NF[choose]))
            answers.append(auc(scores_of(test[name]), test_labels_MF))
    best_F = np.nan_to_num(np.stack(chosen), nan=-1.0).argmax(axis=0)
    return np.asarray(np.take_along_axis(np.stack(answers), best_F[None], axis=0)[0])


def _fitted(features_NK: NDArray[np.float32], labels_NF: NDArray[np.uint8]) -> Iterator[Any]:
    """Fit a probe for each penalty; each maps features to (N, F) scores."""
    features = torch.from_numpy(features_NK)
    mean, std = features.mean(dim=0), features.std(dim=0)
    # A column that hardly varies would be blown up to noise.
    scale = torch.where(std > 1e-6, std, torch.inf)
    inputs = (features - mean) / scale / features.shape[1] ** 0.5
    targets = torch.from_numpy(labels_NF.astype(np.float32))
    for penalty in _PENALTIES:
        weights = _minimised(inputs, targets, penalty)

        def scores(
            rows: NDArray[np.float32], weights: Tensor = weights, width: int = features.shape[1]
        ) -> NDArray[np.float32]:
            ready = (torch.from_numpy(rows) - mean) / scale / width**0.5
            return np.asarray((ready @ weights).numpy())

        yield scores


def _minimised(inputs_NK: Tensor, targets_NF: Tensor, penalty: float) -> Tensor:
    """Return the (K, F) weights of F independent logistic regressions."""
    shape = (inputs_NK.shape[1], targets_NF.shape[1])
    weights = torch.zeros(shape, requires_grad=True)
    bias = torch.zeros(shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = inputs_NK @ weights + bias
        value = binary_cross_entropy_with_logits(logits, targets_NF, reduction="none")
        total = value.mean(dim=0).sum() + penalty / inputs_NK.shape[1] * weights.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def auc(scores_NF: NDArray[np.float32], labels_NF: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the area under the ROC curve of each column.

    Args:
        scores_NF: (N, F), higher for what is present.
        labels_NF: (N, F) of 0 and 1.

    Returns:
        (F,): the chance that a present study has a higher score than an absent one, ties counting
        a half; NaN where a class is missing.
    """
    columns = zip(scores_NF.T, labels_NF.T.astype(bool), strict=True)
    return np.array([_area(scores_N, is_present_N) for scores_N, is_present_N in columns])


def _area(scores_N: NDArray[np.float32], is_present_N: NDArray[np.bool_]) -> float:
    present, absent = scores_N[is_present_N], np.sort(scores_N[~is_present_N])
    if not len(present) or not len(absent):
        return float("nan")
    below = np.searchsorted(absent, present, side="left")
    not_above = np.searchsorted(absent, present, side="right")
    return float((below + not_above).mean() / 2 / len(absent))
