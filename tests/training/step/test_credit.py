"""Advantages of responses and of tokens, and the gradient that they make, worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from editgrpo.config import (
    AdvantageScale,
    Baseline,
    Credit,
    EditConfig,
    EditLevel,
    EditWeight,
    ObjectiveConfig,
)
from editgrpo.training import trainer as trainer_module
from editgrpo.training.step.advantages import edit_gains, group_advantages
from editgrpo.training.step.credit import (
    credit_inputs,
    parted,
    replaced_tokens,
    spliced_tokens,
    token_advantages,
    weigh_edits,
)
from editgrpo.training.step.responses import Group, Kind, Response
from editgrpo.training.step.scoring import ScoredGroup, score_groups
from tests.training.step.test_scoring import LengthReward
from tests.training.tiny_run import MAX_TOKENS, Tiny, loss_of, make_trainer, step_passes

NONE, GROUP = AdvantageScale.NONE, AdvantageScale.GROUP
REWARDS = [1.0, 2.0, 3.0, 6.0]
IS_SAMPLED = torch.tensor([True, True, False, False])
STD = (14 / 3) ** 0.5 + 1e-4  # squares 4 + 1 + 0 + 9 of the deviations from 3, over 3


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (Baseline.GROUP, [-2.0, -1.0, 0.0, 3.0]),  # mean 3
        (Baseline.SAMPLED, [-0.5, 0.5, 1.5, 4.5]),  # mean 1.5
        (Baseline.HALVES, [-0.5, 0.5, -1.5, 1.5]),  # means 1.5 and 4.5
    ],
)
@pytest.mark.parametrize("scale", [NONE, GROUP])
def test_the_baseline_is_the_mean_that_it_names(
    baseline: Baseline, expected: list[float], scale: AdvantageScale
) -> None:
    found = group_advantages(
        torch.tensor(REWARDS * 2),
        4,
        scale=scale,
        baseline=baseline,
        is_sampled_B=IS_SAMPLED.repeat(2),
    )
    by = STD if scale is GROUP else 1.0
    assert found.tolist() == pytest.approx([value / by for value in expected] * 2)


@pytest.mark.parametrize("baseline", list(Baseline))
def test_without_edits_every_baseline_is_the_groups(baseline: Baseline) -> None:
    rewards = torch.tensor(REWARDS)
    everyone = torch.ones(4, dtype=torch.bool)
    for is_sampled in (None, everyone):
        found = group_advantages(rewards, 4, scale=NONE, baseline=baseline, is_sampled_B=is_sampled)
        assert found.tolist() == [-2.0, -1.0, 0.0, 3.0]


@pytest.mark.parametrize(("scale", "by"), [(NONE, 1.0), (GROUP, STD)])
def test_a_gain_is_over_the_rollout_of_the_edit(scale: AdvantageScale, by: float) -> None:
    found = edit_gains(torch.tensor(REWARDS), torch.tensor([0, 1, 0, 1]), 4, scale=scale)
    assert found.tolist() == pytest.approx([0.0, 0.0, 2 / by, 4 / by])


# A rollout of seven tokens: two sentences of three, and the end.
REPLACED = (0, 1, 2, None, None, 6)
DELETED = (0, 1, 2, 6)
FIRST_DELETED = (3, 4, 5, 6)
AUGMENTED = (0, 1, 2, 3, 4, 5, None, None, 6)
SHORTENED = (0, 1, 2, None)  # of a truncated rollout of six tokens, whose end is not its own


@pytest.mark.parametrize(
    ("source_T", "length", "put_in", "taken_out"),
    [
        (REPLACED, 7, "...xx.", "...xxx."),
        (DELETED, 7, "...x", "...xxx."),  # where a sentence went on, the end stands now
        (FIRST_DELETED, 7, "x...", "xxx...."),
        (AUGMENTED, 7, "......xx.", "......x"),  # where the end stood, a sentence does
        (SHORTENED, 6, "...x", "...xxx"),
        ((0, 1, 2), 3, "...", "..."),
        ((None, None), 1, "xx", "x"),
    ],
)
def test_the_spans_are_what_the_two_do_not_share(
    source_T: tuple[int | None, ...], length: int, put_in: str, taken_out: str
) -> None:
    edited = response(Kind.EDITED, len(source_T), source=0, source_T=source_T)
    assert marks(spliced_tokens(edited)) == marks(parted(source_T)) == put_in
    assert marks(replaced_tokens(edited, response(Kind.SAMPLED, length))) == taken_out


def test_what_is_not_used_has_no_span() -> None:
    unused = response(Kind.EDITED, 3, source=0)
    assert marks(spliced_tokens(unused)) == "..."
    assert marks(replaced_tokens(unused, response(Kind.SAMPLED, 3))) == "..."
    assert marks(spliced_tokens(response(Kind.REFERENCE, 2, is_unused_edit=True))) == ".."
    assert marks(spliced_tokens(response(Kind.SAMPLED, 2))) == ".."


def test_nobody_but_the_radiologist_wrote_the_reference() -> None:
    assert marks(spliced_tokens(response(Kind.REFERENCE, 2))) == "xx"


def marks(flags: list[bool]) -> str:
    return "".join("x" if flag else "." for flag in flags)


def response(kind: Kind, length: int, **fields: Any) -> Response:
    return Response(kind=kind, token_ids=(5,) * length, text="x" * length, **fields)


RESPONSES = (
    response(Kind.SAMPLED, 7),
    response(Kind.SAMPLED, 3),
    response(Kind.EDITED, 6, source=0, source_T=REPLACED),
    response(Kind.EDITED, 4, source=0, source_T=DELETED),
)


def scored(advantages: tuple[float, ...], failure: str | None = None) -> ScoredGroup:
    group = Group(study_id="s", reference="", responses=RESPONSES)
    return ScoredGroup(
        group=group, totals_G=(), components={}, advantages_G=advantages, failure=failure
    )


@pytest.mark.parametrize(
    ("credit", "first"),
    [
        (Credit.SPAN, [-1, -1, -1, -1, -1, -1, -1]),
        (Credit.TAIL, [-1, -1, -1, -1, -1, -1, -1]),
        # The replacement gained 2 and the deletion lost 0.5, both in the second sentence.
        (Credit.BOTH_SPANS, [-1, -1, -1, -2.5, -2.5, -2.5, -1]),
        (Credit.BOTH_SPANS_CLIPPED, [-1, -1, -1, -3, -3, -3, -1]),
    ],
)
def test_a_gain_is_laid_on_the_span(credit: Credit, first: list[float]) -> None:
    assert token_advantages(scored((-1.0, 1.0, 2.0, -0.5)), credit) == [
        first,
        [1, 1, 1],
        # The end follows another sentence than it did in the rollout.
        [0, 0, 0, 2, 2, 2 if credit is Credit.TAIL else 0],
        [0, 0, 0, -0.5],
    ]


def test_by_default_every_token_has_the_advantage_of_its_response() -> None:
    found = token_advantages(scored((-1.0, 1.0, 2.0, -0.5)), Credit.RESPONSE)
    assert found == [[-1] * 7, [1] * 3, [2] * 6, [-0.5] * 4]
    assert credit_inputs([scored((1.0,) * 4)], ObjectiveConfig(), columns=7) == {}


def test_rows_are_filled_up_and_dropped_groups_weigh_nothing() -> None:
    groups = [scored((-1.0, 1.0, 2.0, -0.5)), scored((0.0,) * 4, "no score")]
    objective = ObjectiveConfig(credit=Credit.SPAN, edit_weight=EditWeight.CHORD)
    inputs = credit_inputs(groups, objective, columns=8)
    assert inputs["advantages"].shape == inputs["is_spliced"].shape == (8, 8)
    assert inputs["advantages"][1].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert inputs["is_spliced"][2].tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert not inputs["advantages"][4:].any()
    assert torch.equal(inputs["advantages"], inputs["unweighted_advantages"])


def test_an_edited_response_is_measured_against_its_own_rollout() -> None:
    """Rewards are tenths of the lengths: .7 and .3, then .6 and .4, both made from the first."""
    group = Group(study_id="s", reference="", responses=RESPONSES)
    (found,) = score_groups(
        LengthReward(), [group], scale=NONE, baseline=Baseline.SAMPLED, credit=Credit.SPAN
    )
    assert found.advantages_G == pytest.approx((0.2, -0.2, -0.1, -0.3))
    # Beside it another whose rollouts have .1 and .5, and whose edits were made from the second.
    texts = ["x", "x" * 5, "x" * 6, "x"]
    kinds = [Kind.SAMPLED] * 2 + [Kind.EDITED] * 2
    other = replace(
        group,
        responses=tuple(
            Response(kind=kind, token_ids=(5,), text=text, source=1 if k > 1 else None)
            for k, (kind, text) in enumerate(zip(kinds, texts, strict=True))
        ),
    )
    two = score_groups(LengthReward(), [group, other], scale=NONE, credit=Credit.BOTH_SPANS)
    assert two[0].advantages_G == pytest.approx((0.2, -0.2, -0.1, -0.3))  # the mean is .5 of all
    assert two[1].advantages_G == pytest.approx((-0.225, 0.175, 0.1, -0.4))  # the mean is .325


@pytest.mark.parametrize(
    ("weight", "at_half", "at_hundredth"),
    [
        (EditWeight.LUFFY, 0.05 / 0.36, 0.001 / 0.0121),  # .1 p / (p + .1)^2
        (EditWeight.CHORD, 0.25, 0.0099),
        (EditWeight.NONE, 1.0, 1.0),
    ],
)
def test_weights_are_those_of_the_formula(
    weight: EditWeight, at_half: float, at_hundredth: float
) -> None:
    log_probs = torch.tensor([[0.5, 0.01, 0.5]]).log().requires_grad_()
    is_spliced = torch.tensor([[True, True, False]])
    found = weigh_edits(torch.full((1, 3), 2.0), is_spliced, log_probs, weight=weight)
    assert found.tolist()[0] == pytest.approx([2 * at_half, 2 * at_hundredth, 2.0])
    assert not found.requires_grad


OBJECTIVES = [
    pytest.param(
        ObjectiveConfig(credit=credit, edit_weight=weight, beta=0),
        level,
        id=f"{credit}-{weight}-{level}",
    )
    for credit in Credit
    for weight in EditWeight
    for level in (EditLevel.SENTENCE, EditLevel.REPORT)
    if level is EditLevel.SENTENCE or credit is Credit.RESPONSE
]


def answer_with(log_probs_BC: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    entropies = torch.zeros_like(log_probs_BC)
    monkeypatch.setattr(trainer_module, "packed_log_probs", lambda *_: (log_probs_BC, entropies))


def by_hand(groups: list[ScoredGroup], settings: ObjectiveConfig, lp: Tensor) -> Tensor:
    """Write the loss down: -A p/p0 at sampled tokens, -A f(p) or -A phi p/p0 at spliced ones."""
    total = lp.new_zeros(())
    responses = [(g, k) for g in groups for k in range(len(g.group.responses))]
    for row, (group, number) in enumerate(responses):
        flags = spliced_tokens(group.group.responses[number])
        values = token_advantages(group, settings.credit)[number]
        for column, (value, is_spliced) in enumerate(zip(values, flags, strict=True)):
            p = lp[row, column].exp()
            term = p / p.detach()
            if is_spliced and settings.edit_weight is EditWeight.LUFFY:
                term = p / (p + 0.1)
            elif is_spliced and settings.edit_weight is EditWeight.CHORD:
                term = (p * (1 - p)).detach() * term
            total = total - value * term
    return total / (len(responses) * MAX_TOKENS)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "level"), OBJECTIVES)
def test_the_losss_gradient_is_that_of_the_formula(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    objective: ObjectiveConfig,
    level: EditLevel,
) -> None:
    edit = EditConfig(level=level)
    trainer = make_trainer(
        tiny.train_config(tmp_path, objective=objective, edit=edit, tokens_per_pass=100_000)
    )
    (one,) = step_passes(trainer, 4)
    kept = [group.scored for group in one.groups]
    assert any(any(spliced_tokens(r)) for g in kept for r in g.group.responses)
    generator = torch.Generator().manual_seed(4)
    shape = one.inputs["completion_ids"].shape
    log_probs_BC = -4 * torch.rand(shape, generator=generator, dtype=torch.float64)
    leaf_BC, by_hand_BC = (log_probs_BC.clone().requires_grad_() for _ in range(2))
    by_hand(kept, objective, by_hand_BC).backward()
    answer_with(leaf_BC, monkeypatch)
    for _ in range(2):  # a second call weighs anew, not twice
        leaf_BC.grad = None
        loss_of(trainer, one).backward()
        torch.testing.assert_close(leaf_BC.grad, by_hand_BC.grad, rtol=1e-5, atol=1e-8)
    assert leaf_BC.grad is not None and bool(leaf_BC.grad.any())
