"""What the plain path makes of the inputs of one row, by hand; the rest is in tests/smoke."""

import pytest
import torch

from editgrpo.errors import ConfigError
from editgrpo.training.collator import join_rows
from editgrpo.training.packed.plain import repeated


def test_what_stands_for_tokens_grows_and_what_stands_for_images_is_repeated() -> None:
    inputs = {
        "token_type_ids": torch.tensor([[0, 1, 1]]),
        "pixel_values": torch.tensor([[1.0], [2.0]]),  # two images of the row
        "of_the_row": torch.tensor([[[5.0, 6.0]]]),  # (1, images, ...), as Idefics 3 has them
    }
    found = repeated(inputs, 2, more=2, tokens=3)
    assert found["token_type_ids"].tolist() == [[0, 1, 1, 0, 0]] * 2
    assert found["pixel_values"].tolist() == [[1.0], [2.0], [1.0], [2.0]]
    assert found["of_the_row"].tolist() == [[[5.0, 6.0]], [[5.0, 6.0]]]


def test_rows_of_other_lengths_are_joined() -> None:
    rows = [
        {"token_type_ids": torch.tensor([[1, 1]]), "pixel_values": torch.tensor([[1.0]])},
        {"token_type_ids": torch.tensor([[0, 1, 0]])},  # without an image
        {"token_type_ids": torch.tensor([[2]]), "pixel_values": torch.tensor([[3.0], [4.0]])},
    ]
    found = join_rows(rows, [2, 3, 1], 4)
    assert found["token_type_ids"].tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 0, 0]]
    assert found["pixel_values"].tolist() == [[1.0], [3.0], [4.0]]


def test_images_that_cannot_be_joined_are_refused_with_a_remedy() -> None:
    """As Idefics 3 has them: (1, images, ...) for each row."""
    rows = [{"pixel_values": torch.zeros(1, images, 3, 4, 4)} for images in (1, 2)]
    with pytest.raises(ConfigError, match=r"pixel_values .* set micro_batch_size=1"):
        join_rows(rows, [2, 3], 4)
