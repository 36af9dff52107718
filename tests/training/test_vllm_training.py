"""Training on responses that vLLM sampled: TRL's connection is played, everything else is real."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from trl.trainer import grpo_trainer

from editgrpo.config import ObjectiveConfig, RolloutConfig, RolloutEngine, TrainConfig, VLLMConfig
from editgrpo.errors import MissingExtraError
from editgrpo.training import train
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.policy.load import load_processor
from editgrpo.training.run.folder import METRICS
from editgrpo.training.sampling.native import NativeSampler
from editgrpo.training.step.importance import SampleWeights
from editgrpo.training.train import run_training
from tests.training.tiny_run import MAX_TOKENS, Tiny, gradients, loss_of, make_trainer, step_passes

REPORTS = ("The heart is enlarged. No pneumothorax.", "The lungs are clear.", "There is a heart.")
LOG_PROB = -2.0


class PlayedGeneration:
    """Plays TRL's `VLLMGeneration`: gives reports of its own, each token with the same number."""

    made: "ClassVar[list[PlayedGeneration]]"
    reports: ClassVar[list[list[int]]]

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.model = arguments["model"]
        self.mode = arguments["mode"]
        self.generation_kwargs: dict[str, Any] = {}
        self.synced: list[torch.Tensor] = []
        self.asked: list[tuple[int, int]] = []
        self.made.append(self)

    def sync_weights(self) -> None:
        self.synced.append(next(self.model.parameters()).detach().clone())

    def generate(self, prompts: list[Any], images: list[Any] | None, num_generations: int) -> Any:
        pictures = sum(len(one or []) for one in images or [])
        self.asked.append((len(prompts), pictures))
        answers = [self.reports[k % len(self.reports)] for k in range(len(prompts))]
        log_probs = [[[LOG_PROB]] * len(answer) for answer in answers]
        return None, answers, log_probs, [[[token] for token in answer] for answer in answers]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> Iterator[list[PlayedGeneration]]:
    tokenizer = load_processor(tiny.checkpoint).tokenizer
    ends = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in REPORTS]
    monkeypatch.setattr(PlayedGeneration, "made", [], raising=False)
    monkeypatch.setattr(PlayedGeneration, "reports", ends, raising=False)
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", PlayedGeneration)
    monkeypatch.setattr(train, "check_engine", lambda _: None)
    yield PlayedGeneration.made


def config(tiny: Tiny, output: Path, *, cap: float = 3.0, **changes: Any) -> TrainConfig:
    rollout = RolloutConfig(
        group_size=4,
        max_completion_tokens=MAX_TOKENS,
        engine=RolloutEngine.VLLM_COLOCATE,
        vllm=VLLMConfig(importance_cap=cap),
    )
    return tiny.train_config(output, rollout=rollout, **changes)


@pytest.mark.slow
def test_a_run_gives_the_weights_once_a_step_and_measures_the_gap(
    tiny: Tiny, tmp_path: Path, played: list[PlayedGeneration]
) -> None:
    run_training(config(tiny, tmp_path / "run", steps=2, rollout_parts=2))
    (engine,) = played
    assert len(engine.synced) == 2
    assert not torch.equal(engine.synced[0], engine.synced[1])
    # Two parts a step, each of two prompts with two samples; a study has one image or two.
    assert [rows for rows, _ in engine.asked] == [4, 4, 4, 4]
    assert all(pictures >= rows for rows, pictures in engine.asked)
    rows = [json.loads(line) for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["vllm/log_prob_gap"] > 0 for row in rows)
    assert all(0 <= row["vllm/capped_share"] <= 1 for row in rows)
    assert all(row["clip_share"] == 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("cap", "weight"), [(3.0, 2.0), (1.5, 1.5)])
def test_sampled_tokens_count_by_their_ratio_and_edited_ones_once(
    tiny: Tiny, tmp_path: Path, played: list[PlayedGeneration], cap: float, weight: float
) -> None:
    """A ratio of 2 (or its cap) is an advantage of twice (or the cap times) the size, for the rows
    that were sampled; the KL term stays as it is."""
    objective = ObjectiveConfig(beta=0.1)
    run = config(tiny, tmp_path / "run", cap=cap, objective=objective, tokens_per_pass=16_384)
    trainer = make_trainer(run)
    (one,) = step_passes(trainer, 4)
    sampled = one.inputs["sampling_per_token_logps"]
    is_sampled = ~sampled[:, 0].isnan()
    assert is_sampled.view(4, 4)[:, :2].all() and not is_sampled.all()
    with torch.no_grad():
        now, _ = packed_log_probs(trainer.model, one.packed)
    sampled.copy_(torch.where(sampled.isnan(), math.nan, now - math.log(2)))
    loss_of(trainer, one).backward()
    found = gradients(trainer.model)
    measured = trainer._loss_metrics()
    assert measured["vllm/log_prob_gap"] == pytest.approx(math.log(2), rel=1e-5)  # of every token
    assert measured["vllm/capped_share"] == float(weight < 2)
    assert trainer._loss_metrics()["vllm/log_prob_gap"] == 0  # a step's own, no sum over the run
    trainer.use_vllm, trainer._weights = False, SampleWeights(None)
    weighted = torch.where(is_sampled, weight, 1.0) * one.inputs["advantages"]
    loss_of(trainer, one, advantages=weighted).backward()
    expected = gradients(trainer.model)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-6)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected.values())


@pytest.mark.slow
def test_dropped_groups_do_not_count_in_the_gap(
    tiny: Tiny, tmp_path: Path, played: list[PlayedGeneration]
) -> None:
    trainer = make_trainer(config(tiny, tmp_path / "run", tokens_per_pass=16_384))
    (one,) = step_passes(trainer, 4)
    sampled = one.inputs["sampling_per_token_logps"]
    with torch.no_grad():
        now, _ = packed_log_probs(trainer.model, one.packed)
    gap = torch.full_like(now, math.log(2))
    gap[:4] = 9.0  # of the first group's four responses
    sampled.copy_(torch.where(sampled.isnan(), math.nan, now - gap))
    one.inputs["tool_mask"][:4] = 0
    loss_of(trainer, one)
    assert trainer._loss_metrics()["vllm/log_prob_gap"] == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.slow
def test_the_policy_itself_samples_without_weights(tiny: Tiny, tmp_path: Path) -> None:
    trainer = make_trainer(tiny.train_config(tmp_path / "run"))
    assert isinstance(trainer._sampler, NativeSampler) and not trainer.use_vllm
    one = step_passes(trainer, 4)[0]
    assert not {"importance_sampling_ratio", "sampling_per_token_logps"} & one.inputs.keys()
    assert "vllm/log_prob_gap" not in trainer._loss_metrics()


def test_what_is_missing_ends_the_run_before_its_folder_is_made(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editgrpo.training.sampling.vllm_settings.is_vllm_available", lambda: False)
    with pytest.raises(MissingExtraError, match="vLLM is not installed"):
        run_training(config(tiny, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_trl_makes_the_connection_by_keywords_of_its_own(
    tiny: Tiny, tmp_path: Path, played: list[PlayedGeneration]
) -> None:
    trainer = make_trainer(config(tiny, tmp_path / "run"))
    told = played[0].arguments
    assert told["model"] is trainer.model
    assert (told["temperature"], told["max_completion_length"]) == (1.0, MAX_TOKENS)
    assert told["enable_sleep_mode"] and told["max_model_length"] == 8192
    assert told["max_num_seqs"] >= 4 * 2  # four prompts with two samples at once
