"""How many groups may be lost to failed scoring; no torch, for the adapters count them too."""

from dataclasses import dataclass


@dataclass(slots=True)
class LossBudget:
    """How many groups a run may lose to failed scoring before it stops.

    Args:
        share: Largest share of the groups that may be lost.
        grace: Groups that the share is at least taken of, so that one early failure ends no run.
        seen: Groups so far, those of an interrupted run included.
        lost: Of these, dropped ones.
    """

    share: float
    grace: int
    seen: int = 0
    lost: int = 0

    def spend(self, seen: int, lost: int) -> bool:
        """Count the groups of a step; return whether too many were lost so far."""
        self.seen += seen
        self.lost += lost
        return self.lost > self.share * max(self.seen, self.grace)
