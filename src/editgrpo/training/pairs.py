"""Pairs of a rollout and its edited version: those that a run recorded, or of fresh samples.

Left out on purpose: the file that TRL reads (preference_set.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from editgrpo.config import (
    AdvantageScale,
    ClinicalConfig,
    DataConfig,
    EditConfig,
    EditLevel,
    RewardConfig,
)
from editgrpo.config.check import Count, Positive, require, settings
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.edits import EditRule
from editgrpo.edits.codec import codec_of
from editgrpo.errors import DataError
from editgrpo.files import json_line, naming, open_to_append, read_jsonl, write_jsonl
from editgrpo.foreign import reading
from editgrpo.ownership import owning
from editgrpo.reports import load_annotator
from editgrpo.reports.sectioned import annotator_of_target
from editgrpo.rewards import configured_reward
from editgrpo.training.generate import (
    GenerationConfig,
    load_sampling_policy,
    rows_done,
    sampling_inputs,
)
from editgrpo.training.policy.generation_tokens import SamplingSettings, generation_tokens
from editgrpo.training.policy.load import load_processor, resolve_model_folder
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.prompts import PromptEncoder, load_split
from editgrpo.training.preference_set import Pair, Progress
from editgrpo.training.run.folder import ROLLOUTS
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.seeds import rollout_draws
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.responses import Kind
from editgrpo.training.step.scoring import ScoredGroup, score_groups


@settings()
class PairConfig(GenerationConfig):
    """How pairs are sampled from a model; the seed decides the draws of the edits, too."""

    samples: Count = 4
    """Rollouts of a study, each of which is edited."""
    temperature: Positive = 1.0
    """Divides the logits when rollouts are sampled."""
    edit: EditConfig = field(default_factory=EditConfig)
    """How rollouts are edited."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """By which both are scored."""


def preferred(pairs: Iterable[Pair], *, min_gain: float) -> list[Pair]:
    """Keep the pairs whose edit gained enough, each once.

    Args:
        pairs: Any.
        min_gain: The edited report's reward must be higher by more than this.

    Returns:
        Those, in order; of equal ones the first.
    """
    found: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        if pair.gain > min_gain and pair.chosen != pair.rejected:
            found.setdefault((pair.study_id, pair.chosen, pair.rejected), pair)
    return list(found.values())


def recorded_pairs(run: Path) -> list[Pair]:
    """Read the pairs that a training run recorded: of each group the best and the worst response,
    where that is an edited one.

    Args:
        run: Its folder.

    Returns:
        The pairs, in the order of the steps, whether the edit gained or not.

    Raises:
        DataError: the file of rollouts is damaged.
    """
    path = run / ROLLOUTS
    pairs = []
    for number, row in read_jsonl(path):
        remedy = "put back the file as the run wrote it"
        with reading(f"{path}, line {number}", remedy, error=DataError):
            edit = row["edit"]
            if edit is None:
                continue
            pairs.append(
                Pair(
                    study_id=row["study_id"],
                    chosen=row["report"],
                    rejected=edit["source_report"],
                    rule=edit["rule"],
                    chosen_reward=row["reward"]["total"],
                    rejected_reward=edit["source_reward"]["total"],
                )
            )
    return pairs


def sampled_pairs(
    model: str,
    data: DataConfig,
    split: Split,
    partial: Path,
    config: PairConfig,
    *,
    clinical: ClinicalConfig | None = None,
    progress: Progress | None = None,
) -> list[Pair]:
    """Sample rollouts for the studies of a split, edit and score them; continue where an earlier
    call stopped.

    Args:
        model: Folder or Hub id of the policy.
        data: The studies; `train_limit` cuts the training split, `validation_limit` the others.
        split: Which part.
        partial: Keeps what is done until all is; whoever has written the pairs removes it.
        config: How to sample, edit and score.
        clinical: Where the models of annotator and reward lie.
        progress: Called with (studies done, studies in all).

    Returns:
        The pairs of all edited rollouts, whether the edit gained or not; none of a group that could
        not be edited or scored.

    Raises:
        ConfigError: another process writes the file, or rollouts are not to be edited.
        DataError: the split is empty, images cannot be decoded, or the partial file was begun with
            something else.
        ModelError: a model cannot be loaded.
        TrainingError: sampling does not take the tokens that transformers' `generate` takes.
    """
    is_edited = config.edit.level is EditLevel.SENTENCE
    require(is_edited, "edit.level", config.edit.level.value, "sentence to make pairs")
    studies = load_split(data, split)
    folder = resolve_model_folder(model)
    with owning(partial):
        rows = _sampled_rows(folder, studies, data, partial, config, clinical, progress)
    return [Pair(**pair) for row in rows for pair in row["pairs"]]


def _sampled_rows(
    folder: Path,
    studies: StudySet,
    data: DataConfig,
    partial: Path,
    config: PairConfig,
    clinical: ClinicalConfig | None,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Return one row a study, with its pairs."""
    run = {"run": sampling_inputs(folder, studies, data, asdict(config))}
    rows = rows_done(partial, run, batch=config.batch_size)
    maker = _Maker.of(folder, studies, data, config, clinical)
    write_jsonl(partial, [run, *rows])
    with naming(partial), open_to_append(partial) as stream:
        for start in range(len(rows), len(studies), config.batch_size):
            if progress is not None:
                progress(start, len(studies))
            for scored in maker.groups(studies[start : start + config.batch_size]):
                pairs = [asdict(pair) for pair in _pairs(scored)]
                rows.append({"study_id": scored.group.study_id, "pairs": pairs})
                stream.write(json_line(rows[-1]))
            stream.flush()
    if progress is not None:
        progress(len(studies), len(studies))
    return rows


@dataclass(frozen=True, slots=True)
class _Maker:
    """Samples, edits and scores the groups of studies."""

    policy: Policy
    encoder: PromptEncoder
    builder: GroupBuilder
    reward: Any
    config: PairConfig
    sampling: SamplingSettings

    @classmethod
    def of(
        cls,
        folder: Path,
        studies: StudySet,
        data: DataConfig,
        config: PairConfig,
        clinical: ClinicalConfig | None,
    ) -> "_Maker":
        encoder = PromptEncoder(studies, load_processor(folder), data)
        reward = configured_reward(config.reward, clinical or ClinicalConfig(), data.target)
        annotator = annotator_of_target(
            load_annotator(config.edit.annotator, clinical), data.target
        )
        annotator.annotate(["No pleural effusion."])  # a missing model ends the command here
        policy = load_sampling_policy(folder, encoder, studies[0], config)
        tokens = generation_tokens(policy, encoder.processor.tokenizer)
        builder = GroupBuilder(
            config=config.edit,
            annotator=annotator,
            codec=codec_of(encoder.processor.tokenizer),
            eos_token_id=tokens.eos_token_id,
            eos_token_ids=tokens.eos_token_ids,
            max_tokens=config.max_completion_tokens,
            seed=config.seed,
            others=studies,
        )
        sampling = tokens.sampling(
            max_tokens=config.max_completion_tokens, temperature=config.temperature
        )
        return cls(policy, encoder, builder, reward, config, sampling)

    def groups(self, studies: Sequence[Study]) -> list[ScoredGroup]:
        config = self.config
        rollouts = sample_responses(
            self.policy,
            self.encoder.encode_all(studies),
            rollout_draws(
                config.seed,
                0,
                [study.study_id for study in studies],
                rows=config.samples,
                count=config.max_completion_tokens,
            ),
            self.sampling,
        )
        groups = self.builder.build(0, studies, rollouts)
        return score_groups(self.reward, groups, scale=AdvantageScale.NONE)


def _pairs(scored: ScoredGroup) -> list[Pair]:
    if scored.is_dropped:
        return []
    responses = scored.group.responses
    return [
        Pair(
            study_id=scored.group.study_id,
            chosen=one.text,
            rejected=responses[one.source].text,
            rule=str(one.treatment),
            chosen_reward=scored.totals_G[number],
            rejected_reward=scored.totals_G[one.source],
        )
        for number, one in enumerate(responses)
        if one.kind is Kind.EDITED
        and one.source is not None
        and not one.is_unused_edit
        and one.treatment != EditRule.NONE
    ]
