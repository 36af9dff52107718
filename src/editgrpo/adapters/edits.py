"""Edited versions of completions that some trainer sampled: token ids in, token ids out."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from editgrpo.config import ClinicalConfig, EditConfig, EditLevel
from editgrpo.data.study import Split, Study
from editgrpo.edits.codec import FastTokenizer, codec_of
from editgrpo.errors import ConfigError
from editgrpo.reports import load_annotator
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.responses import Group


class EndingTokenizer(FastTokenizer, Protocol):
    """A fast tokenizer of transformers that has a token for the end of a text."""

    eos_token_id: int


class GroupEditor:
    """Completes groups of sampled completions as this package's own trainer does."""

    def __init__(
        self,
        tokenizer: EndingTokenizer,
        *,
        max_tokens: int,
        eos_token_ids: Sequence[int] = (),
        edit: EditConfig | None = None,
        clinical: ClinicalConfig | None = None,
        seed: int = 0,
    ) -> None:
        """Load the annotator and read the vocabulary.

        Args:
            tokenizer: The policy's: a byte-level fast tokenizer of transformers.
            max_tokens: The most tokens of a completion, its end-of-sequence token included.
            eos_token_ids: Every token that may end a completion, if not the tokenizer's alone.
            edit: The edit; None takes the defaults.
            clinical: Where the annotator's models lie and how they run.
            seed: Every random choice follows from it, the step, the reference and the rollout.

        Raises:
            ConfigError: the annotator is unknown, or the edit is one that only this package's own
                trainer makes.
            EditError: the tokenizer is not byte-level.
            ModelError: the annotator's models are missing.
        """
        _check_half_is_edited(edit or EditConfig())
        self._level = (edit or EditConfig()).level
        is_edited = self._level is EditLevel.SENTENCE
        name = (edit or EditConfig()).annotator
        self._builder = GroupBuilder(
            config=edit or EditConfig(),
            annotator=load_annotator(name, clinical) if is_edited else None,
            codec=codec_of(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            eos_token_ids=tuple(dict.fromkeys([tokenizer.eos_token_id, *eos_token_ids])),
            max_tokens=max_tokens,
            seed=seed,
        )

    def sampled_per_group(self, group_size: int) -> int:
        """Return K, how many completions of a group are to be sampled.

        Args:
            group_size: G, completions of a group, edited ones included.

        Returns:
            G/2 with edited versions, G - 1 beside the reference report, G without either.

        Raises:
            ConfigError: G is odd and half of it is to be edited.
        """
        if self._level is EditLevel.SENTENCE and group_size % 2:
            raise ConfigError(
                f"a group of {group_size} cannot be half sampled, half edited; make it even"
            )
        share = {EditLevel.SENTENCE: group_size // 2, EditLevel.REPORT: group_size - 1}
        return share.get(self._level, group_size)

    def complete(
        self,
        step: int,
        references: Sequence[str],
        completions_PK: Sequence[Sequence[Sequence[int]]],
    ) -> list[Group]:
        """Add edited versions to sampled completions.

        Args:
            step: The training step, a coordinate of every random choice.
            references: P reference reports.
            completions_PK: For each the K sampled completions as token ids, at least one token
                each.

        Returns:
            P groups of equal size, the sampled completions first and in order. A group that could
            not be edited says why in `failure` and is to be left out of the update.
        """
        return self._builder.build(step, [_study(one) for one in references], completions_PK)


def _check_half_is_edited(edit: EditConfig) -> None:
    """Refuse groups that take more than their own completions and reference to make."""
    default = EditConfig()
    for name in ("source", "when", "share", "anneal"):
        value, papers = getattr(edit, name), getattr(default, name)
        if edit.level is EditLevel.SENTENCE and value != papers:
            raise ConfigError(
                f"edit.{name} is {value!s}, but with another trainer half of each group is "
                f"edited by its own reference; leave it {papers!s}, or use `editgrpo train`"
            )


def _study(reference: str) -> Study:
    """Return what the edit needs of a study; the id names the reference without quoting it."""
    name = hashlib.blake2b(reference.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return Study(
        study_id=f"reference-{name}",
        patient_id="",
        split=Split.TRAIN,
        images=(),
        findings=reference,
    )
