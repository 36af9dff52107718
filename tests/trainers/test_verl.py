"""verl itself reads the command of docs/adapters.md and scores reports with its reward manager."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

import pytest

from editgrpo.errors import EditGRPOError
from editgrpo.rewards import load_reward
from tests.trainers.conftest import REFERENCE, REPORTS

verl = pytest.importorskip("verl", reason="needs an environment with verl: make trainers")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from verl.trainer.ppo.reward import load_reward_manager  # noqa: E402


@pytest.fixture(scope="module")
def config(examples: dict[str, str]) -> Any:
    """Compose verl's configuration with what the page's command gives."""
    words = shlex.split(examples["python -m"].replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with initialize_config_dir(str(folder), version_base=None):
        return compose("ppo_trainer", overrides=words[3:])


def rollout(tokenizer: Any, report: str, reference: object = REFERENCE) -> Any:
    """Return one sampled response as the agent loop hands it to the reward manager."""
    ids = torch.tensor([tokenizer.encode(report)])
    prompt = torch.zeros((1, 4), dtype=torch.long)
    padded = torch.nn.functional.pad(ids, (0, 7))
    mask = torch.cat([torch.ones_like(prompt), torch.ones_like(ids), torch.zeros((1, 7))], dim=1)
    return verl.DataProto.from_dict(
        tensors={"prompts": prompt, "responses": padded, "attention_mask": mask.long()},
        non_tensors={
            "data_source": np.array(["cxr"], dtype=object),
            "reward_model": np.array([{"ground_truth": reference}], dtype=object),
            "extra_info": np.array([{}], dtype=object),
        },
    )


def scored(config: Any, tokenizer: Any, rollouts: list[Any]) -> list[Any]:
    """Score rollouts at the same time, as verl's reward workers do."""

    async def ask() -> list[Any]:
        manager = load_reward_manager(config, tokenizer)
        manager.loop = asyncio.get_running_loop()
        asked = [manager.run_single(one) for one in rollouts]
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask())


def test_the_reward_manager_gives_the_package_s_reward(config: Any, tokenizer: Any) -> None:
    answers = scored(config, tokenizer, [rollout(tokenizer, report) for report in REPORTS])
    expected = load_reward("rules").score(REPORTS, [REFERENCE] * len(REPORTS))
    assert [one["reward_score"] for one in answers] == expected.total.tolist()
    assert answers[2]["reward_score"] == 3, "three parts, each 1 for the reference itself"
    for row, one in enumerate(answers):
        for name, values in expected.components.items():
            assert one["reward_extra_info"][name] == values[row]


def test_a_report_that_cannot_be_scored_ends_the_run(config: Any, tokenizer: Any) -> None:
    (answer,) = scored(config, tokenizer, [rollout(tokenizer, REPORTS[0], reference=None)])
    assert isinstance(answer, EditGRPOError)
