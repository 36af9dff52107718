"""A bounded memory of what was read from a text.

References come back every epoch and equal rollouts are common within a group; a text is read once
as long as it is remembered.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Facts = TypeVar("Facts")

DEFAULT_CAPACITY = 4096
"""Texts remembered: about ten steps of 320 rollouts, under 100 MB with the entities of `rules`."""


class TextMemo(Generic[Facts]):
    """Call a batch reader only with texts that are not remembered; the least recently used go
    first."""

    def __init__(
        self,
        read: Callable[[Sequence[str]], Sequence[Facts]],
        *,
        capacity: int = DEFAULT_CAPACITY,
    ) -> None:
        """Start empty.

        Args:
            read: Returns one value for each text, in order; must depend on the text alone.
            capacity: Most texts remembered between calls, at least 0. A larger batch still works.
        """
        self._read = read
        self._capacity = capacity
        self._known: dict[str, Facts] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, texts: Sequence[str]) -> list[Facts]:
        """Return the value of each text in order; each distinct unknown text is read once."""
        distinct = list(dict.fromkeys(texts))
        unknown = [text for text in distinct if text not in self._known]
        if unknown:
            self._known.update(zip(unknown, self._read(unknown), strict=True))
        values = [self._known[text] for text in texts]
        for text in distinct:  # dictionaries keep insertion order: the latest used stand last
            self._known[text] = self._known.pop(text)
        while len(self._known) > self._capacity:
            del self._known[next(iter(self._known))]
        return values
