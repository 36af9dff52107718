"""Editing reports of two sections: no sentence changes its section, and headings stay."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.config import Section
from editgrpo.edits import Edit, Origin, edit_report
from editgrpo.edits.splice import decode_completion, splice_completion
from editgrpo.reports.headings import section_texts, with_headings
from editgrpo.reports.rules import RulesAnnotator
from editgrpo.reports.sectioned import SectionedAnnotator
from editgrpo.reports.types import AnnotatedReport
from tests.edits.strategies import pairs
from tests.edits.tokenizers_for_tests import codec, eos_token_id, tokenizer

EOS = eos_token_id()
BIG, NORMAL = "The heart is enlarged.", "Heart size is normal."
FLUID, DRY = "Small left pleural effusion.", "No pleural effusion."
REFERENCE = with_headings(f"{BIG} {DRY}", f"{BIG}")


def edited(text: str, reference: str = REFERENCE, *, seed: int = 0, truncated: bool = False) -> str:
    """Edit a rollout as training does, and return what its tokens say."""
    annotator = SectionedAnnotator(RulesAnnotator())
    before, wanted = annotator.annotate([text, reference])
    ids = tokenizer().encode(text, add_special_tokens=False)
    edit = edit_report(before, wanted, rng=random.Random(seed))
    spliced = splice_completion(
        ids if truncated else [*ids, EOS],
        spans=annotator.split(text),
        edit=edit,
        reference=wanted,
        codec=codec(),
        eos_token_id=EOS,
        max_tokens=400,
    )
    assert spliced is not None and spliced.token_ids[-1] == EOS
    assert decode_completion(spliced.token_ids, codec=codec(), eos_token_id=EOS) == spliced.text
    return spliced.text


def outcomes(text: str, reference: str = REFERENCE) -> set[str]:
    return {edited(text, reference, seed=seed) for seed in range(12)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        # Each section by its own reference: an exchange in either.
        (
            with_headings(f"{NORMAL} {DRY}", NORMAL),
            {with_headings(f"{BIG} {DRY}", NORMAL), with_headings(f"{NORMAL} {DRY}", BIG)},
        ),
        # The effusion is absent in the findings of the reference, and not in its impression.
        (with_headings(f"{BIG} {DRY}", f"{BIG} {FLUID}"), {with_headings(f"{BIG} {DRY}", BIG)}),
        # "Enlarged" in the impression does not stand for the findings, which lack it.
        (with_headings(DRY, BIG), {with_headings(f"{DRY} {BIG}", BIG)}),
        # A heading that stands alone is filled; one that is missing comes with its sentence.
        (f"FINDINGS: {BIG} {DRY}\nIMPRESSION:", {f"FINDINGS: {BIG} {DRY}\nIMPRESSION: {BIG}"}),
        (f"FINDINGS: {BIG} {DRY}", {REFERENCE}),
        (f"{BIG} {DRY}", {f"{BIG} {DRY}\nIMPRESSION: {BIG}"}),
        # Headings as the rollout has them.
        (
            f"Findings:\n{BIG} {DRY}\n\nImpression:\n{NORMAL}",
            {f"Findings:\n{BIG} {DRY}\n\nImpression:\n{BIG}"},
        ),
        # Findings under two headings are one section: nothing is missing from either.
        (f"FINDINGS: {BIG} IMPRESSION: {NORMAL} FINDINGS: {DRY}",
         {f"FINDINGS: {BIG} IMPRESSION: {BIG} FINDINGS: {DRY}"}),
        (
            f"IMPRESSION: {BIG}",
            {f"FINDINGS: {BIG}\nIMPRESSION: {BIG}", f"FINDINGS: {DRY}\nIMPRESSION: {BIG}"},
        ),
        ("", {f"FINDINGS: {BIG}", f"FINDINGS: {DRY}", f"IMPRESSION: {BIG}"}),
        (REFERENCE, {REFERENCE}),
    ],
)  # fmt: skip
def test_a_section_is_edited_by_its_own_reference(rollout: str, expected: set[str]) -> None:
    assert outcomes(rollout) == expected


def test_a_section_that_a_deletion_empties_is_refilled_from_its_reference() -> None:
    reference = with_headings(BIG, DRY)
    assert outcomes(with_headings(BIG, "Acute rib fracture."), reference) == {reference}


def test_a_cut_rollout_ends_behind_its_last_whole_sentence() -> None:
    text = f"FINDINGS: {BIG} {DRY}\nIMPRESSION: {NORMAL}"
    assert edited(text, truncated=True) == REFERENCE


sentences = st.lists(st.sampled_from([BIG, NORMAL, FLUID, DRY]), max_size=3).map(" ".join)
forms = st.sampled_from(
    ["FINDINGS: {}\nIMPRESSION: {}", "IMPRESSION: {}\nFINDINGS: {}", "{} impression: {}", "{}{}"]
)


@pytest.mark.slow
@given(forms, sentences, sentences, sentences, sentences, st.integers(0, 3))
def test_inserted_sentences_are_of_the_same_section_of_the_reference(
    form: str, one: str, other: str, findings: str, impression: str, seed: int
) -> None:
    text, reference = form.format(one, other), with_headings(findings, impression)
    before, after = section_texts(text), section_texts(edited(text, reference, seed=seed))
    wanted = section_texts(reference)
    for section in Section:
        new = sentences_of(after[section]) - sentences_of(before[section])
        assert new <= sentences_of(wanted[section])
    assert sum(before[section] != after[section] for section in Section) <= 1


def sentences_of(text: str) -> set[str]:
    return {text[span.start : span.end] for span in RulesAnnotator().split(text)}


@pytest.mark.slow
@given(pairs(), st.integers(0, 50))
def test_a_report_of_one_section_is_edited_as_one_that_names_none(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int
) -> None:
    def edit(section: str) -> Edit:
        rollout, reference = (
            AnnotatedReport(tuple(replace(one, section=section) for one in report.sentences))
            for report in pair
        )
        return edit_report(rollout, reference, rng=random.Random(seed), max_edits=2)

    assert (edit("findings").steps, edit("findings").sources) == (edit("").steps, edit("").sources)


def test_what_is_wanted_comes_first_in_whichever_section_it_is() -> None:
    annotator = SectionedAnnotator(RulesAnnotator())
    rollout, reference = annotator.annotate(
        [with_headings(NORMAL, DRY), with_headings(BIG, f"{DRY} Acute rib fracture.")]
    )
    wanted_Y = ["fracture" in entity.text for entity in reference.entities]
    for seed in range(8):
        edit = edit_report(rollout, reference, rng=random.Random(seed), wanted_Y=np.array(wanted_Y))
        assert edit.sources[-1].origin is Origin.REFERENCE  # the fracture, behind "No effusion"
        assert edit.report.sentences[-1].text == "Acute rib fracture."
