"""No Finding needs a statement."""

import pytest

from editgrpo.metrics.silence import StatedLabeler
from tests.rewards.fakes import FakeAnnotator, FakeLabeler


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clear", 0),  # the fake labeler says No Finding, the annotator finds no entity
        ("clear rib", 0),  # anatomy alone
        ("clear, no effusion", 1),
        ("clear effusion", 1),
    ],
)
def test_no_finding_needs_a_statement(text: str, expected: int) -> None:
    labeler = StatedLabeler(FakeLabeler(), FakeAnnotator())
    assert labeler.name == "fake"
    assert labeler.label([text])[0, -1] == expected
    assert labeler.classify([text])[0, -1] == expected


def test_other_findings_are_the_labelers() -> None:
    texts = ["pneumonia", "no effusion. fracture", "clear"]
    plain, stated = FakeLabeler(), StatedLabeler(FakeLabeler(), FakeAnnotator())
    assert (stated.classify(texts)[:, :-1] == plain.classify(texts)[:, :-1]).all()
