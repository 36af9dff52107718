"""The edited half of a group."""

from enum import StrEnum
from typing import Annotated

from editgrpo.config.anneal import Anneal
from editgrpo.config.check import BetweenZeroAndOne, Count, Limits, ShareOfSteps, settings


class EditLevel(StrEnum):
    """What a group has besides sampled rollouts."""

    SENTENCE = "sentence"
    REPORT = "report"
    NONE = "none"


class EditWhen(StrEnum):
    """Which groups get their edited half (docs/objective-variants.md)."""

    ALWAYS = "always"
    """All of them."""
    UNSAID = "unsaid"
    """Those in which a finding of the reference is in no sampled report; the edit then says it."""
    AS_MANY = "as_many"
    """As many groups of a step as `unsaid` names, drawn from all of them: a control."""


class EditSource(StrEnum):
    """By which report rollouts are edited (docs/objective-variants.md)."""

    REFERENCE = "reference"
    """The study's own reference."""
    SHUFFLED = "shuffled"
    """The reference of another training study, drawn anew for each group."""


class Likeness(StrEnum):
    """By what two entities are compared."""

    EMBEDDINGS = "embeddings"
    WORDS = "words"
    """Alike if their words are equal, case aside."""


class Placement(StrEnum):
    """Where an added sentence goes (docs/objective-variants.md)."""

    END = "end"
    REFERENCE_ORDER = "reference_order"
    """Where the reference has it, between the sentences before and after it there."""


@settings("edit")
class EditConfig:
    """The edited half of a group."""

    level: EditLevel = EditLevel.SENTENCE
    """`sentence`: half of each group are edited rollouts (EditGRPO).

    `report`: the reference report is one of the group. `none`: GRPO or Dr. GRPO.
    """
    annotator: str = "rules"
    """Finds sentences and entities: `rules`, `rate` or `radgraph` (docs/annotators.md)."""
    threshold: BetweenZeroAndOne = 0.6
    """Cosine similarity above which two entities are the same finding (tau).

    Paper: 0.6.
    """

    max_edits: Count = 1
    """Most edits of one rollout.

    Paper: 1.
    """

    anatomy_counts: bool = False
    """Also edit where an ANATOMY entity is spurious or missing, not findings alone."""

    placement: Placement = Placement.END
    """Place of a sentence that is added to a rollout: its `end`, or the `reference_order`.

    Paper: `end`.
    """

    likeness: Likeness = Likeness.EMBEDDINGS
    """When two entities are the same finding: by their `embeddings`, or by equal `words`.

    Paper: `embeddings`. An annotator without embeddings (`radgraph`) always compares words.
    """

    source: EditSource = EditSource.REFERENCE
    """Report that rollouts are edited by: the `reference` of the study, or as a control that of
    another training study (`shuffled`). Used only with `level: sentence`.
    """

    when: EditWhen = EditWhen.ALWAYS
    """Groups that are edited: `always` all; `unsaid` those in which no sampled report has a finding
    of the reference; `as_many` the same number, drawn at random (a control). The others are sampled
    whole. Used only with `level: sentence`.

    Paper: `always`.
    """

    share: Annotated[float, Limits(ge=0, le=1)] = 1.0
    """Share, 0 to 1, of the edited half of a group that is edited; the rest of it is sampled.

    Used only with `level: sentence`. Paper: 1.
    """

    anneal: Anneal = Anneal.NONE
    """`cosine`: `edit.share` falls to 0 by half a cosine; `none`: it stays.

    Used only with `level: sentence`. Paper: `none`.
    """

    anneal_until: ShareOfSteps = 0.5
    """Share of the run's steps after which nothing is edited; used only with `anneal: cosine`."""
