"""Edited versions from token ids, as the package's own trainer makes them."""

from typing import Any

import pytest

from editgrpo.adapters import GroupEditor
from editgrpo.config import Anneal, EditConfig, EditLevel, EditSource, EditWhen
from editgrpo.errors import ConfigError
from editgrpo.training.step.groups import Kind
from tests.adapters.tiny_text import MAX_TOKENS

REFERENCES = ["The heart is enlarged. No pneumothorax.", "There is no pleural effusion."]


def completion(tokenizer: Any, text: str) -> list[int]:
    return [*tokenizer.encode(text), tokenizer.eos_token_id]


def test_wrong_sentences_are_replaced_and_right_ones_keep_their_tokens(tokenizer: Any) -> None:
    right = completion(tokenizer, REFERENCES[0])
    wrong = completion(tokenizer, "There is a left pleural effusion.")
    editor = GroupEditor(tokenizer, max_tokens=MAX_TOKENS)
    first, second = editor.complete(3, REFERENCES, [[right, right], [wrong, wrong]])
    assert [response.kind for response in first.responses] == [Kind.SAMPLED] * 2 + [Kind.EDITED] * 2
    assert {response.token_ids for response in first.responses} == {tuple(right)}
    assert {response.text for response in second.responses[2:]} == {REFERENCES[1]}
    assert all(list(r.token_ids) == completion(tokenizer, r.text) for r in second.responses)


def test_choices_follow_from_seed_step_and_reference(tokenizer: Any) -> None:
    empty = [[tokenizer.eos_token_id]] * 8
    texts = [
        [r.text for r in GroupEditor(tokenizer, max_tokens=24, seed=seed).complete(
            step, REFERENCES[:1], [empty])[0].responses[8:]]
        for seed, step in [(0, 0), (0, 0), (1, 0), (0, 1)]
    ]  # fmt: skip
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert texts[0] != texts[3]


@pytest.mark.parametrize(
    ("level", "sampled"),
    [(EditLevel.SENTENCE, 5), (EditLevel.REPORT, 9), (EditLevel.NONE, 10)],
)
def test_how_many_of_a_group_are_sampled(tokenizer: Any, level: EditLevel, sampled: int) -> None:
    editor = GroupEditor(tokenizer, max_tokens=MAX_TOKENS, edit=EditConfig(level=level))
    assert editor.sampled_per_group(10) == sampled
    one = completion(tokenizer, "No pneumothorax.")
    assert len(editor.complete(0, REFERENCES[:1], [[one] * sampled])[0].responses) == 10


def test_half_of_an_odd_group_cannot_be_edited(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="group of 5"):
        GroupEditor(tokenizer, max_tokens=MAX_TOKENS).sampled_per_group(5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", EditSource.SHUFFLED),
        ("when", EditWhen.UNSAID),
        ("share", 0.4),
        ("anneal", Anneal.COSINE),
    ],
)
def test_groups_that_change_with_the_samples_or_the_step_are_refused(
    tokenizer: Any, name: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=f"edit.{name} is {value}, but with another trainer"):
        GroupEditor(tokenizer, max_tokens=MAX_TOKENS, edit=EditConfig(**{name: value}))
    plain = EditConfig(level=EditLevel.NONE, **{name: value})
    assert GroupEditor(tokenizer, max_tokens=MAX_TOKENS, edit=plain).sampled_per_group(4) == 4
