"""A bounded memory of what was read from a text, with a layer on disk where one is given.

References come back every epoch, sentences are shared by many reports, and equal rollouts are
common within a group; a text is read once as long as it is remembered.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from editgrpo.clinical.store import FactStore, open_store
from editgrpo.clinical.weights import ClinicalModel, model_identity
from editgrpo.config import ClinicalConfig

Facts = TypeVar("Facts")

DEFAULT_CAPACITY = 4096
"""Texts remembered: about ten steps of 320 rollouts, under 100 MB with the entities of `rules`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored(Generic[Facts]):
    """The layer on disk of a memory."""

    store: FactStore
    namespace: str
    """Names the model's identity and the version of the format: all that a value depends on."""
    encode: Callable[[Facts], bytes]
    decode: Callable[[bytes], Facts]
    """The inverse of `encode`."""


def stored_by_model(
    config: ClinicalConfig,
    model: ClinicalModel,
    *,
    what: str,
    encode: Callable[[Facts], bytes],
    decode: Callable[[bytes], Facts],
) -> Stored[Facts] | None:
    """Return the layer on disk of what a model reads from texts.

    Args:
        config: Names the store, if there is one, and says how the model runs.
        model: Which model; its files are hashed.
        what: Names the kind of value, and the version of its form and of how texts are prepared;
            to be changed when values change for equal weights.
        encode: Turns a value into bytes.
        decode: The inverse of `encode`.

    Returns:
        The layer, None if the configuration names no store.

    Raises:
        DataError: the store cannot be opened.
        ModelError: there is a store and the model, whose identity is part of its keys, is missing.
    """
    store = open_store(config)
    if store is None:
        return None
    namespace = f"{what}/{model_identity(model, config)}/{config.dtype}"
    return Stored(store=store, namespace=namespace, encode=encode, decode=decode)


class Memo(Generic[Facts]):
    """Call a batch reader only with texts that are not remembered; the least recently used go
    first.

    Args:
        read: Returns one value for each text, in order; must depend on the text alone.
        capacity: Most texts remembered between calls, at least 0. A larger batch still works.
        stored: Where texts are looked up before they are read, and kept if it is writable.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Sequence[Facts]],
        *,
        capacity: int = DEFAULT_CAPACITY,
        stored: Stored[Facts] | None = None,
    ) -> None:
        self._read = read
        self._capacity = capacity
        self._stored = stored
        self._known: dict[str, Facts] = {}
        self._lock = threading.Lock()
        _MEMOS.add(self)

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, texts: Sequence[str]) -> list[Facts]:
        """Return the value of each text in order; each distinct unknown text is read once.

        Several threads may call; what both read at the same time is read twice.
        """
        distinct = list(dict.fromkeys(texts))
        with self._lock:
            found = {text: self._known[text] for text in distinct if text in self._known}
        found.update(self._on_disk([text for text in distinct if text not in found]))
        unknown = [text for text in distinct if text not in found]
        if unknown:
            read = dict(zip(unknown, self._read(unknown), strict=True))
            found.update(read)
            if self._stored is not None and self._stored.store.writable:
                encoded = {text: self._stored.encode(facts) for text, facts in read.items()}
                self._stored.store.put(self._stored.namespace, encoded)
        with self._lock:
            for text in distinct:  # dictionaries keep insertion order: the latest used stand last
                self._known.pop(text, None)
                self._known[text] = found[text]
            while len(self._known) > self._capacity:
                del self._known[next(iter(self._known))]
        return [found[text] for text in texts]

    def _on_disk(self, texts: Sequence[str]) -> dict[str, Facts]:
        if self._stored is None or not texts:
            return {}
        found = self._stored.store.get(self._stored.namespace, texts)
        return {text: self._stored.decode(value) for text, value in found.items()}

    def forget(self) -> None:
        """Forget every text; what is on disk stays."""
        with self._lock:
            self._known.clear()


_MEMOS: WeakSet[Memo[Any]] = WeakSet()


def forget_all() -> None:
    """Empty every memory of this process.

    The last bits of what a model says of a text depend on the texts that stood in a batch with it,
    and those on what was remembered. After this, a result depends on what is asked next alone.
    """
    for memo in list(_MEMOS):
        memo.forget()
