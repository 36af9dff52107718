"""From labels to entities, case by case; the package's answers to random labels are compared in
tests/parity/clinical/test_ratescore.py."""

import pytest

from editgrpo.reports.rate.decoding import TokenSpan, decode_labels


def decode(labels: str) -> list[tuple[int, int, str]]:
    """Decode labels of words between [CLS] and [SEP], whose own label is the last one given."""
    words = labels.split()
    spans = decode_labels(["O", *words], [True, *[False] * (len(words) - 1), True])
    return [(span.start, span.end, span.type) for span in spans]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # Word 1 is token 1; the last label is that of [SEP].
        ("O O O", []),
        ("B-X O O", [(1, 2, "X")]),
        ("B-X I-X O O", [(1, 3, "X")]),
        ("B-X I-X I-X O", [(1, 4, "X")]),
        ("B-X B-Y O", [(1, 2, "X"), (2, 3, "Y")]),
        ("B-X I-X B-Y I-Y O", [(1, 3, "X"), (3, 5, "Y")]),
        # The type is that of the B.
        ("B-X I-Y I-Y O", [(1, 4, "X")]),
        # An I that follows nothing is dropped...
        ("I-X O O", []),
        ("O I-X I-X O", []),
        ("I-X B-Y O", [(2, 3, "Y")]),
        # The entity runs to the end; the label of [SEP] says so or not.
        ("O B-X I-X O", [(2, 4, "X")]),
        ("O B-X I-X I-X", [(2, 4, "X")]),
        ("O B-X I-X B-Y", [(2, 4, "X")]),
        ("O B-X I-Y", [(2, 3, "X")]),
        # ... but after one that it follows without a gap it is lost.
        ("B-Y B-X I-X I-X", [(1, 2, "Y")]),
        ("B-Y I-Y B-X I-X I-X", [(1, 3, "Y")]),
        ("B-Y O B-X I-X I-X", [(1, 2, "Y"), (3, 5, "X")]),
    ],
)
def test_entities_of_labels(labels: str, expected: list[tuple[int, int, str]]) -> None:
    assert decode(labels) == expected


def test_tokens_behind_a_spelt_out_padding_token_are_not_read() -> None:
    # Five tokens, of which one is padding by its id: RaTEScore reads the first four, and takes the
    # last of them for [SEP].
    labels = ["O", "O", "B-X", "I-X", "I-X"]
    assert decode_labels(labels, [True, False, False, False]) == [TokenSpan(2, 3, "X")]


def test_no_tokens_no_entities() -> None:
    assert decode_labels([], []) == []
