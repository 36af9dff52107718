"""Which tokens of a group are trained on, and by what: advantages by token.

The splice knows, token by token, what an edited response shares with the rollout that it was made
from. What the two do not share is the *span*: all that the edit put in, and all that it took out.
Where one side has nothing there (a deletion, an augmentation), its span is the token with which it
goes on: that is where the two parted.

Left out on purpose: advantages of whole responses (advantages.py). docs/objective-variants.md has
the reasons.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import or_

import torch
from torch import Tensor

from editgrpo.config import Credit, EditWeight, ObjectiveConfig
from editgrpo.training.step.responses import Kind, Response
from editgrpo.training.step.scoring import ScoredGroup

# LUFFY's shaping f(p) = p / (p + gamma), arXiv:2504.14945.
_GAMMA = 0.1
_ANYTHING = -1  # no place of a token: whatever comes next belongs there


def parted(places: Sequence[int | None]) -> list[bool]:
    """Find the tokens of one text that are not shared with another, or follow something else there.

    Args:
        places: For each token where it stands in the other text, ascending; None if it does not.

    Returns:
        For each token True if it has no place, or if the other text holds something between it and
        the token before that this text does not hold.
    """
    flags, expected = list[bool](), 0
    for place in places:
        # Behind what the other text lacks anything may follow: that it parted is marked already.
        flags.append(place is None or expected not in (place, _ANYTHING))
        expected = _ANYTHING if place is None else place + 1
    return flags


def spliced_tokens(response: Response) -> list[bool]:
    """Mark what the policy did not write: the span of an edited response, all of a reference.

    Args:
        response: Any response.

    Returns:
        For each of its tokens whether it is such a one; nowhere in a sampled one, and where the
        rollout appears twice.
    """
    if response.kind is Kind.REFERENCE:
        return [not response.is_unused_edit] * len(response.token_ids)
    if response.kind is not Kind.EDITED or response.source_T is None:
        return [False] * len(response.token_ids)
    return parted(response.source_T)


def replaced_tokens(edited: Response, source: Response) -> list[bool]:
    """Mark the span of a rollout: what an edit took out of it.

    Args:
        edited: A response that was made from the rollout.
        source: The rollout.

    Returns:
        For each token of the rollout whether it is in its span.
    """
    if edited.source_T is None:
        return [False] * len(source.token_ids)
    places: list[int | None] = [None] * len(source.token_ids)
    for place, token in enumerate(edited.source_T):
        if token is not None:
            places[token] = place
    return parted(places)


def token_advantages(scored: ScoredGroup, credit: Credit) -> list[list[float]]:
    """Lay the advantages of a group on its tokens.

    Args:
        scored: A group, whose edited responses have their gain as advantage unless `credit` is
            RESPONSE.
        credit: Which tokens of edited responses and of their rollouts are trained on.

    Returns:
        For each response one advantage a token.
    """
    responses = scored.group.responses
    rows = [
        [value] * len(response.token_ids)
        for response, value in zip(responses, scored.advantages_G, strict=True)
    ]
    if credit is Credit.RESPONSE:
        return rows
    for number, (edited, gain) in enumerate(zip(responses, scored.advantages_G, strict=True)):
        if edited.kind is not Kind.EDITED or edited.source is None:
            continue
        flags = spliced_tokens(edited)
        if credit is Credit.TAIL:
            flags = [*accumulate(flags, or_)]
        rows[number] = [gain if is_in else 0.0 for is_in in flags]
        if credit in (Credit.BOTH_SPANS, Credit.BOTH_SPANS_CLIPPED):
            loss = max(gain, 0.0) if credit is Credit.BOTH_SPANS_CLIPPED else gain
            is_replaced = replaced_tokens(edited, responses[edited.source])
            rows[edited.source] = [
                value - loss * is_in
                for value, is_in in zip(rows[edited.source], is_replaced, strict=True)
            ]
    return rows


def credit_inputs(
    groups: Sequence[ScoredGroup], objective: ObjectiveConfig, *, columns: int
) -> dict[str, Tensor]:
    """Build what the loss reads besides, where not every token has the advantage of its response.

    Args:
        groups: P scored groups of G responses.
        objective: The objective of the run.
        columns: C, at least the length of the longest response.

    Returns:
        Nothing for the paper's objective; else `advantages` (P*G, C) float32, 0 at padding. With a
        weight of edits also `unweighted_advantages`, the same, and `is_spliced` (P*G, C) bool.
    """
    is_weighted = objective.edit_weight is not EditWeight.NONE
    if objective.credit is Credit.RESPONSE and not is_weighted:
        return {}
    rows = [row for one in groups for row in token_advantages(one, objective.credit)]
    advantages_BC = _padded(rows, columns)
    if not is_weighted:
        return {"advantages": advantages_BC}
    flags = [spliced_tokens(response) for one in groups for response in one.group.responses]
    return {
        "advantages": advantages_BC,
        "unweighted_advantages": advantages_BC.clone(),
        "is_spliced": _padded(flags, columns).bool(),
    }


def weigh_edits(
    advantages_BC: Tensor, is_spliced_BC: Tensor, log_probs_BC: Tensor, *, weight: EditWeight
) -> Tensor:
    """Multiply the advantages of the tokens that the policy did not write.

    Args:
        advantages_BC: (B, C) float.
        is_spliced_BC: (B, C) bool, True at those tokens.
        log_probs_BC: (B, C) log-probabilities by the policy; no gradient goes through them here.
        weight: By what. At a ratio of 1 the gradient of the loss at a token is -A w grad log p.

    Returns:
        (B, C) in the format of the advantages, without gradient.
    """
    weights_BC = token_weights(log_probs_BC, weight)
    return torch.where(is_spliced_BC, advantages_BC * weights_BC, advantages_BC)


def token_weights(log_probs: Tensor, weight: EditWeight) -> Tensor:
    """Weigh tokens by their probability p.

    Args:
        log_probs: Log-probabilities by the policy, any shape.
        weight: LUFFY: f'(p) p with f(p) = p / (p + 0.1), which makes a gradient of -log p that of
            -f(p); CHORD: p (1 - p).

    Returns:
        The same shape, without gradient, 0 to 1.

    Source: LUFFY, arXiv:2504.14945; phi of CHORD, arXiv:2508.11408.
    """
    p = log_probs.detach().exp()
    if weight is EditWeight.LUFFY:
        return _GAMMA * p / (p + _GAMMA) ** 2
    if weight is EditWeight.CHORD:
        return p * (1 - p)
    return torch.ones_like(p)


def weigh_inputs(inputs: Mapping[str, Tensor], log_probs_BC: Tensor, *, weight: EditWeight) -> None:
    """Fill in the advantages that the loss is about to read, anew for every call.

    Args:
        inputs: What the loss reads; without a weight of edits (see `credit_inputs`) nothing is
            changed.
        log_probs_BC: (B, C) log-probabilities by the policy.
        weight: Of edits.
    """
    if "is_spliced" in inputs:
        weighed_BC = weigh_edits(
            inputs["unweighted_advantages"], inputs["is_spliced"], log_probs_BC, weight=weight
        )
        inputs["advantages"].copy_(weighed_BC)


def _padded(rows: Sequence[Sequence[float]], columns: int) -> Tensor:
    padded_BC = torch.zeros((len(rows), columns))
    for number, row in enumerate(rows):
        padded_BC[number, : len(row)] = torch.tensor(row, dtype=torch.float32)
    return padded_BC
