"""Cells that cannot be understood, counted and told together: not one a try."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editgrpo.errors import DataError

_MOST_SHOWN = 5


class Faults:
    """The faults of a table, one for each cell.

    Args:
        table: Its file.
    """

    def __init__(self, table: Path) -> None:
        self.table = table
        self._found: list[str] = []

    def __bool__(self) -> bool:
        """Say whether there is a fault."""
        return bool(self._found)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep a DataError that the block raises, and go on after it.

        Yields:
            Nothing.
        """
        try:
            yield
        except DataError as error:
            self._found.append(str(error))

    def raise_together(self) -> None:
        """Raise one error if there is a fault.

        Raises:
            DataError: the fault; or how many there are, the first of them, and what to do about
                these.
        """
        if not self._found:
            return
        if len(self._found) == 1:
            raise DataError(self._found[0])
        parts = [fault.partition("; ") for fault in self._found[:_MOST_SHOWN]]
        places = [what.removeprefix(f"{self.table}, ") for what, _, _ in parts]
        remedies = dict.fromkeys(remedy for _, _, remedy in parts if remedy)
        rest = len(self._found) - len(places)
        raise DataError(
            f"{self.table}: {len(self._found):,} cells cannot be used: {', '.join(places)}"
            + (f", and {rest:,} more" if rest else "")
            + "".join(f"; {remedy}" for remedy in remedies)
        )
