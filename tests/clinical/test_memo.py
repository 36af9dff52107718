"""The memory of texts: bounded, least recently used first, correct beyond its capacity."""

import threading
from collections.abc import Sequence

from editgrpo.clinical.memo import Memo, forget_all


class Reader:
    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[str]:
        self.batches.append(list(texts))
        return [text.upper() for text in texts]


def test_values_come_in_order_and_each_text_is_read_once() -> None:
    reader = Reader()
    memo = Memo(reader, capacity=8)
    assert memo(["b", "a", "b"]) == ["B", "A", "B"]
    assert memo(["a", "c"]) == ["A", "C"]
    assert memo(["a"]) == ["A"]
    assert reader.batches == [["b", "a"], ["c"]]


def test_the_least_recently_used_text_is_forgotten() -> None:
    reader = Reader()
    memo = Memo(reader, capacity=2)
    memo(["a", "b"])
    memo(["a"])  # now b is the oldest
    memo(["c"])
    memo(["a", "c", "b"])
    assert reader.batches == [["a", "b"], ["c"], ["b"]]
    assert len(memo) == 2


def test_a_batch_larger_than_the_capacity_is_answered() -> None:
    memo = Memo(Reader(), capacity=1)
    assert memo(["a", "b", "c"]) == ["A", "B", "C"]
    assert len(memo) == 1


def test_every_memory_can_be_emptied() -> None:
    readers = Reader(), Reader()
    memos = [Memo(reader) for reader in readers]
    for memo in memos:
        memo(["a"])
    forget_all()
    for memo in memos:
        assert memo(["a", "b"]) == ["A", "B"]
    assert readers[1].batches == [["a"], ["a", "b"]]


def test_a_call_that_outlives_its_memory_still_answers() -> None:
    is_reading, may_go_on = threading.Event(), threading.Event()

    def read(texts: Sequence[str]) -> list[str]:
        if "slow" in texts:
            is_reading.set()
            assert may_go_on.wait(10)
        return [text.upper() for text in texts]

    memo, answers = Memo(read, capacity=1), list[str]()
    memo(["known"])
    late = threading.Thread(target=lambda: answers.extend(memo(["known", "slow"])))
    late.start()
    assert is_reading.wait(10)
    memo(["other"])  # takes the place of "known" while the first call is still reading
    may_go_on.set()
    late.join()
    assert answers == ["KNOWN", "SLOW"]
    assert len(memo) == 1
