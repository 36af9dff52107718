"""A group: the rollouts sampled for one study, and what is added to them (their edited versions,
by default).

No model here: token ids come in, token ids and texts go out. The edit itself is in
`editgrpo.edits`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from editgrpo.config import EditConfig, EditLevel, EditSource, EditWhen, Likeness, Placement
from editgrpo.data.study import Study
from editgrpo.edits import Edit, edit_report
from editgrpo.edits.similarity import unsaid_entities, without_embeddings
from editgrpo.edits.splice import (
    TokenCodec,
    complete_spans,
    decode_completion,
    splice_completion,
)
from editgrpo.errors import RewardError
from editgrpo.reports.types import AnnotatedReport, Annotator, Span
from editgrpo.rewards.guard import failures_as_reward_errors
from editgrpo.training.seeds import Purpose, random_generator
from editgrpo.training.step.responses import Group, Kind, Response

_LOG = logging.getLogger(__name__)


__all__ = ["Group", "GroupBuilder", "Kind", "Response"]


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
    others: Sequence[Study] = ()
    """The training studies, among them more than one; read only with `config.source: shuffled`."""

    def build(
        self,
        step: int,
        studies: Sequence[Study],
        rollouts_PK: Sequence[Sequence[Sequence[int]]],
        *,
        edited_P: Sequence[int] | None = None,
    ) -> list[Group]:
        """Add the second half (or none) to the sampled rollouts of each study.

        Args:
            step: The training step, a coordinate of every random draw.
            studies: P studies.
            rollouts_PK: For each its K rollouts as token ids; K may differ.
            edited_P: How many of each study's rollouts, from its first on, get an edited version;
                None for all of them. Read only where rollouts are edited.

        Returns:
            P groups.
        """
        sampled = [[self._sampled(tokens) for tokens in rollouts] for rollouts in rollouts_PK]
        if self.config.level is EditLevel.SENTENCE:
            counts = edited_P or [len(rollouts) for rollouts in sampled]
            return self._with_edited_versions(step, studies, sampled, counts)
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

    def need_edits(
        self, step: int, studies: Sequence[Study], rollouts_PK: Sequence[Sequence[Sequence[int]]]
    ) -> list[bool]:
        """Say which groups get edited versions where not all do.

        Args:
            step: The training step.
            studies: P studies.
            rollouts_PK: For each its K rollouts as token ids.

        Returns:
            P answers: whether the reference of a study has an entity that none of its rollouts
            states; True also where a report cannot be annotated, as `build` will find again. With
            `edit.when: as_many` these answers in random order.
        """
        sampled = [[self._sampled(tokens) for tokens in rollouts] for rollouts in rollouts_PK]
        answers = [
            isinstance(one, RewardError) or bool(self._unsaid(one).any())
            for one in self._read(step, studies, sampled)
        ]
        if self.config.when is EditWhen.AS_MANY:
            names = [study.study_id for study in studies]
            random_generator(self.seed, Purpose.EDITED_GROUPS, step, *names).shuffle(answers)
        return answers

    def _group(
        self,
        study: Study,
        rollouts: Sequence[Response],
        more: Sequence[Response],
        failure: str | None = None,
    ) -> Group:
        return Group(
            study_id=study.study_id,
            reference=study.reference,
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
        self,
        step: int,
        studies: Sequence[Study],
        sampled: Sequence[Sequence[Response]],
        counts: Sequence[int],
    ) -> list[Group]:
        # Where nothing is edited nothing is read: what nobody looks at costs no group.
        numbers = [number for number, count in enumerate(counts) if count]
        read = dict(
            zip(
                numbers,
                self._read(step, [studies[k] for k in numbers], [sampled[k] for k in numbers]),
                strict=True,
            )
        )
        groups = []
        for number, (study, rollouts) in enumerate(zip(studies, sampled, strict=True)):
            found, count = read.get(number), counts[number]
            if found is None:
                groups.append(self._group(study, rollouts, []))
            elif isinstance(found, RewardError):
                _LOG.warning("study %s: its group is dropped: %s", study.study_id, found)
                twice = [replace(one, kind=Kind.EDITED, is_unused_edit=True) for one in rollouts]
                groups.append(self._group(study, rollouts, twice[:count], str(found)))
            else:
                edited = self._edited_versions(step, study, found, count)
                groups.append(self._group(study, rollouts, edited))
        return groups

    def _read(
        self, step: int, studies: Sequence[Study], sampled: Sequence[Sequence[Response]]
    ) -> list["_Reading | RewardError"]:
        """Annotate everything in one call; if that fails, each study on its own."""
        try:
            return [*self._annotate(step, studies, sampled)]
        except RewardError as error:
            if len(studies) <= 1:
                return [error]
        return [
            self._read(step, [study], [rollouts])[0]
            for study, rollouts in zip(studies, sampled, strict=True)
        ]

    def _annotate(
        self, step: int, studies: Sequence[Study], sampled: Sequence[Sequence[Response]]
    ) -> list["_Reading"]:
        assert self.annotator is not None  # guaranteed by the trainer's construction
        with failures_as_reward_errors(f"annotator {self.annotator.name}"):
            wanted = [self._edit_source(step, study).reference for study in studies]
            references = self._as_compared(self.annotator.annotate(wanted))
            texts = [response.text for group in sampled for response in group]
            reports = iter(self._as_compared(self.annotator.annotate(texts)))
        split = self.annotator.split
        return [
            _Reading(
                reference,
                tuple(_ReadRollout.of(rollout, next(reports), split) for rollout in rollouts),
            )
            for rollouts, reference in zip(sampled, references, strict=True)
        ]

    def _edit_source(self, step: int, study: Study) -> Study:
        """Return the study by whose reference the rollouts of another are edited."""
        if self.config.source is EditSource.REFERENCE:
            return study
        rng = random_generator(self.seed, Purpose.EDIT_SOURCE, step, study.study_id)
        while (other := self.others[rng.randrange(len(self.others))]).study_id == study.study_id:
            pass
        return other

    def _as_compared(self, reports: Sequence[AnnotatedReport]) -> Sequence[AnnotatedReport]:
        if self.config.likeness is Likeness.EMBEDDINGS:
            return reports
        return [without_embeddings(report) for report in reports]

    def _unsaid(self, reading: "_Reading") -> NDArray[np.bool_]:
        return unsaid_entities(
            reading.reference,
            [rollout.before for rollout in reading.rollouts],
            threshold=self.config.threshold,
            anatomy_counts=self.config.anatomy_counts,
        )

    def _edited_versions(
        self, step: int, study: Study, reading: "_Reading", count: int
    ) -> list[Response]:
        wanted_Y = None if self.config.when is EditWhen.ALWAYS else self._unsaid(reading)
        versions = []
        for index, rollout in enumerate(reading.rollouts[:count]):
            edit = edit_report(
                rollout.before,
                reading.reference,
                rng=random_generator(self.seed, Purpose.EDIT, step, study.study_id, index),
                threshold=self.config.threshold,
                max_edits=self.config.max_edits,
                anatomy_counts=self.config.anatomy_counts,
                wanted_Y=wanted_Y,
                in_reference_order=self.config.placement is Placement.REFERENCE_ORDER,
            )
            versions.append(self._edited(index, rollout, edit, reading.reference))
        return versions

    def _edited(
        self, index: int, read: "_ReadRollout", edit: Edit, reference: AnnotatedReport
    ) -> Response:
        rollout = read.response
        spliced = splice_completion(
            rollout.token_ids,
            spans=read.spans,
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
            source_T=spliced.source_T if spliced is not None else None,
            edit=edit,
            before=read.before,
            unfinished=read.unfinished if is_used else "",
            is_truncated=rollout.is_truncated and not is_used,
            is_unused_edit=not is_used,
            is_shortened=is_used and rollout.is_truncated and not edit.steps,
        )

    def reference_ids(self, study: Study) -> tuple[int, ...]:
        """Return the reference report of a study as a response.

        Args:
            study: The study.

        Returns:
            Its token ids, the end included; empty if they are more than a response may have.
        """
        tokens = (*self.codec.encode(study.reference.encode()), self.eos_token_id)
        return tokens if len(tokens) <= self.max_tokens else ()

    def _reference_response(self, study: Study, fallback: Response) -> Response:
        tokens = self.reference_ids(study)
        if not tokens:
            return Response(
                kind=Kind.REFERENCE,
                token_ids=fallback.token_ids,
                text=fallback.text,
                source=0,
                is_truncated=fallback.is_truncated,
                is_unused_edit=True,
            )
        return Response(kind=Kind.REFERENCE, token_ids=tokens, text=study.reference)


@dataclass(frozen=True, slots=True)
class _ReadRollout:
    """A rollout as the edit sees it: without the sentence that the length limit cut."""

    response: Response
    spans: Sequence[Span]
    before: AnnotatedReport
    unfinished: str

    @classmethod
    def of(
        cls, response: Response, report: AnnotatedReport, split: Callable[[str], Sequence[Span]]
    ) -> "_ReadRollout":
        spans = complete_spans(split(response.text), response.text, truncated=response.is_truncated)
        whole, rest = report.sentences[: len(spans)], report.sentences[len(spans) :]
        return cls(response, spans, AnnotatedReport(whole), " ".join(one.text for one in rest))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the annotator found in a study's reference and rollouts."""

    reference: AnnotatedReport
    rollouts: tuple[_ReadRollout, ...]
