"""The edited half of a group."""

from dataclasses import dataclass
from enum import StrEnum

from editgrpo.config.anneal import Anneal
from editgrpo.config.check import require


class EditLevel(StrEnum):
    """What stands beside the sampled rollouts of a group."""

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
    """Where the reference has it, between what stands before and behind it there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditConfig:
    """The edited half of a group."""

    level: EditLevel = EditLevel.SENTENCE
    """`sentence`: half of the group is edited rollouts, which is EditGRPO.

    `report`: the reference report is one of the group. `none`: GRPO or Dr. GRPO.
    """
    annotator: str = "rules"
    """Name for `load_annotator`; it finds sentences and entities."""
    threshold: float = 0.6
    """Cosine above which two entities are the same finding (tau).

    Paper: 0.6.
    """

    max_edits: int = 1
    """Most edits to one rollout.

    Paper: 1.
    """

    anatomy_counts: bool = False
    """Whether an ANATOMY entity can itself be spurious or missing."""

    placement: Placement = Placement.END
    """Where a sentence goes that is added to a rollout: at its `end`, or in the `reference_order`.

    Paper: `end`.
    """

    likeness: Likeness = Likeness.EMBEDDINGS
    """When two entities are the same finding: by their `embeddings`, or by equal `words`.

    Paper: `embeddings`. An annotator without embeddings (`radgraph`) always compares words.
    """

    source: EditSource = EditSource.REFERENCE
    """Whose reference report the edit is made by: the study's own, or that of another training
    study (`shuffled`), as a control. Read only with `level: sentence`.
    """

    when: EditWhen = EditWhen.ALWAYS
    """`always`: every group has edited versions; `unsaid`: only one in which a finding of the
    reference is in no sample, the others are sampled whole; `as_many`: that many, drawn at random
    (a control). Read only with `level: sentence`.

    Paper: `always`.
    """

    share: float = 1.0
    """Share, 0 to 1, of the half of a group that is edited; what is not edited is sampled.

    Read only with `level: sentence`. Paper: 1.
    """

    anneal: Anneal = Anneal.NONE
    """`cosine`: the share falls to 0 by half a cosine; `none`: it stays.

    Read only with `level: sentence`. Paper: `none`.
    """

    anneal_until: float = 0.5
    """Share of the run's steps after which no edit is left; read only with `anneal: cosine`."""

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, "edit.threshold", self.threshold, "between 0 and 1")
        require(self.max_edits >= 1, "edit.max_edits", self.max_edits, "at least 1")
        require(0 <= self.share <= 1, "edit.share", self.share, "from 0 to 1")
        until = self.anneal_until
        require(0 < until <= 1, "edit.anneal_until", until, "above 0, at most 1")
