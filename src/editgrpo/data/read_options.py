"""What the reader of a source is told besides where the files are."""

from dataclasses import dataclass, field

from editgrpo.data.prepared.workers import Progress
from editgrpo.data.splits import SplitRule


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """How a source is read."""

    split_rule: SplitRule = field(default_factory=SplitRule)
    """Used where the source gives no split."""

    require_images: bool = True
    """Whether only studies with images will be kept."""

    images_must_exist: bool = False
    """Whether images that are not there at all are an error: they will be opened.

    A dry run opens none, and without images needed a user may hold the reports alone.
    """

    progress: Progress | None = None
    """Called as reports are read, where that takes long."""
