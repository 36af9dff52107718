"""What was read from a text, kept on disk: a key-value store that several processes may share.

One SQLite file a folder. A batch is one transaction, so that a process killed at any moment leaves
a whole store. Values are bytes; what they mean is told by the namespace, which names the model's
identity and the format's version.

Report text lies in it: the key of a text is its SHA-256, but a value holds what was read from the
text, and that is the words of its entities (or of a judge's answer), which could not be told from a
hash. The file is its owner's alone (mode 0600), and so are those that SQLite puts beside it.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.shared import shared
from editgrpo.config import ClinicalConfig
from editgrpo.errors import DataError, StorageError
from editgrpo.files import create_private
from editgrpo.foreign import STORAGE_REMEDIES

FILE = "annotations.sqlite"

_WAIT_S = 120.0  # for another process's transaction; ours take milliseconds
_PER_QUERY = 500  # parameters of one statement; SQLite's oldest bound is 999
# SQLite's numbers of a disk that is full or fails; their lower byte is the kind.
_OF_THE_DISK = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO}
_PRIMARY = 0xFF
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    namespace TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (namespace, key)
) WITHOUT ROWID
"""


class FactStore:
    """Bytes by namespace and text.

    Safe for several threads and processes at once.

    Args:
        folder: Its folder; made if the store is writable.
        writable: Whether `put` may be called.
        base: A store that is asked for what this one lacks, and never written to.

    Raises:
        DataError: the folder holds no store and it is to be read only, or the file is no store.
    """

    def __init__(self, folder: Path, *, writable: bool, base: "FactStore | None" = None) -> None:
        self.path = folder / FILE
        self.writable = writable
        self._base = base
        self._connections = threading.local()
        if writable:
            _make(self.path)
        elif not self.path.is_file():
            raise DataError(
                f"{folder}: no annotation store; fill it with `editgrpo annotate`, "
                "or leave clinical.store out"
            )
        with self._transaction() as connection:
            if writable:
                connection.execute(_SCHEMA)
            else:
                connection.execute("SELECT 1 FROM facts LIMIT 1")

    def get(self, namespace: str, texts: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those texts that the store, or the one below it, has."""
        # This one first: what others have since put into the store below is not what was read.
        found: dict[str, bytes] = {}
        text_of = {_key(text): text for text in texts}
        with self._transaction() as connection:
            all_keys = list(text_of)
            for start in range(0, len(all_keys), _PER_QUERY):
                keys = all_keys[start : start + _PER_QUERY]
                marks = ",".join("?" * len(keys))
                rows = connection.execute(
                    f"SELECT key, value FROM facts WHERE namespace = ? AND key IN ({marks})",
                    (namespace, *keys),
                )
                found.update((text_of[key], value) for key, value in rows)
        if self._base is None:
            return found
        return found | self._base.get(namespace, [text for text in texts if text not in found])

    def put(self, namespace: str, values: Mapping[str, bytes]) -> None:
        """Keep values by text, all of them or none; an older value of a text is replaced.

        Args:
            namespace: What the values mean.
            values: Text to value.

        Raises:
            DataError: the store is read only.
            StorageError: the disk is full.
        """
        if not self.writable:
            raise DataError(f"{self.path}: opened for reading only; set clinical.store_writes")
        rows = [(namespace, _key(text), value) for text, value in values.items()]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)

    def count(self) -> dict[str, int]:
        """Return how many values each namespace has here, the store below left aside."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT namespace, COUNT(*) FROM facts GROUP BY namespace")
            return dict(rows.fetchall())

    def content_hash(self) -> str:
        """Return a hash of all namespaces, keys and values here, however the file lays them out."""
        digest = sha256()
        for entry in self._entries():
            digest.update(entry)
        return digest.hexdigest()

    def entry_digests(self) -> NDArray[np.uint64]:
        """Return a short hash of each namespace, key and value here, sorted: what is added to the
        store adds to them, what is changed or removed takes one away."""
        # Of a million entries, eight bytes each let one in 2^44 changes go unseen.
        digests = b"".join(sha256(entry).digest()[:8] for entry in self._entries())
        return np.sort(np.frombuffer(digests, dtype="<u8"))

    def _entries(self) -> Iterator[bytes]:
        with self._transaction() as connection:
            query = "SELECT namespace, key, value FROM facts ORDER BY namespace, key"
            for namespace, key, value in connection.execute(query):
                yield f"{namespace}\0{len(value)}\0".encode() + key + value

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection() as connection:
                yield connection
        except sqlite3.Error as error:
            code = _OF_THE_DISK.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
            if code is not None:  # says nothing about the file, which is whole
                raise StorageError(
                    f"{self.path}: {os.strerror(code)}", STORAGE_REMEDIES[code]
                ) from error
            raise DataError(
                f"{self.path}: the annotation store cannot be used ({error}); "
                "check the disk, or delete the file and run `editgrpo annotate` again"
            ) from error

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection: SQLite's serve neither two threads nor a forked
        process."""
        process = os.getpid()
        if getattr(self._connections, "process", None) != process:
            # A reader too may write to the file: what a killed writer left half done is undone by
            # whoever comes next. Where the file is write protected SQLite opens it for reading.
            mode = "rwc" if self.writable else "rw"
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_WAIT_S
            )
            connection.execute(f"PRAGMA query_only = {not self.writable}")
            # Closed by a forked process, the parent's connection would undo what it has begun.
            self._connections.inherited = getattr(self._connections, "open", None)
            self._connections.open, self._connections.process = connection, process
        connection = self._connections.open
        assert isinstance(connection, sqlite3.Connection)
        return connection


def open_store(config: ClinicalConfig) -> FactStore | None:
    """Return the store that a configuration names, one object a process.

    Args:
        config: `store` and `journal` name folders.

    Returns:
        The store; with a journal, the journal, which is asked before the store and written to.
        None if the configuration names neither.

    Raises:
        DataError: the store does not exist, or a file is no store.
    """
    base = None
    if config.store is not None:
        base = _open(Path(config.store), writable=config.store_writes, base=None)
    if config.journal is None:
        return base
    return _open(Path(config.journal), writable=True, base=base)


def _open(folder: Path, *, writable: bool, base: FactStore | None) -> FactStore:
    below = None if base is None else base.path
    return shared(
        ("store", folder.absolute(), writable, below),
        lambda: FactStore(folder.absolute(), writable=writable, base=base),
    )


def _make(path: Path) -> None:
    """Make the file of a store before SQLite does, which gives its journals the file's mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_private(path)
    except OSError as error:
        raise DataError(
            f"{path}: the annotation store cannot be written ({error.strerror}); check the disk "
            "and who may write there"
        ) from error


def _key(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
