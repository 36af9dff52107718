"""The responses to one study, as data: what was sampled, and what was added to it."""

from dataclasses import dataclass
from enum import StrEnum

from editgrpo.edits import Edit
from editgrpo.reports.types import AnnotatedReport

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
        source_T: For an edited one, for each token which token of that rollout it is, None for one
            that the rollout does not hold; None where the rollout appears twice.
        edit: For an edited one, the edit; its rule is NONE if there was nothing to edit.
        before: For an edited one, the annotated rollout that the edit was made on: without the
            sentence that the length limit cut.
        unfinished: For an edited one, the sentence of the rollout that the length limit cut and
            that is gone here; empty if there is none.
        is_truncated: Whether sampling stopped at the length limit.
        is_unused_edit: Whether the edited text was over the length limit, so that the rollout
            appears twice.
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
    source_T: tuple[int | None, ...] | None = None
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
