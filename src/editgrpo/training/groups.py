"""A group: the rollouts sampled for one study, and what is put beside them (their edited versions,
by default).

No model here: token ids come in, token ids and texts go out. The edit itself is in
`editgrpo.edits`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from editgrpo.config import EditConfig, EditLevel
from editgrpo.data.study import Study
from editgrpo.edits import Edit, edit_report
from editgrpo.edits.splice import (
    TokenCodec,
    complete_spans,
    decode_completion,
    splice_completion,
)
from editgrpo.errors import RewardError
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Annotator
from editgrpo.rewards.guard import failures_as_reward_errors
from editgrpo.training.seeds import Purpose, random_generator

_LOG = logging.getLogger(__name__)


SHORTENED = "shortened"
"""Stands in the place of a rule's name where no rule applied to a truncated rollout."""


class Kind(StrEnum):
    """How a response came about."""

    SAMPLED = "sampled"
    EDITED = "edited"
    REFERENCE = "reference"


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """One response of a group.

    Attributes:
        kind: Sampled by the policy, an edited version of a sampled one, or the reference report.
        token_ids: Its tokens; they end with the end-of-sequence token unless it is truncated.
        text: What the tokens say; this is scored.
        source: For an edited one, the index in the group of the rollout it was made from.
        edit: For an edited one, the edit; its rule is NONE if there was nothing to edit.
        before: For an edited one, the annotated rollout that the edit was made on: without the
            sentence that the length limit cut.
        unfinished: For an edited one, the sentence of the rollout that the length limit cut and
            that is gone here; empty if there is none.
        is_truncated: Whether sampling stopped at the length limit.
        is_unused_edit: Whether the edited text was over the length limit, so that the rollout
            stands twice.
        is_shortened: Whether no rule applied, but the rollout was truncated, so that it ends here
            where its last whole sentence does.
        sampled_log_probs: For each token its log-probability under the engine that sampled it, if
            that was not the policy in training itself; NaN where the engine gave none. None for
            tokens that nobody sampled.
    """

    kind: Kind
    token_ids: tuple[int, ...]
    text: str
    source: int | None = None
    edit: Edit | None = None
    before: AnnotatedReport | None = None
    unfinished: str = ""
    is_truncated: bool = False
    is_unused_edit: bool = False
    is_shortened: bool = False
    sampled_log_probs: tuple[float, ...] | None = None

    @property
    def treatment(self) -> str | None:
        """What was done to the rollout of an edited response: the rule, or `SHORTENED`."""
        if self.edit is None:
            return None
        return SHORTENED if self.is_shortened else self.edit.rule.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The G responses to one study, sampled ones first.

    Attributes:
        study_id: The study.
        reference: Its reference report.
        responses: The responses.
        failure: Why its rollouts could not be edited, None if they could; the group is then dropped
            like one whose scoring failed.
    """

    study_id: str
    reference: str
    responses: tuple[Response, ...]
    failure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupBuilder:
    """Makes groups from rollouts."""

    config: EditConfig
    annotator: Annotator | None
    """Finds sentences and entities; None when `config.level` is not SENTENCE."""
    codec: TokenCodec
    eos_token_id: int
    """Ends an edited response and the reference."""
    eos_token_ids: tuple[int, ...]
    """Every token that may have ended a rollout."""
    max_tokens: int
    seed: int

    def build(
        self, step: int, studies: Sequence[Study], rollouts_PK: Sequence[Sequence[Sequence[int]]]
    ) -> list[Group]:
        """Put the second half (or none) beside the sampled rollouts of each study.

        Args:
            step: The training step, a coordinate of every random draw.
            studies: P studies.
            rollouts_PK: For each its K rollouts as token ids.

        Returns:
            P groups of equal size.
        """
        sampled = [[self._sampled(tokens) for tokens in rollouts] for rollouts in rollouts_PK]
        if self.config.level is EditLevel.SENTENCE:
            return self._with_edited_versions(step, studies, sampled)
        return [
            self._group(
                study,
                rollouts,
                [self._reference_response(study, rollouts[0])]
                if self.config.level is EditLevel.REPORT
                else [],
            )
            for study, rollouts in zip(studies, sampled, strict=True)
        ]

    def _group(
        self,
        study: Study,
        rollouts: Sequence[Response],
        more: Sequence[Response],
        failure: str | None = None,
    ) -> Group:
        return Group(
            study_id=study.study_id,
            reference=study.findings,
            responses=(*rollouts, *more),
            failure=failure,
        )

    def _sampled(self, tokens: Sequence[int]) -> Response:
        return Response(
            kind=Kind.SAMPLED,
            token_ids=tuple(tokens),
            text=decode_completion(tokens, codec=self.codec, eos_token_id=self._end_of(tokens)),
            is_truncated=tokens[-1] not in self.eos_token_ids,
        )

    def _end_of(self, tokens: Sequence[int]) -> int:
        # A model may declare several end tokens; an edited rollout keeps the one it ended with.
        return tokens[-1] if tokens[-1] in self.eos_token_ids else self.eos_token_id

    def _with_edited_versions(
        self, step: int, studies: Sequence[Study], sampled: Sequence[Sequence[Response]]
    ) -> list[Group]:
        """Annotate everything in one call; if that fails, each study on its own."""
        try:
            annotated = self._annotate(studies, sampled)
        except RewardError as error:
            if len(studies) > 1:
                return [
                    self._with_edited_versions(step, [study], [rollouts])[0]
                    for study, rollouts in zip(studies, sampled, strict=True)
                ]
            _LOG.warning("study %s: its group is dropped: %s", studies[0].study_id, error)
            twice = [replace(one, kind=Kind.EDITED, is_unused_edit=True) for one in sampled[0]]
            return [self._group(studies[0], sampled[0], twice, str(error))]
        return [
            self._group(
                study,
                rollouts,
                [
                    self._edited(step, study, index, rollout, report, reference)
                    for index, (rollout, report) in enumerate(zip(rollouts, reports, strict=True))
                ],
            )
            for study, rollouts, (reports, reference) in zip(
                studies, sampled, annotated, strict=True
            )
        ]

    def _annotate(
        self, studies: Sequence[Study], sampled: Sequence[Sequence[Response]]
    ) -> list[tuple[list[AnnotatedReport], AnnotatedReport]]:
        """Return for each study its annotated rollouts and reference."""
        assert self.annotator is not None  # guaranteed by the trainer's construction
        with failures_as_reward_errors(f"annotator {self.annotator.name}"):
            references = self.annotator.annotate([study.findings for study in studies])
            texts = [response.text for group in sampled for response in group]
            reports = iter(self.annotator.annotate(texts))
        return [
            ([next(reports) for _ in group], reference)
            for group, reference in zip(sampled, references, strict=True)
        ]

    def _edited(
        self,
        step: int,
        study: Study,
        index: int,
        rollout: Response,
        report: AnnotatedReport,
        reference: AnnotatedReport,
    ) -> Response:
        assert self.annotator is not None
        spans = complete_spans(
            self.annotator.split(rollout.text), rollout.text, truncated=rollout.is_truncated
        )
        before = AnnotatedReport(report.sentences[: len(spans)])
        edit = edit_report(
            before,
            reference,
            rng=random_generator(self.seed, Purpose.EDIT, step, study.study_id, index),
            threshold=self.config.threshold,
            max_edits=self.config.max_edits,
            anatomy_counts=self.config.anatomy_counts,
        )
        spliced = splice_completion(
            rollout.token_ids,
            spans=spans,
            edit=edit,
            reference=reference,
            codec=self.codec,
            eos_token_id=self._end_of(rollout.token_ids),
            max_tokens=self.max_tokens,
        )
        is_used = spliced is not None
        return Response(
            kind=Kind.EDITED,
            token_ids=spliced.token_ids if spliced is not None else rollout.token_ids,
            text=spliced.text if spliced is not None else rollout.text,
            source=index,
            edit=edit,
            before=before,
            unfinished=_text_of(report.sentences[len(spans) :]) if is_used else "",
            is_truncated=rollout.is_truncated and not is_used,
            is_unused_edit=not is_used,
            is_shortened=is_used and rollout.is_truncated and not edit.steps,
        )

    def _reference_response(self, study: Study, fallback: Response) -> Response:
        tokens = (*self.codec.encode(study.findings.encode()), self.eos_token_id)
        if len(tokens) > self.max_tokens:
            return Response(
                kind=Kind.REFERENCE,
                token_ids=fallback.token_ids,
                text=fallback.text,
                source=0,
                is_truncated=fallback.is_truncated,
                is_unused_edit=True,
            )
        return Response(kind=Kind.REFERENCE, token_ids=tokens, text=study.findings)


def _text_of(sentences: Sequence[AnnotatedSentence]) -> str:
    return AnnotatedReport(tuple(sentences)).text
