"""The likelihood of the reference reports as well as the policy gradient, as in CHORD
(arXiv:2508.11408): a term of the loss, which `objective.likelihood` weighs.

The reference of a study is one more row of its packed group, behind the responses: it costs no
pass of its own. It is no response of the group: it has no reward and no part in any baseline.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from editgrpo.config import TrainConfig
from editgrpo.training.step.annealing import what_is_left
from editgrpo.training.step.credit import token_weights
from editgrpo.training.step.kl import aggregate_tokens
from editgrpo.training.step.step_group import StepGroup


def likelihood_weight(config: TrainConfig, step: int) -> float:
    """Return what the likelihood of the references is multiplied by at a step.

    Args:
        config: The run.
        step: Steps taken before this one, from 0.

    Returns:
        0 or more.
    """
    objective = config.objective
    return objective.likelihood * what_is_left(
        objective.likelihood_anneal, step, until=objective.likelihood_until * config.steps
    )


def part_rows(
    values_BC: Tensor, groups: Sequence[StepGroup], *, columns: int
) -> tuple[Tensor, Tensor]:
    """Part the rows of packed groups into those of their responses and those of their references.

    Args:
        values_BC: (B, C) a value of each token, in the order of the groups' rows.
        groups: P groups.
        columns: Columns of the longest response.

    Returns:
        (P*G, columns) of the responses, and (R, C) of the R references that there are.
    """
    is_reference: list[bool] = []
    for one in groups:
        is_reference += [False] * len(one.scored.group.responses)
        is_reference += [True] * bool(one.reference_ids)
    if not any(is_reference):
        return values_BC, values_BC[:0]
    is_reference_B = torch.tensor(is_reference, device=values_BC.device)
    return values_BC[~is_reference_B][:, :columns], values_BC[is_reference_B]


class ReferenceLikelihood:
    """The term of a run, and what it tells of each step.

    Args:
        config: The run.
        constant: Dr. GRPO's, the length limit of a response.
    """

    def __init__(self, config: TrainConfig, *, constant: int) -> None:
        self._config = config
        self._constant = constant
        self._sums: Tensor | None = None

    def term(self, step: int, rows_RC: Tensor, groups: Sequence[StepGroup]) -> Tensor | float:
        """Compute the term of a pass: the weighed negative log-likelihood of its references.

        Tokens are added up as the policy's part of the loss does it (`objective.loss`), so that a
        reference of weight 1 teaches as much as its whole group would with advantages of 1, and
        each is multiplied by its weight of `objective.likelihood_shaping`.

        Args:
            step: Steps taken before this one, from 0.
            rows_RC: (R, C) float32 log-probabilities of the references' tokens, from `part_rows`.
            groups: P groups, R of them with a reference.

        Returns:
            () float32, a mean over the P groups, one without a reference counting as 0; 0 where
            the weight is 0.
        """
        weight = likelihood_weight(self._config, step)
        if not weight:
            return 0.0
        lengths = [len(one.reference_ids) for one in groups if one.reference_ids]
        counts = (sum(lengths), len(lengths), len(groups))
        sums = torch.tensor([float(-rows_RC.detach().sum()), *counts], dtype=torch.float64)
        self._sums = sums if self._sums is None else self._sums + sums
        if not lengths:
            return 0.0
        lengths_R = torch.tensor(lengths, device=rows_RC.device)
        columns_C = torch.arange(rows_RC.shape[1], device=rows_RC.device)
        objective = self._config.objective
        loss = aggregate_tokens(
            -rows_RC * token_weights(rows_RC, objective.likelihood_shaping),
            columns_C < lengths_R[:, None],
            objective.loss,
            constant=self._constant,
        )
        return weight * loss * (len(lengths) / len(groups))

    def take_metrics(
        self, step: int, add_up: Callable[[Tensor], Tensor], device: torch.device
    ) -> dict[str, float]:
        """Say how likely the references of a step were.

        Args:
            step: Steps taken before this one, from 0.
            add_up: Adds a tensor up over all processes, which call this together.
            device: Where their tensors are.

        Returns:
            `likelihood/nats`, negative log-likelihood a token; `likelihood/weight`; and
            `likelihood/unused`, the share of references over the length limit. Nothing where the
            run has no such term.
        """
        if not self._config.objective.likelihood:
            return {}
        own, self._sums = self._sums, None
        none = torch.zeros(4, dtype=torch.float64)
        nats, tokens, used, asked = add_up((none if own is None else own).to(device)).tolist()
        metrics = {"likelihood/weight": likelihood_weight(self._config, step)}
        if asked:
            metrics["likelihood/unused"] = 1 - used / asked
        if tokens:
            metrics["likelihood/nats"] = nats / tokens
        return metrics
