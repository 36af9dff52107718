"""Damage to files, drawn from a seed: what copying, disks and transfers do, and what nobody would.

Parsers of other libraries are tried with it: whatever they raise must come out as one line.
"""

import random
from collections.abc import Callable, Iterator

_Mutation = Callable[[bytearray, random.Random], None]


def mutations(content: bytes, count: int, *, seed: int) -> Iterator[bytes]:
    """Yield altered copies of a file, the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        altered = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            rng.choice(_MUTATIONS)(altered, rng)
        yield bytes(altered)


def _flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 30))):
        if content:
            content[rng.randrange(len(content))] = rng.choice((0, 0xFF, 0x7F, rng.randrange(256)))


def _flip_in_the_header(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3))):
        if content:
            content[rng.randrange(min(len(content), 200))] = rng.randrange(256)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randint(0, len(content)) :]


def _lose(content: bytearray, rng: random.Random) -> None:
    start, length = _part(content, rng)
    del content[start : start + length]


def _repeat(content: bytearray, rng: random.Random) -> None:
    start, length = _part(content, rng)
    content[start:start] = content[start : start + length]


def _zero(content: bytearray, rng: random.Random) -> None:
    start, length = _part(content, rng)
    content[start : start + length] = bytes(length)


def _claim(content: bytearray, rng: random.Random) -> None:
    """Overwrite what may be a length."""
    start = rng.randint(0, max(0, len(content) - 4))
    content[start : start + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))


def _fill_up(content: bytearray, rng: random.Random) -> None:
    content += rng.choice((bytes(rng.randint(1, 3000)), rng.randbytes(rng.randint(1, 50))))


def _part(content: bytearray, rng: random.Random) -> tuple[int, int]:
    length = min(len(content), rng.choice((1, 2, 4, 12, 64, 400)))
    return rng.randint(0, len(content) - length), length


_MUTATIONS: tuple[_Mutation, ...] = (
    _flip,
    _flip_in_the_header,
    _cut,
    _lose,
    _repeat,
    _zero,
    _claim,
    _fill_up,
)
