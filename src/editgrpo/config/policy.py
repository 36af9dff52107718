"""What only reinforcement learning has: edits, groups, objective."""

from dataclasses import dataclass
from enum import StrEnum

from editgrpo.config.check import require


class EditLevel(StrEnum):
    """What stands beside the sampled rollouts of a group."""

    SENTENCE = "sentence"
    REPORT = "report"
    NONE = "none"


class LossType(StrEnum):
    """How token losses are aggregated; the names are TRL's."""

    DR_GRPO = "dr_grpo"
    GRPO = "grpo"


class AdvantageScale(StrEnum):
    """What centred rewards are divided by."""

    NONE = "none"
    GROUP = "group"


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

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, "edit.threshold", self.threshold, "between 0 and 1")
        require(self.max_edits >= 1, "edit.max_edits", self.max_edits, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutConfig:
    """Groups and sampling."""

    group_size: int = 10
    """Responses in a group (G), edited ones included.

    Paper: 10.
    """

    temperature: float = 1.0
    """Divides the logits when responses are sampled.

    Paper: 1.0.
    """

    max_completion_tokens: int = 256
    """Longest response, its end-of-sequence token included."""

    def __post_init__(self) -> None:
        require(self.group_size >= 2, "rollout.group_size", self.group_size, "at least 2")
        require(self.temperature > 0, "rollout.temperature", self.temperature, "above 0")
        require(
            self.max_completion_tokens >= 2,
            "rollout.max_completion_tokens",
            self.max_completion_tokens,
            "at least 2",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig:
    """The policy-gradient objective."""

    loss: LossType = LossType.DR_GRPO
    """`dr_grpo` divides a response's token sum by a constant; `grpo` by the response's length.

    Paper: Dr. GRPO.
    """

    scale: AdvantageScale = AdvantageScale.NONE
    """`group` divides advantages by the group's standard deviation (the paper's "norm").

    Paper: `none`.
    """

    beta: float = 0.01
    """Weight of the k3 KL to the frozen SFT policy; 0 needs no reference policy.

    Paper: 0.01.
    """

    epsilon: float = 0.2
    """Clip range of the probability ratio.

    Paper: 0.2.
    """

    def __post_init__(self) -> None:
        require(self.beta >= 0, "objective.beta", self.beta, "0 or more")
        require(0 < self.epsilon < 1, "objective.epsilon", self.epsilon, "between 0 and 1")
