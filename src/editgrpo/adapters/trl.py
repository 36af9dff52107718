"""TRL's stock GRPOTrainer: a function for `reward_funcs` and one for `rollout_func`.

Checked against TRL 1.16.0, trl/trainer/grpo_trainer.py, by tests/adapters/test_trl.py. Sampling
goes through two private methods of the trainer, `_tokenize_prompts` and `_generate_single_turn`: no
public one samples with the back-end that the trainer was given.
"""

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from editgrpo.adapters.edits import GroupEditor
from editgrpo.adapters.reward import score_or_none
from editgrpo.config import ClinicalConfig, EditConfig
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.metrics.judges.costs import take_costs
from editgrpo.rewards import Reward
from editgrpo.training.step.loss_budget import LossBudget
from editgrpo.training.step.responses import Kind, Response

_GRACE_GROUPS = 100


def reward_function(
    reward: Reward, *, column: str = "findings", max_dropped_share: float = 0.05
) -> Callable[..., list[float | None]]:
    """Make a function for TRL's `reward_funcs`; it must be the only one.

    Args:
        reward: What scores; `load_shared_reward` makes one that always ends in scores or an error.
        column: The data set's column with the reference reports.
        max_dropped_share: Training ends when a larger share of the groups could not be scored.

    Returns:
        A function that gives None to every completion of a group that could not be edited or
        scored: TRL leaves it out of the baseline and gives it advantage 0. Beside a second reward
        function TRL would count None as 0, hence the only one; other terms go into the weights.
    """
    budget = LossBudget(share=max_dropped_share, grace=_GRACE_GROUPS)
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(_holds_no_report)

    def editgrpo_reward(
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        edit_failure: Sequence[str | None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
        references = columns[column]
        rewards: list[float | None] = [None] * len(texts)
        failures = edit_failure or [None] * len(texts)
        usable = [row for row, failure in enumerate(failures) if failure is None]
        scores = score_or_none(
            reward, [texts[row] for row in usable], [references[row] for row in usable]
        )
        for row, score in zip(usable, scores, strict=True):
            rewards[row] = score
        groups = groupby(zip(references, rewards, strict=True), key=lambda pair: pair[0])
        lost = [any(value is None for _, value in group) for _, group in groups]
        if log_metric is not None:
            log_metric("errors/dropped_groups", float(sum(lost)))
            for name, amount in take_costs().items():
                log_metric(name, amount)
        if budget.spend(len(lost), sum(lost)):
            raise TrainingError(
                f"{budget.lost} of {budget.seen} groups could not be edited or scored, more than "
                f"{max_dropped_share:.0%}; the warnings above say why"
            )
        return rewards

    return editgrpo_reward


def _holds_no_report(record: logging.LogRecord) -> bool:
    """Keep TRL's warning about a row without a reward out of logs: it quotes both reports."""
    return "All reward functions returned None" not in str(record.msg)


class EditedRollouts:
    """A `rollout_func`: samples part of each group and adds edited versions.

    The ratio of an edited completion is 1 in stock TRL. Its log-probabilities under the old policy
    are those of the current one, or are computed on the edited tokens before the update. Where vLLM
    samples, its importance ratio compares them with vLLM's log-probabilities; edited completions
    have none, which TRL reads as "no correction".
    """

    def __init__(
        self,
        reference_of: Callable[[Any], str],
        *,
        edit: EditConfig | None = None,
        clinical: ClinicalConfig | None = None,
        seed: int = 0,
    ) -> None:
        """Keep the settings; the annotator is loaded with the first prompts.

        Args:
            reference_of: Returns the reference report of a prompt as it stands in the data set: TRL
                passes a rollout function nothing else.
            edit: The edit; None takes the defaults.
            clinical: Where the annotator's models lie and how they run.
            seed: Every random choice of the edits follows from it.
        """
        self._reference_of = reference_of
        self._edit = edit
        self._clinical = clinical
        self._seed = seed
        self._editor: GroupEditor | None = None

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """Return completions of the prompts.

        Args:
            prompts: Those of one process; in training each stands G times in a row.
            trainer: The GRPOTrainer.

        Returns:
            `prompt_ids`, `completion_ids` and `logprobs` as TRL asks for, and `edit_failure` for
            the reward function. In evaluation nothing is edited.

        Raises:
            ConfigError: the prompts of the process are not whole groups, or G is odd.
        """
        if not trainer.model.training:
            return _sample(prompts, trainer, trainer.num_generations_eval)
        size = trainer.num_generations
        firsts = prompts[::size]
        if list(prompts) != [prompt for prompt in firsts for _ in range(size)]:
            raise ConfigError(
                "the prompts of a process are not whole groups; make per_device_train_batch_size "
                f"times steps_per_generation a multiple of num_generations ({size})"
            )
        editor = self._load(trainer)
        kept = editor.sampled_per_group(size)
        sampled = _sample([prompt for prompt in firsts for _ in range(kept)], trainer, kept)
        starts = range(0, len(firsts) * kept, kept)
        groups = editor.complete(
            trainer.state.global_step,
            [self._reference_of(prompt) for prompt in firsts],
            [sampled["completion_ids"][start : start + kept] for start in starts],
        )
        responses = [response for group in groups for response in group.responses]
        log_probs = sampled["logprobs"]
        return {
            "prompt_ids": [sampled["prompt_ids"][k] for k in starts for _ in range(size)],
            "completion_ids": [list(response.token_ids) for response in responses],
            "logprobs": None if log_probs is None else _log_probs(responses, log_probs),
            "edit_failure": [group.failure for group in groups for _ in group.responses],
        }

    def _load(self, trainer: Any) -> GroupEditor:
        if self._editor is None:
            processing = trainer.processing_class
            self._editor = GroupEditor(
                getattr(processing, "tokenizer", processing),
                max_tokens=trainer.max_completion_length,
                eos_token_ids=trainer.eos_token_ids,
                edit=self._edit,
                clinical=self._clinical,
                seed=self._seed,
            )
        return self._editor


def _sample(prompts: Sequence[Any], trainer: Any, per_prompt: int) -> dict[str, Any]:
    """Sample as the stock trainer does; equal prompts come `per_prompt` times in a row."""
    prompt_ids, images, fields = trainer._tokenize_prompts(list(prompts))
    completion_ids, log_probs = trainer._generate_single_turn(
        prompt_ids, images, fields, per_prompt
    )
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": log_probs}


def _log_probs(
    responses: Sequence[Response], sampled: Sequence[Sequence[float | None]]
) -> list[Sequence[float | None]]:
    """Give sampled responses their log-probabilities and the others none, token by token."""
    remaining = iter(sampled)
    return [
        next(remaining) if response.kind is Kind.SAMPLED else [None] * len(response.token_ids)
        for response in responses
    ]
