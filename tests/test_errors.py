"""Every deliberate error can be caught by one base class."""

import pytest

from editgrpo import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_an_editgrpo_error(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.EditGRPOError)
