"""An edit is laid out as the sentences it kept, removed and inserted."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from editgrpo.display.diff import Change, diff_steps, edit_as_json, plain_edit, render_edit
from editgrpo.edits import Edit, EditRule, EditStep
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity, EntityType

EFFUSION = Entity("effusion", EntityType.DISEASE, np.ones(2, dtype=np.float32))


def _report(*sentences: str) -> AnnotatedReport:
    return AnnotatedReport(tuple(AnnotatedSentence(text) for text in sentences))


def _edit(result: AnnotatedReport, *steps: tuple[EditRule, int, int | None]) -> Edit:
    return Edit(
        report=result,
        steps=tuple(
            EditStep(rule=rule, position=at, reference_position=source, causes=(EFFUSION,))
            for rule, at, source in steps
        ),
        sources=(),
    )


ROLLOUT = _report("Heart is large.", "Left effusion.", "No pneumothorax.")
REFERENCE = _report("Heart is normal.", "No effusion.")
K, R, I = Change.KEPT, Change.REMOVED, Change.INSERTED  # noqa: E741

CASES = {
    "mislabelled": (
        _edit(
            _report("Heart is large.", "No effusion.", "No pneumothorax."),
            (EditRule.MISLABELLED, 1, 1),
        ),
        [[(K, "Heart is large."), (R, "Left effusion."), (I, "No effusion."),
          (K, "No pneumothorax.")]],
    ),
    "deletion": (
        _edit(_report("Heart is large.", "No pneumothorax."), (EditRule.DELETION, 1, None)),
        [[(K, "Heart is large."), (R, "Left effusion."), (K, "No pneumothorax.")]],
    ),
    "augmentation": (
        _edit(
            _report("Heart is large.", "Left effusion.", "No pneumothorax.", "Heart is normal."),
            (EditRule.AUGMENTATION, 3, 0),
        ),
        [[(K, "Heart is large."), (K, "Left effusion."), (K, "No pneumothorax."),
          (I, "Heart is normal.")]],
    ),
    "two steps": (
        _edit(
            _report("Heart is normal.", "No pneumothorax."),
            (EditRule.DELETION, 1, None),
            (EditRule.REPLACEMENT, 0, 0),
        ),
        [
            [(K, "Heart is large."), (R, "Left effusion."), (K, "No pneumothorax.")],
            [(R, "Heart is large."), (I, "Heart is normal."), (K, "No pneumothorax.")],
        ],
    ),
    "nothing": (_edit(ROLLOUT), []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_steps_are_laid_out_in_reading_order(case: str) -> None:
    edit, expected = CASES[case]
    layouts = diff_steps(edit, ROLLOUT, REFERENCE)
    assert [[(s.change, s.text) for s in segments] for segments in layouts] == expected


def test_a_deletion_that_is_refilled_shows_both_sentences() -> None:
    rollout = _report("Left effusion.")
    edit = _edit(_report("Heart is normal."), (EditRule.DELETION, 0, 0))
    (segments,) = diff_steps(edit, rollout, REFERENCE)
    assert [s.change for s in segments] == [Change.REMOVED, Change.INSERTED]


def test_reports_that_the_edit_does_not_belong_to_are_refused() -> None:
    edit, _ = CASES["augmentation"]
    with pytest.raises(EditError, match="sentence 3"):
        diff_steps(edit, _report("Another report."), REFERENCE)
    with pytest.raises(EditError, match="do not lead"):
        diff_steps(edit, ROLLOUT, _report("Another reference."))


def test_terminal_form_names_rule_entities_and_result() -> None:
    edit, _ = CASES["mislabelled"]
    console = Console(file=io.StringIO(), width=90, force_terminal=True, color_system="standard")
    console.print(render_edit(edit, ROLLOUT, REFERENCE))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in ("mislabelled", "effusion", "DISEASE", "Report after the edit"):
        assert part in text
    assert "\x1b[9;31mLeft effusion." in text  # struck through and red
    assert "\x1b[32mNo effusion." in text  # green


def test_plain_form_marks_each_sentence() -> None:
    edit, _ = CASES["mislabelled"]
    assert plain_edit(edit, ROLLOUT, REFERENCE).splitlines() == [
        "rule: mislabelled",
        "spurious: effusion (DISEASE)",
        "  Heart is large.",
        "- Left effusion.",
        "+ No effusion.",
        "  No pneumothorax.",
        "result: Heart is large. No effusion. No pneumothorax.",
    ]


def test_a_step_without_causes_names_none() -> None:
    rollout = _report("Heart is large.", "Heart is large.")
    step = EditStep(rule=EditRule.DELETION, position=1, reference_position=None, causes=())
    edit = Edit(report=_report("Heart is large."), steps=(step,), sources=())
    assert plain_edit(edit, rollout, REFERENCE).splitlines() == [
        "rule: deletion",
        "  Heart is large.",
        "- Heart is large.",
        "result: Heart is large.",
    ]
    console = Console(file=io.StringIO(), width=90)
    console.print(render_edit(edit, rollout, REFERENCE))
    assert isinstance(console.file, io.StringIO)
    assert "spurious" not in console.file.getvalue()


def test_json_form_survives_a_round_trip() -> None:
    edit, _ = CASES["two steps"]
    value = edit_as_json(edit, ROLLOUT, REFERENCE)
    assert json.loads(json.dumps(value)) == value
    assert value["rule"] == "deletion"
    assert [step["rule"] for step in value["steps"]] == ["deletion", "replacement"]
    assert value["steps"][0]["entities"] == [{"text": "effusion", "type": "DISEASE"}]
