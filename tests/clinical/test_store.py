"""The store on disk: right after a kill, right with several writers, and never holding a text."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from editgrpo.clinical.memo import Memo, Stored
from editgrpo.clinical.store import FILE, FactStore, open_store
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, DataError, StorageError
from editgrpo.rewards.guard import failures_as_reward_errors

TEXTS = [f"report {number}" for number in range(1200)]  # more than one query holds


def test_values_come_back_by_namespace_and_text(tmp_path: Path) -> None:
    store = FactStore(tmp_path, writable=True)
    store.put("a", {text: text.encode() for text in TEXTS})
    store.put("b", {TEXTS[0]: b"other"})
    assert store.get("a", TEXTS) == {text: text.encode() for text in TEXTS}
    assert store.get("b", TEXTS[:2]) == {TEXTS[0]: b"other"}
    assert store.count() == {"a": 1200, "b": 1}


def test_lone_surrogates_are_texts_too(tmp_path: Path) -> None:
    store = FactStore(tmp_path, writable=True)
    store.put("a", {"\ud800": b"1", "": b"2"})
    assert store.get("a", ["", "\ud800", "?"]) == {"": b"2", "\ud800": b"1"}


def test_of_a_text_only_its_hash_and_its_value_are_written(tmp_path: Path) -> None:
    FactStore(tmp_path, writable=True).put("a", {"a secret report": b"1"})
    assert b"secret" not in (tmp_path / FILE).read_bytes()


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_store_and_what_sqlite_puts_beside_it_are_their_owners_alone(
    tmp_path: Path, journal: str
) -> None:
    before = os.umask(0o022)
    try:
        store = FactStore(tmp_path / "new", writable=True)
        connection = sqlite3.connect(store.path)
        connection.execute(f"PRAGMA journal_mode = {journal}")
        with connection:
            connection.execute("INSERT INTO facts VALUES ('a', x'00', x'00')")
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()
            }
        connection.close()
    finally:
        os.umask(before)
    assert len(modes) > 1  # the journal too
    assert set(modes.values()) == {0o600}


def test_a_store_that_was_opened_to_others_stays_so(tmp_path: Path) -> None:
    path = FactStore(tmp_path, writable=True).path
    path.chmod(0o640)
    FactStore(tmp_path, writable=True).put("a", {"x": b"1"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"{FILE}: the annotation store cannot be written"):
        FactStore(tmp_path / "file", writable=True)


def test_a_store_opened_for_reading_refuses_to_write(tmp_path: Path) -> None:
    FactStore(tmp_path, writable=True).put("a", {"x": b"1"})
    reader = FactStore(tmp_path, writable=False)
    assert reader.get("a", ["x"]) == {"x": b"1"}
    with pytest.raises(DataError, match="opened for reading only"):
        reader.put("a", {"y": b"1"})


def test_a_missing_store_names_the_command_that_fills_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fill it with `editgrpo annotate`"):
        FactStore(tmp_path / "none", writable=False)


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("not a database, but long enough to be taken for one " * 40)
    with pytest.raises(DataError, match=f"{FILE}: the annotation store cannot be used"):
        FactStore(tmp_path, writable=False)


def test_a_full_disk_is_no_fault_of_the_store_nor_of_what_is_scored(tmp_path: Path) -> None:
    store = FactStore(tmp_path, writable=True)
    store._connection().execute("PRAGMA max_page_count = 2")  # SQLite then finds the disk full
    message = r"annotations\.sqlite: No space left on device; free"
    with pytest.raises(StorageError, match=message), failures_as_reward_errors("paper"):
        store.put("n", {str(k): b"x" * 4096 for k in range(16)})
    assert store.count() == {}


@pytest.mark.slow
def test_threads_share_a_store(tmp_path: Path) -> None:
    store = FactStore(tmp_path, writable=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: store.put("a", {text: text.encode()}), TEXTS[:100]))
    assert store.get("a", TEXTS) == {text: text.encode() for text in TEXTS[:100]}


WRITER = """
import sys
from pathlib import Path
from editgrpo.clinical.store import FactStore
store = FactStore(Path(sys.argv[1]), writable=True)
name = sys.argv[2]
for number in range(int(sys.argv[3])):
    store.put("a", {f"{name} {number} {k}": bytes([k]) * 1000 for k in range(50)})
    print(number, flush=True)
"""


def writer(folder: Path, name: str, batches: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), name, str(batches)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_write_at_once(tmp_path: Path) -> None:
    FactStore(tmp_path, writable=True)
    writers = [writer(tmp_path, name, 5) for name in "xyz"]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    assert FactStore(tmp_path, writable=False).count() == {"a": 3 * 5 * 50}


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_batches(tmp_path: Path) -> None:
    process = writer(tmp_path, "x", 100_000)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 20:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait(60)
    store = FactStore(tmp_path, writable=True)
    (count,) = store.count().values()
    assert count >= 21 * 50 and count % 50 == 0
    store.put("a", {"after": b"1"})
    assert store.get("a", ["after", "x 20 49"]) == {"after": b"1", "x 20 49": bytes([49]) * 1000}


def test_a_memory_looks_on_disk_before_it_reads(tmp_path: Path) -> None:
    reads: list[str] = []

    def read(texts: list[str]) -> list[int]:
        reads.extend(texts)
        return [len(text) for text in texts]

    def memory(*, writable: bool) -> Memo[int]:
        stored = Stored(
            store=FactStore(tmp_path, writable=writable),
            namespace="length/1",
            encode=lambda value: str(value).encode(),
            decode=int,
        )
        return Memo(read, stored=stored)  # type: ignore[arg-type]

    assert memory(writable=True)(["aa", "b", "aa"]) == [2, 1, 2]
    assert reads == ["aa", "b"]
    fresh = memory(writable=False)
    assert fresh(["b", "ccc"]) == [1, 3]
    assert reads == ["aa", "b", "ccc"]
    assert memory(writable=False)(["ccc"]) == [3]  # a reader adds nothing to the disk
    assert reads == ["aa", "b", "ccc", "ccc"]


def test_one_store_a_process_and_folder(tmp_path: Path) -> None:
    config = ClinicalConfig(store=str(tmp_path), store_writes=True)
    assert open_store(ClinicalConfig()) is None
    assert open_store(config) is open_store(ClinicalConfig(store=str(tmp_path), store_writes=True))
    with pytest.raises(ConfigError, match="store_writes"):
        ClinicalConfig(store_writes=True)


def test_a_journal_is_asked_before_the_store_and_alone_written_to(tmp_path: Path) -> None:
    FactStore(tmp_path / "store", writable=True).put("a", {"x": b"store"})
    journal = open_store(
        ClinicalConfig(store=str(tmp_path / "store"), journal=str(tmp_path / "journal"))
    )
    assert journal is not None and journal.writable
    journal.put("a", {"y": b"journal"})
    assert journal.get("a", ["x", "y", "z"]) == {"x": b"store", "y": b"journal"}
    assert FactStore(tmp_path / "store", writable=False).get("a", ["x", "y"]) == {"x": b"store"}
    # What a run has read stays so, whatever others put into the store.
    FactStore(tmp_path / "store", writable=True).put("a", {"y": b"of another batch"})
    assert journal.get("a", ["x", "y"]) == {"x": b"store", "y": b"journal"}
    alone = open_store(ClinicalConfig(journal=str(tmp_path / "journal")))
    assert alone is not None and alone is not journal
    assert alone.get("a", ["x", "y"]) == {"y": b"journal"}


def test_a_reader_undoes_what_a_killed_writer_left_half_done(tmp_path: Path) -> None:
    FactStore(tmp_path, writable=True).put("a", dict.fromkeys(TEXTS, b"right" * 100))
    # A cache of one page: changed pages reach the file before the transaction ends.
    die_while_writing = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('UPDATE facts SET value = zeroblob(500)')\n"
        "os._exit(0)\n"
    )
    path = str(tmp_path / FILE)
    subprocess.run([sys.executable, "-c", die_while_writing, path], check=True)
    assert (tmp_path / f"{FILE}-journal").stat().st_size > 0
    reader = FactStore(tmp_path, writable=False)
    assert set(reader.get("a", TEXTS).values()) == {b"right" * 100}


def test_a_forked_process_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    store = FactStore(tmp_path, writable=True)
    store.put("a", {"x": b"1"})
    own = id(store._connection())
    child = os.fork()
    if child == 0:
        is_another = id(store._connection()) != own
        os._exit(0 if is_another and store.get("a", ["x"]) == {"x": b"1"} else 1)
    assert os.waitpid(child, 0)[1] == 0
