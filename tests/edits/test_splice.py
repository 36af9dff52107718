"""The token splice by hand: which ids stay, which are new, and how white space is treated."""

import random

import pytest

from editgrpo.edits import Edit, EditRule, EditStep, Origin, SentenceSource, edit_report
from editgrpo.edits.splice import SplicedCompletion, complete_spans, splice_completion
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, Span
from tests.edits.reports import finding, report, sentence
from tests.edits.tokenizers_for_tests import codec, eos_token_id, tokenizer

REFERENCE = report(sentence("The tube ends."), sentence("Clear lungs."))
EOS = eos_token_id()


def spans_of(text: str, *sentences: str) -> list[Span]:
    """Find the sentences in the text, one after the other."""
    spans, position = [], 0
    for each in sentences:
        start = text.index(each, position)
        position = start + len(each)
        spans.append(Span(start, position))
    return spans


def edit_of(rule: EditRule, *order: str, position: int = 0) -> Edit:
    """Make an edit whose sentences come from x0, x1, ... and y0, y1, ..."""
    origins = {"x": Origin.ROLLOUT, "y": Origin.REFERENCE}
    sources = tuple(SentenceSource(origins[o[0]], int(o[1:])) for o in order)
    step = EditStep(rule=rule, position=position, reference_position=None, causes=())
    steps = () if rule is EditRule.NONE else (step,)
    return Edit(report=AnnotatedReport(), steps=steps, sources=sources)


def splice_or_none(
    ids: list[int], spans: list[Span], edit: Edit, *, max_tokens: int = 100
) -> SplicedCompletion | None:
    return splice_completion(
        ids,
        spans=spans,
        edit=edit,
        reference=REFERENCE,
        codec=codec(),
        eos_token_id=EOS,
        max_tokens=max_tokens,
    )


def splice(ids: list[int], spans: list[Span], edit: Edit) -> SplicedCompletion:
    spliced = splice_or_none(ids, spans, edit)
    assert spliced is not None
    return spliced


def encode(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False)


def symbols(spliced: SplicedCompletion) -> list[str]:
    return tokenizer().convert_ids_to_tokens(list(spliced.token_ids))


TEXT = "The heart is normal.\n\nNo effusion. Is there an oedema?"
SPANS = spans_of(TEXT, "The heart is normal.", "No effusion.", "Is there an oedema?")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (("x0", "y0", "x2"), "The heart is normal.\n\nThe tube ends. Is there an oedema?"),
        (("y0", "x1", "x2"), "The tube ends.\n\nNo effusion. Is there an oedema?"),
        (("x0", "x1", "y0"), "The heart is normal.\n\nNo effusion. The tube ends."),
        (
            ("x0", "y0", "x1", "x2"),
            "The heart is normal. The tube ends.\n\nNo effusion. Is there an oedema?",
        ),
        (
            ("y0", "x0", "x1", "x2"),
            "The tube ends. The heart is normal.\n\nNo effusion. Is there an oedema?",
        ),
        (
            ("x0", "y0", "y1", "x1", "x2"),
            "The heart is normal. The tube ends. Clear lungs.\n\nNo effusion. Is there an oedema?",
        ),
        (("x0", "x2"), "The heart is normal. Is there an oedema?"),
        (("x1", "x2"), "No effusion. Is there an oedema?"),
        (("x0", "x1"), "The heart is normal.\n\nNo effusion."),
        (
            ("x0", "x1", "x2", "y1"),
            "The heart is normal.\n\nNo effusion. Is there an oedema? Clear lungs.",
        ),
        (("y1",), "Clear lungs."),
        (("y0", "y1"), "The tube ends. Clear lungs."),
        ((), ""),
    ],
)
def test_the_text_is_the_edited_text(order: tuple[str, ...], expected: str) -> None:
    spliced = splice([*encode(TEXT), EOS], SPANS, edit_of(EditRule.DELETION, *order))
    assert spliced.text == expected
    decoded = tokenizer().decode(list(spliced.token_ids), skip_special_tokens=True)
    assert decoded == expected
    assert spliced.token_ids.count(EOS) == 1
    assert spliced.token_ids[-1] == EOS


def test_a_replacement_keeps_the_sampled_ids_of_all_other_sentences() -> None:
    before, after = encode("The heart is normal.\n\n"), encode(" Is there an oedema?")
    sampled = before + encode("No effusion.") + after
    assert sampled == encode(TEXT)
    spliced = splice([*sampled, EOS], SPANS, edit_of(EditRule.REPLACEMENT, "x0", "y0", "x2"))
    new = encode("The tube ends.")
    assert spliced.token_ids == (*before, *new, *after, EOS)
    expected_mask = [False] * len(before) + [True] * len(new) + [False] * (len(after) + 1)
    assert list(spliced.is_inserted_T) == expected_mask
    # The end is the rollout's own, behind all of its text.
    behind = range(len(sampled) - len(after), len(sampled) + 1)
    assert spliced.source_T == (*range(len(before)), *[None] * len(new), *behind)


def test_unusual_sampled_ids_are_not_made_usual() -> None:
    # The first sentence spelled byte by byte stays so.
    spelled = [token for byte in b"The heart is normal." for token in codec().encode(bytes([byte]))]
    rest = encode("\n\nNo effusion. Is there an oedema?")
    spliced = splice([*spelled, *rest, EOS], SPANS, edit_of(EditRule.REPLACEMENT, "x0", "y0", "x2"))
    assert spliced.token_ids[: len(spelled)] == tuple(spelled)


def test_a_sentence_added_between_two_leaves_the_ids_of_both() -> None:
    before, after = encode("The heart is normal."), encode("\n\nNo effusion. Is there an oedema?")
    added = edit_of(EditRule.AUGMENTATION, "x0", "y0", "x1", "x2")
    spliced = splice([*before, *after, EOS], SPANS, added)
    assert spliced.token_ids == (*before, *encode(" The tube ends."), *after, EOS)
    assert spliced.source_T[: len(before)] == tuple(range(len(before)))
    assert spliced.source_T[-len(after) - 1 :] == tuple(
        range(len(before), len(before) + len(after) + 1)
    )


def test_a_sentence_that_is_first_no_more_has_its_first_word_encoded_with_the_space() -> None:
    """ "The" and " The" are two tokens: the report reads as the tokenizer would have written it."""
    added = edit_of(EditRule.AUGMENTATION, "y0", "x0", "x1", "x2")
    spliced = splice([*encode(TEXT), EOS], SPANS, added)
    assert spliced.token_ids == (*encode(spliced.text), EOS)
    new, first = len(encode("The tube ends.")), len(encode(" The"))
    assert first == len(encode("The")) == 1
    assert spliced.source_T == (*[None] * (new + 1), *range(1, len(encode(TEXT)) + 1))
    assert spliced.is_inserted_T == (True,) * new + (False,) * (len(encode(TEXT)) + 1)


def test_an_inserted_sentence_is_tokenised_with_the_space_before_it() -> None:
    # " The" is one token of this vocabulary; the space of the removed sentence goes into it.
    spliced = splice(
        [*encode("Yes. The spine is old."), EOS],
        spans_of("Yes. The spine is old.", "Yes.", "The spine is old."),
        edit_of(EditRule.REPLACEMENT, "x0", "y0"),
    )
    new = encode(" The tube ends.")
    assert symbols(spliced)[-len(new) - 1] == "ĠThe"
    assert spliced.token_ids == (*encode("Yes."), *new, EOS)
    assert spliced.is_inserted_T == (False,) * len(encode("Yes.")) + (True,) * len(new) + (False,)


def test_a_token_across_two_sentences_stays_where_both_stay() -> None:
    # ".\n\n" is one token: the end of the first sentence and the white space after it.
    assert symbols(splice([*encode(TEXT), EOS], SPANS, edit_of(EditRule.DELETION, "x0", "x1")))[
        4:7
    ] == [".ĊĊ", "No", "Ġeffusion"]


def test_of_a_token_across_two_sentences_the_piece_of_the_kept_one_is_encoded_anew() -> None:
    # Deleting the second sentence removes the white space before it, and so cuts ".\n\n".
    sampled = encode(TEXT)
    assert symbols(splice([*sampled, EOS], SPANS, edit_of(EditRule.DELETION, "x0", "x2"))) == [
        *tokenizer().convert_ids_to_tokens(sampled[:4]),
        ".",
        *tokenizer().convert_ids_to_tokens(encode(" Is there an oedema?")),
        "<|im_end|>",
    ]
    edit = edit_of(EditRule.DELETION, "x0", "x2")
    found = splice([*sampled, EOS], SPANS, edit).source_T
    behind = len(encode(" Is there an oedema?"))
    assert found == (*range(4), None, *range(len(sampled) - behind, len(sampled) + 1))


def test_the_piece_of_a_kept_sentence_is_not_fused_with_what_is_inserted() -> None:
    # ".\n\nQ" is one token. Of it the full stop stays, encoded alone, although ".\n\n" is a token
    # too; the white space goes with the inserted sentence.
    text = "Yes.\n\nQuiet."
    sampled = encode(text)
    assert ".\n\nQ" in tokenizer().convert_ids_to_tokens(sampled)
    edit = edit_of(EditRule.REPLACEMENT, "x0", "y0")
    spliced = splice([*sampled, EOS], spans_of(text, "Yes.", "Quiet."), edit)
    old, breaks, new = encode("Yes") + encode("."), encode("\n\n"), encode("The tube ends.")
    assert spliced.token_ids == (*old, *breaks, *new, EOS)
    # Tokens of white space alone are not part of the inserted sentence.
    before = len(old) + len(breaks)
    assert spliced.is_inserted_T == (False,) * before + (True,) * len(new) + (False,)


def test_a_removed_first_sentence_takes_its_space_along() -> None:
    spliced = splice(
        [*encode("Yes. The spine is old."), EOS],
        spans_of("Yes. The spine is old.", "Yes.", "The spine is old."),
        edit_of(EditRule.DELETION, "x1"),
    )
    assert symbols(spliced)[0] == "The"
    assert spliced.text == "The spine is old."


# White space


@pytest.mark.parametrize(
    ("text", "sentences", "order", "expected"),
    [
        # The rollout's own leading and trailing white space stays at the ends.
        ("  A.\tB. \n", ("A.", "B."), ("x1",), "  B. \n"),
        ("  A.\tB. \n", ("A.", "B."), ("x0",), "  A. \n"),
        # Trailing white space comes to stand before an appended sentence.
        ("A.\n", ("A.",), ("x0", "y0"), "A.\nThe tube ends."),
        ("A.", ("A.",), ("x0", "y0"), "A. The tube ends."),
        # Nothing between sentences: a space is put where they were not neighbours.
        ("A.B.C.", ("A.", "B.", "C."), ("x0", "x2"), "A. C."),
        ("A.B.C.", ("A.", "B.", "C."), ("x0", "y0", "x2"), "A. The tube ends. C."),
        ("A.B.C.", ("A.", "B.", "C."), ("x0", "x1"), "A.B."),
        ("A.B.", ("A.", "B."), ("y0", "x1"), "The tube ends. B."),
        # Unicode white space is white space.
        ("A.\u00a0B.", ("A.", "B."), ("x0", "y0"), "A.\u00a0The tube ends."),
        ("A.\u2003B.\u3000C.", ("A.", "B.", "C."), ("x0", "x2"), "A.\u3000C."),
        # A rollout without sentences.
        ("", (), ("y0",), "The tube ends."),
        (" \n", (), ("y0",), " \nThe tube ends."),
    ],
)
def test_white_space(
    text: str, sentences: tuple[str, ...], order: tuple[str, ...], expected: str
) -> None:
    edit = edit_of(EditRule.DELETION, *order)
    assert splice([*encode(text), EOS], spans_of(text, *sentences), edit).text == expected


# Truncated rollouts


def test_a_truncated_rollout_loses_its_unfinished_sentence_and_ends_there() -> None:
    text = "The heart is normal.\n\nNo effusion. The lu"
    spans = spans_of(text, "The heart is normal.", "No effusion.", "The lu")
    complete = list(complete_spans(spans, text, truncated=True))
    assert complete == spans[:2]
    sampled = encode(text)
    spliced = splice(sampled, complete, edit_of(EditRule.NONE, "x0", "x1"))
    assert spliced.text == "The heart is normal.\n\nNo effusion."
    kept = spliced.token_ids[:-1]
    assert kept == tuple(sampled[: len(kept)])
    assert spliced.token_ids[-1] == EOS
    assert spliced.source_T == (*range(len(kept)), None), "the end was not sampled"


def test_a_sentence_is_appended_in_the_place_of_the_unfinished_one() -> None:
    text = "No effusion.\nThe lu"
    edit = edit_of(EditRule.AUGMENTATION, "x0", "y1")
    assert splice(encode(text), spans_of(text, "No effusion."), edit).text == (
        "No effusion.\nClear lungs."
    )


def test_padding_after_a_truncated_rollout_is_dropped() -> None:
    padding = tokenizer().convert_tokens_to_ids("<|image_pad|>")
    spliced = splice([*encode("Yes."), padding], [Span(0, 4)], edit_of(EditRule.NONE, "x0"))
    assert spliced.token_ids == (*encode("Yes."), EOS)


@pytest.mark.parametrize(
    ("last", "is_complete"),
    [
        ("The end.", True),
        ("The end!", True),
        ("The end?", True),
        ('"The end."', True),
        ("(The end.)", True),
        ("The end", False),
        ("It measures 5.", False),
        ("The end,", False),
        ("The end\ufffd", False),
    ],
)
def test_only_sentence_final_punctuation_completes_a_truncated_rollout(
    last: str, is_complete: bool
) -> None:
    text = f"First. {last}"
    spans = spans_of(text, "First.", last)
    assert len(complete_spans(spans, text, truncated=True)) == 1 + is_complete
    assert complete_spans(spans, text, truncated=False) == tuple(spans)


def test_a_rollout_without_sentences_has_no_complete_ones() -> None:
    assert complete_spans([], " ", truncated=True) == ()


# Ends, limits and refusals


def test_without_an_edit_a_finished_rollout_comes_back_as_sampled() -> None:
    image_pad = tokenizer().convert_tokens_to_ids("<|image_pad|>")
    sampled = [image_pad, *encode(" The heart"), image_pad, *encode(". "), EOS]
    spliced = splice(sampled, [Span(1, 11)], edit_of(EditRule.NONE, "x0"))
    assert spliced.token_ids == tuple(sampled)
    assert spliced.is_inserted_T == (False,) * len(sampled)
    assert spliced.source_T == tuple(range(len(sampled)))


def test_without_text_and_edit_a_rollout_comes_back_as_sampled() -> None:
    sampled = (tokenizer().convert_tokens_to_ids("<|image_pad|>"), EOS)
    assert splice(list(sampled), [], edit_of(EditRule.NONE)).token_ids == sampled


def test_what_follows_the_end_is_ignored() -> None:
    ids = [*encode("Yes."), EOS, *encode("Padding"), EOS]
    spliced = splice(ids, [Span(0, 4)], edit_of(EditRule.NONE, "x0"))
    assert spliced.token_ids == (*encode("Yes."), EOS)


def test_the_limit_counts_the_end_token() -> None:
    ids = [*encode("Yes."), EOS]
    edit = edit_of(EditRule.AUGMENTATION, "x0", "y0")
    needed = len(encode("Yes.")) + len(encode(" The tube ends.")) + 1
    assert len(splice(ids, [Span(0, 4)], edit).token_ids) == needed
    assert splice_or_none(ids, [Span(0, 4)], edit, max_tokens=needed) is not None
    assert splice_or_none(ids, [Span(0, 4)], edit, max_tokens=needed - 1) is None


@pytest.mark.parametrize(
    ("spans", "order"),
    [
        ([Span(0, 3), Span(2, 4)], ("x0",)),
        ([Span(0, 5)], ("x0",)),
        ([Span(0, 4)], ("x1",)),
        ([Span(0, 2), Span(2, 4)], ("x1", "x0")),
    ],
)
def test_spans_that_do_not_fit_are_refused(spans: list[Span], order: tuple[str, ...]) -> None:
    with pytest.raises(EditError, match="spans"):
        splice([*encode("Yes."), EOS], spans, edit_of(EditRule.DELETION, *order))


def test_from_rules_to_tokens() -> None:
    rollout = report(sentence("Yes.", finding(0)), sentence("A nodule.", finding(1)))
    reference = report(sentence("Yes.", finding(0)), sentence("A tube.", finding(2)))
    edit = edit_report(rollout, reference, rng=random.Random(0), max_edits=2)
    spliced = splice_completion(
        [*encode("Yes. A nodule."), EOS],
        spans=spans_of("Yes. A nodule.", "Yes.", "A nodule."),
        edit=edit,
        reference=reference,
        codec=codec(),
        eos_token_id=EOS,
        max_tokens=50,
    )
    assert spliced is not None
    assert spliced.text == edit.report.text == "Yes. A tube."
