"""Advantages against what a real step of stock TRL puts into its batch; only sampling is replaced.

TRL computes them inside `_generate_and_score_completions`: there is no function to call.
"""

from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import trl
from trl import GRPOConfig, GRPOTrainer

from editgrpo.config import AdvantageScale
from editgrpo.training.policy.load import load_processor
from editgrpo.training.step.advantages import group_advantages
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.parity
GROUP = 4
# Three groups: spread rewards, equal rewards, rewards that are close together.
REWARDS = [0.1, 2.5, 1.3, 0.0, 0.7, 0.7, 0.7, 0.7, 1.0, 1.001, 0.999, 1.0]
FIRST_TOKEN = 20


class RecordingTrainer(GRPOTrainer):  # type: ignore[misc]
    """Stock trainer that remembers the advantage of each row it computes a loss for."""

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        tokens = inputs["completion_ids"][:, 0] - FIRST_TOKEN
        self.seen = dict(zip(tokens.tolist(), inputs["advantages"].tolist(), strict=True))
        return super()._compute_loss(model, inputs)


def one_token_rollouts(prompts: list[Any], _: Any) -> dict[str, Any]:
    """Answer row k with the token that says k, so that rows can be told apart after shuffling."""
    rows = range(len(prompts))
    return {
        "prompt_ids": [[10, 11] for _ in rows],
        "completion_ids": [[FIRST_TOKEN + row] for row in rows],
        "logprobs": None,
    }


def fixed_rewards(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [REWARDS[ids[0] - FIRST_TOKEN] for ids in completion_ids]


@pytest.mark.parametrize("scale", list(AdvantageScale))
def test_advantages_equal_those_of_a_stock_step(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: AdvantageScale
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    trainer = RecordingTrainer(
        model=tiny.load(),
        reward_funcs=fixed_rewards,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=len(REWARDS),
            num_generations=GROUP,
            scale_rewards=scale.value,
            beta=0.0,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["a", "b", "c"]}),
        processing_class=load_processor(tiny.checkpoint).tokenizer,
        rollout_func=one_token_rollouts,
    )
    trainer.train()
    stock = torch.tensor([trainer.seen[row] for row in range(len(REWARDS))])
    ours = group_advantages(torch.tensor(REWARDS), GROUP, scale=scale)
    torch.testing.assert_close(
        ours, stock, rtol=1e-5, atol=1e-6, msg=lambda text: f"{text}\nagainst TRL {trl.__version__}"
    )
