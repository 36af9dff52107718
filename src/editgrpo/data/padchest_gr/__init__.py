"""PadChest-GR: reports by sentence in English and Spanish."""

from editgrpo.data.padchest_gr.preparation import (
    PadChestGRSource,
    read_padchest_gr,
)

__all__ = ["PadChestGRSource", "read_padchest_gr"]
