"""The reward and the edit in TRL's stock GRPOTrainer: real steps of a small text model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from editgrpo.adapters import load_shared_reward
from editgrpo.adapters.trl import EditedRollouts, reward_function
from editgrpo.config import EditConfig, EditLevel
from editgrpo.errors import ConfigError, RewardError, TrainingError
from editgrpo.rewards import load_reward
from tests.adapters.fakes import LengthReward
from tests.adapters.tiny_text import GROUP, STUDIES, RecordingTrainer, make_trainer

KEPT = GROUP // 2


@pytest.fixture(autouse=True)
def experimental_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def rollouts(**settings: Any) -> EditedRollouts:
    return EditedRollouts(STUDIES.__getitem__, **settings)


def prepare(trainer: RecordingTrainer, prompts: list[str]) -> dict[str, Any]:
    """Sample, edit and score whole groups, as a step does."""
    trainer.model.train()
    rows = [
        {"prompt": prompt, "findings": STUDIES[prompt]} for prompt in prompts for _ in range(GROUP)
    ]
    inputs: dict[str, Any] = trainer._generate_and_score_completions(rows)
    return inputs


def texts_of(tokenizer: Any, inputs: dict[str, Any]) -> list[str]:
    texts: list[str] = tokenizer.batch_decode(inputs["completion_ids"], skip_special_tokens=True)
    return texts


@pytest.mark.slow
def test_the_reward_of_a_run_is_the_package_s(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    scored: list[tuple[str, str, float]] = []
    inner = reward_function(load_shared_reward(name="rules"))

    def reward(completions: list[str], findings: list[str], **rest: Any) -> list[float | None]:
        rewards = inner(completions, findings=findings, **rest)
        scored.extend(zip(completions, findings, rewards, strict=True))  # type: ignore[arg-type]
        return rewards

    trainer = make_trainer(tmp_path, model, tokenizer, reward_funcs=reward, rollout_func=None)
    trainer.train()
    assert len(scored) == 2 * 2 * GROUP
    candidates, references, rewards = (list(column) for column in zip(*scored, strict=True))
    expected = load_reward("rules").score(candidates, references).total
    assert rewards == expected.tolist()
    logged = [row for row in trainer.state.log_history if "reward" in row]
    assert [row["errors/dropped_groups"] for row in logged] == [0, 0]
    mean = float(expected[: 2 * GROUP].mean())
    assert logged[0]["reward"] == pytest.approx(mean, rel=1e-5)
    assert inner.__name__ == "editgrpo_reward"  # the name in TRL's logs


@pytest.mark.slow
def test_half_of_every_group_is_edited(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    trainer = make_trainer(
        tmp_path,
        model,
        tokenizer,
        reward_funcs=reward_function(load_shared_reward(name="rules")),
        rollout_func=rollouts(),
    )
    prompts = list(STUDIES)
    inputs = prepare(trainer, prompts)
    texts = texts_of(tokenizer, inputs)
    better = 0
    for group, prompt in enumerate(prompts):
        start = group * GROUP
        sampled, edited = texts[start : start + KEPT], texts[start + KEPT : start + GROUP]
        reference = [STUDIES[prompt]] * KEPT
        gain = (
            load_shared_reward(name="rules").score(edited, reference).total
            - load_shared_reward(name="rules").score(sampled, reference).total
        )
        better += int((gain > 0).sum())
    assert better > len(prompts)  # of 12; one edit need not be enough, or nothing was wrong
    ids, mask = inputs["completion_ids"], inputs["completion_mask"]
    for row in range(len(texts)):
        if row % GROUP >= KEPT:
            kept = ids[row][mask[row].bool()].tolist()
            assert kept[-1] == tokenizer.eos_token_id
            assert kept.count(tokenizer.eos_token_id) == 1
    # The prompts belong to their completions.
    shown = tokenizer.batch_decode(inputs["prompt_ids"], skip_special_tokens=True)
    assert shown == [prompt for prompt in prompts for _ in range(GROUP)]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"num_iterations": 2, "max_steps": 4}], ids=str)
def test_the_ratio_of_every_completion_is_one_at_its_first_update(
    tmp_path: Path, model: Any, tokenizer: Any, settings: dict[str, Any]
) -> None:
    trainer = make_trainer(
        tmp_path,
        model,
        tokenizer,
        reward_funcs=reward_function(load_shared_reward(name="rules")),
        rollout_func=rollouts(),
        **settings,
    )
    trainer.train()
    iterations = settings.get("num_iterations", 1)
    assert len(trainer.seen) == 2 * iterations
    assert any(bool((inputs["advantages"] != 0).any()) for inputs in trainer.seen)
    for inputs in trainer.seen[::iterations]:
        # Without old log-probabilities TRL takes the current ones, of whatever tokens stand there.
        old = inputs.get("old_per_token_logps")
        assert (old is None) == (iterations == 1)
        if old is not None:
            is_token = inputs["completion_mask"].bool()
            torch.testing.assert_close(old[is_token], inputs["current"][is_token])
        assert "sampling_per_token_logps" not in inputs
    clipped = [row["clip_ratio/region_mean"] for row in trainer.state.log_history if "loss" in row]
    assert clipped[::iterations] == [0.0, 0.0]


def test_with_vllm_edited_completions_have_no_importance_correction(
    tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    # vLLM itself is replaced: it is said to have sampled with log-probability -1 everywhere, so
    # sampled tokens are corrected; edited ones, which nobody sampled, are not.
    trainer = make_trainer(
        tmp_path,
        model,
        tokenizer,
        reward_funcs=reward_function(load_shared_reward(name="rules")),
        rollout_func=rollouts(),
    )
    stock = trainer._generate_single_turn

    def as_vllm(*arguments: Any) -> tuple[list[list[int]], list[list[float]]]:
        trainer.use_vllm = False
        completion_ids, _ = stock(*arguments)
        trainer.use_vllm = True
        return completion_ids, [[-1.0] * len(ids) for ids in completion_ids]

    trainer._generate_single_turn = as_vllm
    trainer.use_vllm = True
    trainer.vllm_importance_sampling_correction = True
    trainer.vllm_importance_sampling_mode = "token_truncate"
    trainer.vllm_generation = SimpleNamespace(sync_weights=lambda: None)
    trainer._last_loaded_step = -1
    inputs = prepare(trainer, list(STUDIES)[:2])
    is_token = inputs["completion_mask"].bool()
    is_edited = torch.arange(2 * GROUP) % GROUP >= KEPT
    ratio = inputs["importance_sampling_ratio"]
    assert bool((ratio[is_edited] == 1).all())
    assert not torch.allclose(ratio[~is_edited][is_token[~is_edited]], torch.ones(()))


def test_a_group_that_cannot_be_scored_takes_no_part(
    tmp_path: Path, model: Any, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken, *others = list(STUDIES)[:3]
    trainer = make_trainer(
        tmp_path,
        model,
        tokenizer,
        reward_funcs=reward_function(LengthReward(fails=[STUDIES[broken]])),
        rollout_func=rollouts(),
    )
    inputs = prepare(trainer, [broken, *others])
    lengths = torch.tensor([float(len(text)) for text in texts_of(tokenizer, inputs)])
    expected = lengths.view(-1, GROUP) - lengths.view(-1, GROUP).mean(dim=1, keepdim=True)
    expected[0] = 0
    torch.testing.assert_close(inputs["advantages"].view(-1, GROUP), expected)
    # TRL would log reference and completion of a row without a reward.
    assert "scoring failed: the scorer is broken" in caplog.text
    assert STUDIES[broken] not in caplog.text


def test_a_group_that_cannot_be_edited_takes_no_part(
    tmp_path: Path, model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = list(STUDIES)[:3]
    unreadable = "The patient is rotated."
    edits = EditedRollouts({**STUDIES, prompts[1]: unreadable}.__getitem__)
    reward = LengthReward()
    trainer = make_trainer(
        tmp_path, model, tokenizer, reward_funcs=reward_function(reward), rollout_func=edits
    )
    annotator = edits._load(trainer)._builder.annotator
    assert annotator is not None
    annotate = type(annotator).annotate

    def failing(self: Any, texts: Any) -> Any:
        if unreadable in texts:
            raise RewardError("the annotator is broken")
        return annotate(self, texts)

    monkeypatch.setattr(type(annotator), "annotate", failing)
    advantages = prepare(trainer, prompts)["advantages"].view(-1, GROUP)
    assert advantages[1].tolist() == [0] * GROUP
    assert bool((advantages[[0, 2]] != 0).any(dim=1).all())
    assert reward.calls == [2 * GROUP]  # the group is not even scored


@pytest.mark.slow
def test_too_many_lost_groups_end_the_run(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    trainer = make_trainer(
        tmp_path,
        model,
        tokenizer,
        reward_funcs=reward_function(LengthReward(fails=[*STUDIES.values()]), max_dropped_share=0),
        rollout_func=None,
    )
    with pytest.raises(TrainingError, match="2 of 2 groups could not be edited or scored"):
        trainer.train()


def test_chat_completions_are_scored_by_their_text() -> None:
    reward = reward_function(LengthReward(), column="report")
    chats = [[{"role": "assistant", "content": "abc"}], [{"role": "assistant", "content": ""}]]
    assert reward(chats, report=["r", "r"], prompts=[]) == [3.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "sampled"), [(EditLevel.REPORT, GROUP - 1), (EditLevel.NONE, GROUP)]
)
def test_other_levels_of_edits(
    tmp_path: Path, model: Any, tokenizer: Any, level: EditLevel, sampled: int
) -> None:
    trainer = make_trainer(
        tmp_path,
        model,
        tokenizer,
        reward_funcs=reward_function(LengthReward()),
        rollout_func=rollouts(edit=EditConfig(level=level)),
    )
    prompt = next(iter(STUDIES))
    texts = texts_of(tokenizer, prepare(trainer, [prompt]))
    assert len(texts) == GROUP
    assert texts[sampled:] == [STUDIES[prompt]] * (GROUP - sampled)


def test_nothing_is_edited_in_evaluation(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    edits = rollouts()
    trainer = make_trainer(
        tmp_path, model, tokenizer, reward_funcs=reward_function(LengthReward()), rollout_func=edits
    )
    trainer.model.eval()
    answer = edits(list(STUDIES), trainer)
    assert len(answer["completion_ids"]) == len(STUDIES)
    assert edits._editor is None


def test_prompts_that_are_not_whole_groups_are_refused(
    tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    edits = rollouts()
    trainer = make_trainer(
        tmp_path, model, tokenizer, reward_funcs=reward_function(LengthReward()), rollout_func=edits
    )
    trainer.model.train()
    first, second, *_ = STUDIES
    with pytest.raises(ConfigError, match=r"num_generations \(4\)"):
        edits([first] * 2 + [second] * 4 + [first] * 2, trainer)


@pytest.mark.parametrize("name", ["_tokenize_prompts", "_generate_single_turn"])
def test_what_the_rollouts_stand_on_exists_in_trl(name: str) -> None:
    assert callable(getattr(GRPOTrainer, name, None))
