"""The likelihood of the references in the loss, against the stock model's of one at a time."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from editgrpo.config import (
    Anneal,
    EditConfig,
    EditLevel,
    EditWeight,
    LossType,
    ObjectiveConfig,
    TrainConfig,
)
from editgrpo.training.packed.self_check import stock_log_probs
from editgrpo.training.step.likelihood import ReferenceLikelihood, likelihood_weight
from tests.training.tiny_run import (
    MAX_TOKENS,
    PLAIN,
    Tiny,
    gradients,
    loss_of,
    make_trainer,
    step_passes,
)

pytestmark = pytest.mark.slow

WEIGHT = 0.3


def trainer_of(tiny: Tiny, folder: Path, **changes: Any) -> Any:
    objective = ObjectiveConfig(**{"likelihood": WEIGHT, "beta": 0.0, **changes})
    return make_trainer(
        tiny.train_config(folder, objective=objective, edit=PLAIN, tokens_per_pass=8192)
    )


def reference_tokens(trainer: Any, study: Any) -> list[int]:
    """Return the reference as tokens by the tokenizer itself, its end included."""
    tokens = trainer._setup.tokenizer(study.findings, add_special_tokens=False).input_ids
    return [*tokens, trainer._setup.tokens.eos_token_id]


@pytest.mark.parametrize("loss", list(LossType))
def test_the_gradient_is_that_of_the_references_likelihood(
    tiny: Tiny, tmp_path: Path, loss: LossType
) -> None:
    trainer = trainer_of(tiny, tmp_path, loss=loss)
    (one,) = step_passes(trainer, 4)
    no_advantage = torch.zeros_like(one.inputs["advantages"])
    value = loss_of(trainer, one, advantages=no_advantage)
    value.backward()
    found = gradients(trainer.model)

    expected_loss = torch.zeros(())
    for k in range(4):
        study = trainer._setup.studies[k]
        prompt = trainer._setup.encoder.encode(study)
        tokens = reference_tokens(trainer, study)
        by = MAX_TOKENS if loss is LossType.DR_GRPO else len(tokens)
        log_probs = stock_log_probs(trainer.model, prompt, tokens)
        expected_loss = expected_loss - WEIGHT / 4 * log_probs.sum() / by
    expected_loss.backward()
    expected = gradients(trainer.model)

    torch.testing.assert_close(value.detach(), expected_loss.detach(), rtol=1e-4, atol=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3, "gradients of zero would compare nothing"
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-3 * largest)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_rest_of_the_loss_stays_as_it_is_without(
    tiny: Tiny, tmp_path: Path, beta: float
) -> None:
    losses = []
    for weight in (0.0, WEIGHT):
        trainer = trainer_of(tiny, tmp_path / str(weight), likelihood=weight, beta=beta)
        (one,) = step_passes(trainer, 4)
        losses.append(float(loss_of(trainer, one).detach()))
        if weight:
            rows = [group.reference_ids for group in one.groups]
            assert all(rows)
            with torch.no_grad():
                nats = [
                    -float(stock_log_probs(trainer.model, prompt, tokens).sum())
                    for tokens, prompt in zip(
                        rows,
                        [trainer._setup.encoder.encode(group.study) for group in one.groups],
                        strict=True,
                    )
                ]
            losses[-1] -= WEIGHT * sum(nats) / 4 / MAX_TOKENS
            told = trainer._likelihood.take_metrics(0, lambda value: value, torch.device("cpu"))
            tokens = sum(map(len, rows))
            assert told["likelihood/nats"] == pytest.approx(sum(nats) / tokens, rel=1e-4)
            assert told["likelihood/weight"] == WEIGHT
            assert told["likelihood/unused"] == 0
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_reference_over_the_length_limit_is_left_out_and_told(tiny: Tiny, tmp_path: Path) -> None:
    trainer = trainer_of(tiny, tmp_path / "long")
    lengths = [len(reference_tokens(trainer, trainer._setup.studies[k])) for k in range(4)]
    limit = max(lengths) - 1
    config = trainer._config
    rollout = replace(config.rollout, max_completion_tokens=limit)
    trainer = make_trainer(replace(config, rollout=rollout, output=str(tmp_path / "short")))
    (one,) = step_passes(trainer, 4)
    left_out = sum(not group.reference_ids for group in one.groups)
    assert left_out == sum(length > limit for length in lengths) > 0
    loss_of(trainer, one)
    told = trainer._likelihood.take_metrics(0, lambda value: value, torch.device("cpu"))
    assert told["likelihood/unused"] == left_out / 4


def test_its_weight_falls_as_edits_do() -> None:
    objective = ObjectiveConfig(
        likelihood=0.8, likelihood_anneal=Anneal.COSINE, likelihood_until=0.5
    )
    config = TrainConfig(objective=objective, steps=40, edit=EditConfig(level=EditLevel.NONE))
    assert likelihood_weight(config, 0) == 0.8
    assert likelihood_weight(config, 10) == pytest.approx(0.4)
    assert likelihood_weight(config, 5) == pytest.approx(0.4 * (1 + math.sqrt(0.5)))
    assert likelihood_weight(config, 20) == likelihood_weight(config, 39) == 0


@pytest.mark.parametrize(
    ("shaping", "at_half", "at_hundredth"),
    [
        (EditWeight.NONE, 1.0, 1.0),
        (EditWeight.CHORD, 0.25, 0.0099),  # phi = p (1 - p), held constant
        (EditWeight.LUFFY, 0.05 / 0.36, 0.001 / 0.0121),  # .1 p / (p + .1)^2
    ],
)
def test_its_tokens_are_shaped_by_their_probability(
    shaping: EditWeight, at_half: float, at_hundredth: float
) -> None:
    """Of two studies one has a reference, of two tokens: -w / (2 C) times phi at each."""
    objective = ObjectiveConfig(likelihood=0.8, likelihood_shaping=shaping)
    term = ReferenceLikelihood(TrainConfig(objective=objective), constant=10)
    rows = torch.tensor([[0.5, 0.01, 1.0]]).log().requires_grad_()
    groups: Any = [SimpleNamespace(reference_ids=(1, 2)), SimpleNamespace(reference_ids=())]
    loss = term.term(0, rows, groups)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert rows.grad is not None
    weight = -0.8 / (2 * 10)
    assert rows.grad[0].tolist() == pytest.approx([weight * at_half, weight * at_hundredth, 0])
    value = weight * (at_half * math.log(0.5) + at_hundredth * math.log(0.01))
    assert float(loss.detach()) == pytest.approx(value)
    told = term.take_metrics(0, lambda one: one, torch.device("cpu"))
    assert told["likelihood/nats"] == pytest.approx(-(math.log(0.5) + math.log(0.01)) / 2)
