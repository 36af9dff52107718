"""From the labels of a sentence's tokens to its entities, in RaTEScore's own way.

It decides on each token by that token's label and the first letter of the next one's, and so
differs from common IOB decoding: an I that follows nothing is dropped, a run keeps the type of its
B, and an entity that runs to the end of the sentence is lost if it follows another one without a
gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """An entity as a half-open range of tokens."""

    start: int
    end: int
    type: str


def decode_labels(labels: Sequence[str], is_special: Sequence[bool]) -> list[TokenSpan]:
    """Find the entities of one sentence.

    Args:
        labels: (L,) `O`, `B-TYPE` or `I-TYPE` for each token of the model's input.
        is_special: (T,) True for tokens that are not read, [CLS] and [SEP]; T is L, or less where
            the sentence itself holds padding tokens.

    Returns:
        Entities in the order of their ends.

    Source: RaTEScore 0.5.0 and 0.6.0 (the same in RadEval 2.2.1). Equal on random labels:
    tests/parity/clinical/test_ratescore.py.
    """
    found: list[TokenSpan] = []
    run: _Run | None = None
    # Set by an entity that the next one follows without a gap, until a token outside of entities.
    follows_directly = False
    for index in range(min(len(is_special), len(labels) - 1)):
        if is_special[index] or labels[index] == "O":
            continue
        tag, kind, following = labels[index][0], labels[index][2:], labels[index + 1][0]
        if tag == "B":
            run = _Run(index, kind)
        if following == "I":
            continue
        if run is not None:
            found.append(TokenSpan(run.start, index + 1, run.type))
        follows_directly = following == "B"
        run = _Run(index, kind) if follows_directly else None
    if run is not None and not follows_directly:
        # The sentence ended within an entity; the last token of the input is [SEP].
        found.append(TokenSpan(run.start, len(is_special) - 1, run.type))
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    """An entity whose end is not yet known."""

    start: int
    type: str
