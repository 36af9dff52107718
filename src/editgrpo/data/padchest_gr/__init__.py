"""PadChest-GR: reports by sentence in English and Spanish."""

from editgrpo.data.padchest_gr.preparation import (
    PadChestGRSource,
    prepare_padchest_gr,
    read_padchest_gr,
)

__all__ = ["PadChestGRSource", "prepare_padchest_gr", "read_padchest_gr"]
