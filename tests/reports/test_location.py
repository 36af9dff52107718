"""Where a finding lies, read from sentences of our own."""

import pytest

from editgrpo.reports.location import Location, Side, Zone
from editgrpo.reports.rules import Kind, read_mentions

L, R, B = Side.LEFT, Side.RIGHT, Side.BOTH
NOWHERE = Location()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Left effusion and right pneumothorax.", [Location(L), Location(R)]),
        (
            "Effusion on the left, atelectasis at the right base.",
            [Location(L), Location(R, Zone.LOWER)],
        ),
        ("Pneumothorax, left effusion.", [NOWHERE, Location(L)]),
        ("Small left and moderate right pleural effusions.", [Location(B)]),
        ("Effusions on both sides, right greater than left.", [Location(B)]),
        ("Bibasilar atelectasis.", [Location(B, Zone.LOWER)]),
        ("In the left upper lobe, there is a nodule.", [Location(L, Zone.UPPER)]),
        ("The right lower lobe is consolidated.", [Location(R, Zone.LOWER)]),
        ("A nodule projects over the right apex.", [Location(R, Zone.UPPER)]),
        ("Opacity in the left base, with no pneumothorax.", [Location(L, Zone.LOWER), NOWHERE]),
        ("The left lung is clear, no effusion.", [Location(L), NOWHERE]),
        ("Both lungs are clear.", [NOWHERE]),
        ("LLL pneumonia.", [Location(L, Zone.LOWER)]),
    ],
)
def test_findings_are_placed_by_the_words_that_belong_to_them(
    text: str, expected: list[Location]
) -> None:
    mentions = [m for m in read_mentions(text) if m.concept.kind is not Kind.ANATOMY]
    assert [mention.location for mention in mentions] == expected
