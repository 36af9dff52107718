"""The token splice on random rollouts: odd white space, Unicode, broken bytes, any tokenisation."""

import random
from dataclasses import dataclass
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from editgrpo.edits import Edit, EditRule, edit_report
from editgrpo.edits.codec import join_bytes
from editgrpo.edits.splice import (
    SplicedCompletion,
    complete_spans,
    decode_completion,
    splice_completion,
)
from editgrpo.reports.types import AnnotatedReport, Span
from tests.edits.reports import ABSENT, PRESENT, finding, report, sentence
from tests.edits.tokenizers_for_tests import Words, all_words

pytestmark = pytest.mark.slow

WORDS = st.sampled_from(all_words())
BODIES = [
    "The heart is normal.",
    "No effusion.",
    "Œdème à 5.2 mm?",
    "心臓は正常。",
    "e\u0301 \U0001f600!",
    "a b <tool_call>.",
    "as <|im_end|> is.",
    "\ufffd",
    "x",
]
SPACES = [" ", " ", "  ", "\n\n", "\n", "\t", "\u00a0", "\u3000 ", "\r\n", ""]


@dataclass(frozen=True)
class Case:
    """A rollout as sampled, and what it is edited with."""

    words: Words
    ids: list[int]
    text: str
    spans: list[Span]
    rollout: AnnotatedReport
    reference: AnnotatedReport


@st.composite
def annotated(draw: st.DrawFn, bodies: list[str]) -> AnnotatedReport:
    """Give every body up to two random findings."""
    sentences = []
    for body in bodies:
        kinds = draw(
            st.lists(st.tuples(st.integers(0, 3), st.sampled_from([PRESENT, ABSENT])), max_size=2)
        )
        sentences.append(sentence(body, *(finding(axis, kind) for axis, kind in kinds)))
    return report(*sentences)


@st.composite
def written_cases(draw: st.DrawFn) -> Case:
    """Write a text with odd white space, and tokenise it in pieces cut anywhere, even within a
    character; without a cut as the tokenizer does."""
    words = draw(WORDS)
    bodies = draw(st.lists(st.sampled_from(BODIES), max_size=5))
    text, spans = draw(st.sampled_from(SPACES)), []
    for body in bodies:
        spans.append(Span(len(text), len(text) + len(body)))
        text += body + draw(st.sampled_from(SPACES))
    data = text.encode("utf-8")
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=4)) | {0, len(data)})
    ids = [token for a, b in pairwise(cuts) for token in words.codec.encode(data[a:b])]
    if draw(st.booleans()):
        image = words.tokenizer.convert_tokens_to_ids(words.image)
        ids.insert(draw(st.integers(0, len(ids))), image)
    reference = draw(annotated(draw(st.lists(st.sampled_from(BODIES), max_size=4))))
    return Case(words, ids, text, spans, draw(annotated(bodies)), reference)


@st.composite
def sampled_cases(draw: st.DrawFn) -> Case:
    """Sample any ids, and split what they decode to anywhere."""
    words = draw(WORDS)
    any_id = st.integers(0, len(words.tokenizer) - 1).filter(lambda i: i != words.eos)
    ids = draw(st.lists(any_id, max_size=25))
    text = decode_completion(ids, codec=words.codec, eos_token_id=words.eos)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
    spans = []
    for a, b in pairwise(cuts):
        body = text[a:b].strip()
        if body:
            start = text.index(body, a)
            spans.append(Span(start, start + len(body)))
    bodies = [text[span.start : span.end] for span in spans]
    reference = draw(annotated(draw(st.lists(st.sampled_from(BODIES), max_size=4))))
    return Case(words, ids, text, spans, draw(annotated(bodies)), reference)


CASES = st.one_of(written_cases(), sampled_cases())


def edited(case: Case, seed: int, *, truncated: bool) -> tuple[list[Span], Edit]:
    """Edit as the trainer does: a truncated rollout without its unfinished last sentence. Odd seeds
    add a sentence in the reference's order, even ones at the end."""
    spans = list(complete_spans(case.spans, case.text, truncated=truncated))
    edit = edit_report(
        AnnotatedReport(case.rollout.sentences[: len(spans)]),
        case.reference,
        rng=random.Random(seed),
        in_reference_order=bool(seed % 2),
    )
    return spans, edit


def splice(case: Case, spans: list[Span], edit: Edit, *, truncated: bool) -> SplicedCompletion:
    spliced = splice_completion(
        case.ids if truncated else [*case.ids, case.words.eos],
        spans=spans,
        edit=edit,
        reference=case.reference,
        codec=case.words.codec,
        eos_token_id=case.words.eos,
        max_tokens=10**6,
    )
    assert spliced is not None
    return spliced


def expected_text(case: Case, spans: list[Span], edit: Edit) -> str:
    """Edit the text of a finished rollout by hand, rule by rule."""
    text = case.text
    if edit.rule is EditRule.NONE:
        return text
    (step,) = edit.steps
    new = ""
    if step.reference_position is not None:
        new = case.reference.sentences[step.reference_position].text
    if edit.rule is EditRule.AUGMENTATION and step.position == len(spans):
        joint = "" if not text or text[-1].isspace() else " "
        return text + joint + new
    if edit.rule is EditRule.AUGMENTATION and step.position == 0:
        before, after = text[: spans[0].start], text[spans[0].start :]
        return before + _space(bool(before), before[-1:]) + new + " " + after
    if edit.rule is EditRule.AUGMENTATION:
        end = spans[step.position - 1].end
        return text[:end] + " " + new + _space(True, text[end : end + 1]) + text[end:]
    here = spans[step.position]
    before, after = text[: here.start], text[here.end :]
    if new:
        had_before = step.position > 0 or here.start > 0
        had_after = step.position + 1 < len(spans)
        return before + _space(had_before, before[-1:]) + new + _space(had_after, after[:1]) + after
    if len(spans) == 1:
        return ""
    if step.position == 0:
        following = text[spans[1].start :]
        return before + _space(bool(before), before[-1:]) + following
    last = spans[step.position - 1].end
    return text[:last] + _space(step.position + 1 < len(spans), after[:1]) + after


def _space(is_wanted: bool, neighbour: str) -> str:
    return " " if is_wanted and not neighbour.isspace() else ""


@settings(max_examples=200)
@given(CASES, st.integers(0, 99))
def test_finished_rollouts_decode_to_the_text_edited_by_hand(case: Case, seed: int) -> None:
    spans, edit = edited(case, seed, truncated=False)
    spliced = splice(case, spans, edit, truncated=False)
    assert spliced.text == expected_text(case, spans, edit)
    _check_form(case.words, spliced)
    if edit.rule is EditRule.NONE:
        assert spliced.token_ids == (*case.ids, case.words.eos)


@settings(max_examples=200)
@given(CASES, st.integers(0, 99))
def test_truncated_rollouts_end_with_their_last_complete_sentence(case: Case, seed: int) -> None:
    spans, edit = edited(case, seed, truncated=True)
    spliced = splice(case, spans, edit, truncated=True)
    _check_form(case.words, spliced)
    if edit.rule is EditRule.NONE and spans:
        assert spliced.text == case.text[: spans[-1].end]
    if edit.sources:
        assert spliced.text.endswith(edit.report.sentences[-1].text)


def _check_form(words: Words, spliced: SplicedCompletion) -> None:
    ids = list(spliced.token_ids)
    assert ids.count(words.eos) == 1
    assert ids[-1] == words.eos
    data = join_bytes(ids, words.codec)
    assert data.decode("utf-8", errors="replace") == spliced.text
    if data.decode("utf-8", errors="ignore").encode() == data:
        # The library decodes broken UTF-8 with another number of U+FFFD where bytes are a fallback.
        decoded = words.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert decoded == spliced.text
    assert len(spliced.is_inserted_T) == len(ids)
    assert not spliced.is_inserted_T[-1]


def placed(words: Words, ids: list[int]) -> list[tuple[int, int, int]]:
    """List (start, end, id) in bytes for every token that stands for bytes."""
    ends = list(accumulate(len(words.codec.token_bytes(i)) for i in ids))
    starts = [0, *ends[:-1]]
    return [t for t in zip(starts, ends, ids, strict=True) if t[0] < t[1]]


@settings(max_examples=100)
@given(written_cases(), st.integers(0, 99))
def test_tokens_within_kept_sentences_are_the_sampled_ones(case: Case, seed: int) -> None:
    spans, edit = edited(case, seed, truncated=False)
    spliced = splice(case, spans, edit, truncated=False)
    assume(edit.rule is not EditRule.NONE)
    result, position = placed(case.words, list(spliced.token_ids)), 0
    old_starts = [len(case.text[: span.start].encode()) for span in spans]
    for found, source in zip(edit.report.sentences, edit.sources, strict=True):
        data = found.text.encode()
        new_start = join_bytes(spliced.token_ids, case.words.codec).index(data, position)
        position = new_start + len(data)
        if source.origin.value == "reference":
            inside = [
                flag
                for (start, end, _), flag in zip(result, _flags(case.words, spliced), strict=True)
                if start < position and end > new_start
            ]
            assert all(inside)
            continue
        old_start = old_starts[source.position]
        shift = new_start - old_start
        if edit.rule is EditRule.AUGMENTATION and source.position == edit.steps[0].position == 0:
            # The first word gets a space before it; what follows the next space surely stays.
            old_start += data.find(b" ") if b" " in data else len(data)
        sampled = {
            (start + shift, end + shift, token)
            for start, end, token in placed(case.words, case.ids)
            if start >= old_start and end <= old_start + len(data)
        }
        assert sampled <= set(result)


def _flags(words: Words, spliced: SplicedCompletion) -> list[bool]:
    """List the flags of the tokens that stand for bytes."""
    pairs = zip(spliced.token_ids, spliced.is_inserted_T, strict=True)
    return [flag for token, flag in pairs if words.codec.token_bytes(token)]


@settings(max_examples=100)
@given(written_cases(), st.integers(0, 99))
def test_flags_mark_as_many_bytes_as_were_inserted(case: Case, seed: int) -> None:
    spans, edit = edited(case, seed, truncated=False)
    spliced = splice(case, spans, edit, truncated=False)
    marked = join_bytes(
        [t for t, flag in zip(spliced.token_ids, spliced.is_inserted_T, strict=True) if flag],
        case.words.codec,
    ).decode("utf-8")
    inserted = [
        found.text
        for found, source in zip(edit.report.sentences, edit.sources, strict=True)
        if source.origin.value == "reference"
    ]
    # A token may hold white space beside the sentence as well, and nothing else.
    assert marked.strip() == "".join(inserted).strip()
