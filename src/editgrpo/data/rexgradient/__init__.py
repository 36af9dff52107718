"""ReXGradient-160K."""

from editgrpo.data.rexgradient.preparation import (
    REXGRADIENT_INCLUSION,
    ReXGradientSource,
    read_rexgradient,
)

__all__ = ["REXGRADIENT_INCLUSION", "ReXGradientSource", "read_rexgradient"]
