"""A user's own table of studies: CSV or JSON lines."""

from editgrpo.data.folder.columns import parse_column_map
from editgrpo.data.folder.preparation import TableSource, read_folder

__all__ = ["TableSource", "parse_column_map", "read_folder"]
