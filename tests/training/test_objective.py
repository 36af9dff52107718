"""The objective: its value and gradient against the paper's formula, not against TRL.

With d = log ref - log pi the term of a token is e^d - d - 1, at most 10. By hand, its derivative
with respect to log pi is 1 - e^d = 1 - ref/pi, and 0 where the term is at 10. TRL's variant, the
same times a ratio of value 1 and derivative 1, has (1 - e^d) + (e^d - d - 1) = -d = log(pi/ref).
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from editgrpo.config import AdvantageScale, KLTerm, LossType, ObjectiveConfig
from editgrpo.errors import ConfigError
from editgrpo.training import trainer as trainer_module
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.run.arguments import training_arguments
from editgrpo.training.step.advantages import group_advantages
from editgrpo.training.step.batches import UpdatePass, tokens_of_passes
from editgrpo.training.step.kl import k3_divergence
from tests.training.tiny_run import (
    MAX_TOKENS,
    Tiny,
    gradients,
    loss_of,
    make_trainer,
    step_passes,
)

pytestmark = pytest.mark.slow

BETA = 0.3
OBJECTIVES = [
    pytest.param(ObjectiveConfig(loss=loss, kl=kl, beta=BETA), id=f"{loss}-{kl}")
    for loss in LossType
    for kl in KLTerm
]


@pytest.mark.parametrize(
    ("difference", "value", "gradient"),
    [
        (0.0, 0.0, 0.0),
        (math.log(2), 2 - math.log(2) - 1, -1.0),
        (-math.log(2), 0.5 + math.log(2) - 1, 0.5),
        (-9.0, math.exp(-9) + 8, 1 - math.exp(-9)),
        (3.0, 10.0, 0.0),  # e^3 - 4 is 16.1
        (-12.0, 10.0, 0.0),  # 12 - 1 is 11
        (200.0, 10.0, 0.0),  # e^200 is no float32
        (-1e4, 10.0, 0.0),
    ],
)
def test_k3_and_its_derivative_are_those_derived_by_hand(
    difference: float, value: float, gradient: float
) -> None:
    log_probs = torch.tensor([-0.25], requires_grad=True)
    k3 = k3_divergence(log_probs, log_probs.detach() + difference)
    k3.sum().backward()
    torch.testing.assert_close(k3.detach(), torch.tensor([value]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(log_probs.grad, torch.tensor([gradient]), rtol=1e-5, atol=1e-6)


def test_the_default_is_the_papers() -> None:
    assert ObjectiveConfig().kl is KLTerm.K3


def derivative(kl: KLTerm, log_probs_BC: Tensor, reference_BC: Tensor) -> Tensor:
    """Return the derivative of each token's term by its log-probability, as derived above."""
    difference = reference_BC - log_probs_BC
    if kl is KLTerm.K3_TIMES_RATIO:
        return -difference
    is_below = difference.exp() - difference - 1 < 10
    return torch.where(is_below, 1 - difference.exp(), 0)


def token_weights(loss: LossType, is_counted_BC: Tensor) -> Tensor:
    """Return what the derivative of each token's loss is multiplied by."""
    rows, counts_B1 = len(is_counted_BC), is_counted_BC.sum(dim=1, keepdim=True)
    by = counts_B1.clamp(min=1) if loss is LossType.GRPO else MAX_TOKENS
    return BETA * is_counted_BC / (rows * by)


def inserted_tokens(trainer: Any, one: UpdatePass) -> Tensor:
    """Say which tokens of a pass an edit has put in: those of edited rows that differ from their
    rollout's, from the first such token on."""
    ids_BC, is_token_BC = one.inputs["completion_ids"], one.inputs["completion_mask"].bool()
    size = trainer._config.rollout.group_size
    half = trainer._config.sampled_per_group
    source_B = torch.arange(len(ids_BC))
    source_B = torch.where(source_B % size < half, source_B, source_B - half)
    differs_BC = (ids_BC != ids_BC[source_B]) & is_token_BC
    return differs_BC.cumsum(dim=1).bool() & is_token_BC


@pytest.fixture(params=OBJECTIVES)
def moved(request: pytest.FixtureRequest, tiny: Tiny, tmp_path: Path) -> Any:
    """A trainer whose policy has moved away from its reference, for each objective."""
    return make_trainer(
        tiny.train_config(tmp_path, objective=request.param, tokens_per_pass=100_000)
    )


def kl_alone(trainer: Any, one: UpdatePass, **inputs: Tensor) -> Tensor:
    """Compute a loss that is the KL term alone: without advantages nothing else is in it."""
    return loss_of(trainer, one, advantages=torch.zeros_like(one.inputs["advantages"]), **inputs)


@pytest.mark.parametrize("tokens", ["sampled", "inserted"])
def test_the_models_gradient_is_the_formulas(moved: Any, tokens: str) -> None:
    (one,) = step_passes(moved, 4)
    is_inserted_BC = inserted_tokens(moved, one)
    assert is_inserted_BC.sum() > 20, "no edit inserted anything"
    is_sampled_BC = one.inputs["completion_mask"].bool() & ~is_inserted_BC
    is_counted_BC = (is_inserted_BC if tokens == "inserted" else is_sampled_BC).long()

    kl_alone(moved, one, tool_mask=is_counted_BC).backward()
    found = gradients(moved.model)

    log_probs_BC, _ = packed_log_probs(moved.model, one.packed)
    objective = moved._config.objective
    at_tokens_BC = derivative(
        objective.kl, log_probs_BC.detach(), one.inputs["ref_per_token_logps"]
    )
    weights_BC = token_weights(objective.loss, is_counted_BC)
    (at_tokens_BC * weights_BC * log_probs_BC).sum().backward()
    expected = gradients(moved.model)

    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 1e-4, "gradients of zero would compare nothing"
    for name, gradient in expected.items():  # float32 sums in another order
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4 * largest)


def answered(
    trainer: Any, one: UpdatePass, log_probs_BC: Tensor, monkeypatch: pytest.MonkeyPatch
) -> Tensor:
    """Compute the KL term for log-probabilities of our own."""
    answer_with(log_probs_BC, monkeypatch)
    return kl_alone(trainer, one)


def answer_with(log_probs_BC: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    entropies = torch.zeros_like(log_probs_BC)
    monkeypatch.setattr(trainer_module, "packed_log_probs", lambda *_: (log_probs_BC, entropies))


def far_references(one: UpdatePass) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and a reference up to 3 nats from them in float64."""
    generator = torch.Generator().manual_seed(4)
    shape = one.inputs["completion_ids"].shape
    log_probs_BC = -4 * torch.rand(shape, generator=generator, dtype=torch.float64)
    far_BC = 6 * torch.rand(shape, generator=generator, dtype=torch.float64) - 3
    return log_probs_BC, log_probs_BC + far_BC


def test_the_losss_derivative_is_the_formulas_at_every_token(
    moved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = step_passes(moved, 4)
    log_probs_BC, one.inputs["ref_per_token_logps"] = far_references(one)
    leaf_BC = log_probs_BC.clone().requires_grad_()
    answered(moved, one, leaf_BC, monkeypatch).backward()
    objective = moved._config.objective
    expected_BC = derivative(objective.kl, log_probs_BC, one.inputs["ref_per_token_logps"])
    expected_BC = expected_BC * token_weights(objective.loss, one.inputs["tool_mask"])
    torch.testing.assert_close(leaf_BC.grad, expected_BC)
    at_limit = (expected_BC == 0) & one.inputs["tool_mask"].bool()
    assert bool(at_limit.any()) == (objective.kl is KLTerm.K3)


def test_only_the_papers_gradient_is_that_of_the_value(
    moved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By central differences: the value changes by 1 - ref/pi, whichever setting."""
    (one,) = step_passes(moved, 4)
    log_probs_BC, _ = far_references(one)
    one.inputs["ref_per_token_logps"] = log_probs_BC + math.log(2)
    leaf_BC = log_probs_BC.clone().requires_grad_()
    answered(moved, one, leaf_BC, monkeypatch).backward()
    assert leaf_BC.grad is not None
    step = torch.zeros_like(log_probs_BC)
    step[1, 0] = 1e-4
    above, below = (
        float(answered(moved, one, log_probs_BC + sign * step, monkeypatch)) for sign in (1, -1)
    )
    measured = (above - below) / 2e-4
    weight = float(token_weights(moved._config.objective.loss, one.inputs["tool_mask"])[1, 0])
    assert measured == pytest.approx(weight * (1 - 2), rel=1e-5)
    is_papers = moved._config.objective.kl is KLTerm.K3
    expected = measured if is_papers else weight * -math.log(2)
    assert float(leaf_BC.grad[1, 0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", list(AdvantageScale))
def test_the_whole_losss_derivative_is_the_formulas(
    moved: Any, monkeypatch: pytest.MonkeyPatch, scale: AdvantageScale
) -> None:
    """At a ratio of 1: -A of its response at every token, plus beta times the KL term's."""
    (one,) = step_passes(moved, 4)
    log_probs_BC, one.inputs["ref_per_token_logps"] = far_references(one)
    rewards_B = torch.linspace(0, 3, len(log_probs_BC), dtype=torch.float64) ** 2
    rewards_PG = rewards_B.view(4, -1)
    advantages_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    if scale is AdvantageScale.GROUP:  # TRL's constant keeps it finite
        advantages_PG = advantages_PG / (rewards_PG.std(dim=1, keepdim=True) + 1e-4)
    ours_B = group_advantages(rewards_B, rewards_PG.shape[1], scale=scale)
    torch.testing.assert_close(ours_B, advantages_PG.flatten(), check_dtype=False)
    leaf_BC = log_probs_BC.clone().requires_grad_()
    answer_with(leaf_BC, monkeypatch)
    loss_of(moved, one, advantages=ours_B).backward()
    objective, is_counted_BC = moved._config.objective, one.inputs["tool_mask"]
    of_kl_BC = derivative(objective.kl, log_probs_BC, one.inputs["ref_per_token_logps"])
    weights_BC = token_weights(objective.loss, is_counted_BC)
    expected_BC = weights_BC * (of_kl_BC - advantages_PG.flatten()[:, None] / BETA)
    torch.testing.assert_close(leaf_BC.grad, expected_BC, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss", list(LossType))
@pytest.mark.parametrize(
    ("ratio", "advantage", "high", "slope"),
    [
        (1.0, 2.0, None, -2.0),
        (1.1, 2.0, None, -2.2),
        (1.3, 2.0, None, 0.0),  # above 1 + 0.2: no more pull up
        (0.7, 2.0, None, -1.4),
        (0.7, -2.0, None, 0.0),  # below 1 - 0.2: no more push down
        (1.3, -2.0, None, 2.6),
        (1.25, 2.0, 0.28, -2.5),  # DAPO's clip-higher: above 1.2, below 1.28
        (1.3, 2.0, 0.28, 0.0),  # above 1.28
        (0.75, -2.0, 0.28, 0.0),  # below, it is 0.2 as before
    ],
)
def test_the_clipped_loss_has_the_slope_of_the_formula(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss: LossType,
    ratio: float,
    advantage: float,
    high: float | None,
    slope: float,
) -> None:
    """-min(r A, clip(r, 0.8, 1.2) A), whose derivative by log pi is -r A where it is not cut."""
    objective = ObjectiveConfig(loss=loss, beta=0, epsilon_high=high)
    trainer = make_trainer(
        tiny.train_config(tmp_path, objective=objective, tokens_per_pass=100_000)
    )
    (one,) = step_passes(trainer, 4)
    log_probs_BC, _ = far_references(one)
    leaf_BC = log_probs_BC.clone().requires_grad_()
    answer_with(leaf_BC, monkeypatch)
    advantages_B = torch.full((len(log_probs_BC),), advantage, dtype=torch.float64)
    before_BC = log_probs_BC - math.log(ratio)
    loss_of(trainer, one, advantages=advantages_B, old_per_token_logps=before_BC).backward()
    weights_BC = token_weights(loss, one.inputs["tool_mask"]) / BETA
    expected_BC = (slope * weights_BC).double()
    torch.testing.assert_close(leaf_BC.grad, expected_BC, rtol=1e-5, atol=1e-8)


def test_the_logged_kl_is_the_mean_of_the_term_over_all_tokens(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token in four far below its reference counts 10, the others 2 - log 2 - 1."""
    trainer = make_trainer(tiny.train_config(tmp_path, tokens_per_pass=100_000))
    (one,) = step_passes(trainer, 4)
    log_probs_BC, _ = far_references(one)
    is_far_BC = torch.arange(log_probs_BC.shape[1])[None].expand_as(log_probs_BC) % 4 == 0
    one.inputs["ref_per_token_logps"] = log_probs_BC + torch.where(is_far_BC, 50.0, math.log(2))
    trainer._pass_tokens = tokens_of_passes([one], trainer.accelerator)
    answered(trainer, one, log_probs_BC, monkeypatch)
    share = float(one.inputs["tool_mask"][is_far_BC].sum() / one.inputs["tool_mask"].sum())
    measured = trainer._loss_metrics()
    near = 1 - math.log(2)
    assert measured["kl"] == pytest.approx(10 * share + near * (1 - share), rel=1e-5)
    assert measured["kl_capped_share"] == pytest.approx(share, rel=1e-5)
    assert 0.1 < share < 0.9


def test_without_beta_there_is_no_reference_and_no_kl(tiny: Tiny, tmp_path: Path) -> None:
    trainer = make_trainer(tiny.train_config(tmp_path, objective=ObjectiveConfig(beta=0)))
    one = step_passes(trainer, 4)[0]
    assert "ref_per_token_logps" not in one.inputs and trainer.ref_model is None
    loss_of(trainer, one)
    assert "kl" not in trainer._loss_metrics()


@pytest.mark.parametrize("kl", list(KLTerm))
def test_trl_is_told_which_term_it_is(tiny: Tiny, tmp_path: Path, kl: KLTerm) -> None:
    config = tiny.train_config(tmp_path, objective=ObjectiveConfig(kl=kl))
    assert training_arguments(config).use_bias_correction_kl is (kl is KLTerm.K3_TIMES_RATIO)


def test_the_upper_clip_range_is_not_below_the_lower() -> None:
    with pytest.raises(ConfigError, match=r"objective\.epsilon_high is 0\.1; it must be objective"):
        ObjectiveConfig(epsilon_high=0.1)
