"""Weights of sampled tokens."""

import math

import torch
from trl import GRPOTrainer

from editgrpo.training.sampling.sampler import SampledResponse
from editgrpo.training.step.groups import Group, Kind, Response
from editgrpo.training.step.importance import (
    importance_ratios,
    sampled_log_prob_rows,
    sampling_gap,
    with_sampled_log_probs,
)
from tests.training.test_trl_seams import HINT, source

END = 2


def test_a_ratio_is_the_quotient_of_the_probabilities_cut_at_the_cap() -> None:
    training = torch.log(torch.tensor([[0.5, 0.25, 0.8, 0.5]]))
    sampled = torch.log(torch.tensor([[0.25, 0.5, 0.1, 0.5]]))
    ratios = importance_ratios(training, sampled, torch.ones(1, 4), cap=3.0)
    # 0.5 / 0.25 = 2, 0.25 / 0.5 = 0.5, 0.8 / 0.1 = 8 cut to 3, 0.5 / 0.5 = 1.
    torch.testing.assert_close(ratios, torch.tensor([[2.0, 0.5, 3.0, 1.0]]))


def test_a_token_that_nobody_sampled_and_padding_have_ratio_one() -> None:
    training = torch.tensor([[-1.0, -2.0, -3.0], [-5.0, -5.0, -5.0]])
    sampled = torch.tensor([[math.nan, math.nan, math.nan], [-5.5, math.nan, -9.0]])
    is_response = torch.tensor([[1, 1, 1], [1, 1, 0]])
    ratios = importance_ratios(training, sampled, is_response, cap=3.0)
    # The second row's first token alone was sampled: exp(-5 + 5.5) = 1.6487; its last is padding.
    expected = torch.tensor([[1.0, 1.0, 1.0], [1.6487213, 1.0, 1.0]])
    torch.testing.assert_close(ratios, expected)


def test_ratios_carry_no_gradient_and_are_float32() -> None:
    training = torch.tensor([[-1.0]], dtype=torch.bfloat16, requires_grad=True)
    ratios = importance_ratios(training, torch.tensor([[-1.0]]), torch.ones(1, 1), cap=3.0)
    assert not ratios.requires_grad
    assert ratios.dtype == torch.float32


def test_the_gap_is_summed_over_tokens_that_can_be_compared() -> None:
    training = torch.tensor([[-1.0, -2.0, -1.0], [-1.0, -4.0, -1.0]])
    sampled = torch.tensor([[-2.5, -1.5, -9.0], [math.nan, math.nan, math.nan]])
    is_response = torch.tensor([[1, 1, 0], [1, 1, 1]])
    # Two tokens: 1.5 and 0.5 apart; e^1.5 = 4.48 is cut at 3, e^-0.5 is not.
    gap = sampling_gap(training, sampled, is_response, cap=3.0)
    torch.testing.assert_close(gap, torch.tensor([2.0, 2.0, 1.0]))
    nothing = sampling_gap(training, sampled * math.nan, is_response, cap=3.0)
    torch.testing.assert_close(nothing, torch.zeros(3))


def response(kind: Kind, *tokens: int, source_index: int | None = None) -> Response:
    return Response(kind=kind, token_ids=tokens, text="", source=source_index)


def test_log_probs_stay_with_the_tokens_that_they_were_sampled_with() -> None:
    rollouts = [
        SampledResponse((7, 8, END), (-0.1, -0.2, -0.3)),
        SampledResponse((9, END), (-1, -2)),
    ]
    group = Group(
        study_id="s",
        reference="",
        responses=(
            response(Kind.SAMPLED, 7, 8, END),
            response(Kind.SAMPLED, 9, END),
            response(Kind.EDITED, 7, 4, END, source_index=0),
            response(Kind.EDITED, 9, END, source_index=1),  # nothing to edit: it appears twice
        ),
    )
    noted = with_sampled_log_probs([group], [rollouts])
    assert [one.sampled_log_probs for one in noted[0].responses] == [
        (-0.1, -0.2, -0.3),
        (-1, -2),
        None,
        (-1, -2),
    ]
    rows = sampled_log_prob_rows(noted, columns=4)
    nan = math.nan
    expected = torch.tensor(
        [[-0.1, -0.2, -0.3, nan], [-1, -2, nan, nan], [nan] * 4, [-1, -2, nan, nan]]
    )
    torch.testing.assert_close(rows, expected, equal_nan=True)


def test_a_reference_report_has_no_sampled_log_probs() -> None:
    group = Group(
        study_id="s",
        reference="",
        responses=(response(Kind.SAMPLED, 7, END), response(Kind.REFERENCE, 7, END)),
    )
    noted = with_sampled_log_probs([group], [[SampledResponse((7, END), (-1.0, -2.0))]])
    assert noted[0].responses[1].sampled_log_probs is None


def test_the_loss_weighs_the_policy_term_alone_by_the_ratio() -> None:
    text = source(GRPOTrainer._compute_loss)
    weighed = 'per_token_loss = per_token_loss * inputs["importance_sampling_ratio"]'
    assert "self.use_vllm and self.vllm_importance_sampling_correction" in text, HINT
    asked = text.index("self._get_per_token_logps_and_entropies(")
    assert asked < text.index(weighed) < text.index("self.beta * per_token_kl"), HINT


def test_trl_computes_the_same_ratio() -> None:
    text = source(GRPOTrainer._generate_and_score_completions)
    assert "(old_per_token_logps - sampling_per_token_logps) * mask" in text, HINT
    assert "torch.nan_to_num(per_token_logps_diff, nan=0.0)" in text, HINT
    assert "torch.exp(logps_diff)" in text, HINT
    assert "max=self.vllm_importance_sampling_clip_max" in text, HINT
