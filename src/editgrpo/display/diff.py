"""An edit as a sentence-level difference: for the terminal, as plain text, and as JSON.

The difference comes from the edit's own record of where each sentence came from, not from comparing
texts. `html/` has stored text only, and cuts it in `html/segments.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from editgrpo.edits.edit import Edit, EditStep
from editgrpo.edits.rules import NO_RULE_SENTENCE, RULE_OF
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, Presence


class Change(StrEnum):
    """What happened to a sentence."""

    KEPT = "kept"
    REMOVED = "removed"
    INSERTED = "inserted"


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence of the difference, in reading order."""

    change: Change
    text: str


_STYLES = {
    Change.KEPT: "",
    Change.REMOVED: "red strike",
    Change.INSERTED: "green",
}
_MARKS = {Change.KEPT: "  ", Change.REMOVED: "- ", Change.INSERTED: "+ "}


def diff_step(
    step: EditStep, sentences: Sequence[str], reference: AnnotatedReport
) -> list[Segment]:
    """Lay out one step over the report as it stood before that step.

    Args:
        step: The step.
        sentences: The report's sentences before the step.
        reference: The reference report that the step took its sentence from.

    Returns:
        Every sentence of before and after, a removed one directly before what replaced it.

    Raises:
        EditError: the step names a sentence that the report or the reference does not have.
    """
    removes = RULE_OF[step.rule].removes
    if step.position > len(sentences) - removes:
        raise EditError(
            f"the edit touches sentence {step.position}, but the rollout has {len(sentences)}; "
            "give the rollout that was edited"
        )
    segments = [Segment(Change.KEPT, text) for text in sentences]
    changed = []
    if removes:
        changed.append(Segment(Change.REMOVED, sentences[step.position]))
    if step.reference_position is not None:
        if step.reference_position >= len(reference.sentences):
            raise EditError(
                f"the edit takes reference sentence {step.reference_position}, but the reference "
                f"has {len(reference.sentences)}; give the reference it was edited against"
            )
        inserted = reference.sentences[step.reference_position].text
        changed.append(Segment(Change.INSERTED, inserted))
    segments[step.position : step.position + removes] = changed
    return segments


def diff_steps(
    edit: Edit, rollout: AnnotatedReport, reference: AnnotatedReport
) -> list[list[Segment]]:
    """Lay out every step of an edit in turn.

    Args:
        edit: The edit of `rollout`.
        rollout: The report that was edited.
        reference: The reference it was edited against.

    Returns:
        One difference for each step; an empty list if nothing was edited.

    Raises:
        EditError: the edit does not belong to these reports.
    """
    sentences = [sentence.text for sentence in rollout.sentences]
    layouts = []
    for step in edit.steps:
        segments = diff_step(step, sentences, reference)
        layouts.append(segments)
        sentences = [one.text for one in segments if one.change is not Change.REMOVED]
    if sentences != [sentence.text for sentence in edit.report.sentences]:
        raise EditError("the edit's steps do not lead from this rollout to its edited report")
    return layouts


def render_edit(edit: Edit, rollout: AnnotatedReport, reference: AnnotatedReport) -> RenderableType:
    """Show an edit in colour.

    Args:
        edit: The edit of `rollout`.
        rollout: The report that was edited.
        reference: The reference it was edited against.

    Returns:
        For each step its rule, the entities that caused it and the difference (removed sentences
        red and struck through, inserted ones green); then the report that results. Signs in the
        margin repeat the colours for readers who cannot see them.

    Raises:
        EditError: the edit does not belong to these reports.
    """
    parts: list[RenderableType] = []
    layouts = diff_steps(edit, rollout, reference)
    for number, (step, segments) in enumerate(zip(edit.steps, layouts, strict=True), start=1):
        heading = Text(f"Rule {step.rule.value}", style="bold")
        heading.append(f": {RULE_OF[step.rule].sentence}", style="not bold dim")
        prefix = f"{number}. " if len(edit.steps) > 1 else ""
        parts.append(Text(prefix) + heading)
        if step.causes:
            causes = Text().append(f"{RULE_OF[step.rule].cause}: ", style="dim")
            parts.append(causes.append_text(_entities(step)))
        body = Text("\n").join(_line(segment) for segment in segments)
        parts.append(Panel(body, border_style="dim"))
    if not edit.steps:
        parts.append(Text(f"Rule none: {NO_RULE_SENTENCE}", style="bold"))
    title = "Report after the edit" if edit.steps else "Report, unchanged"
    parts.append(Panel(Text(edit.report.text), title=title, title_align="left", style="dim"))
    return Group(*parts)


def plain_edit(edit: Edit, rollout: AnnotatedReport, reference: AnnotatedReport) -> str:
    """Write an edit as plain text, for pipes and files.

    Args:
        edit: The edit of `rollout`.
        rollout: The report that was edited.
        reference: The reference it was edited against.

    Returns:
        Lines without colour: rule, causes, then sentences with `-`, `+` or two spaces before each.

    Raises:
        EditError: the edit does not belong to these reports.
    """
    lines = []
    layouts = diff_steps(edit, rollout, reference)
    for step, segments in zip(edit.steps, layouts, strict=True):
        lines.append(f"rule: {step.rule.value}")
        if step.causes:  # a rule that goes by words has none
            lines.append(f"{RULE_OF[step.rule].cause}: {_entities(step).plain}")
        lines += [_MARKS[segment.change] + segment.text for segment in segments]
    if not edit.steps:
        lines.append("rule: none")
    return "\n".join([*lines, f"result: {edit.report.text}"])


def edit_as_json(
    edit: Edit, rollout: AnnotatedReport, reference: AnnotatedReport
) -> dict[str, Any]:
    """Write an edit as values that JSON can hold.

    Args:
        edit: The edit of `rollout`.
        rollout: The report that was edited.
        reference: The reference it was edited against.

    Returns:
        `rule`, `rollout`, `report`, and `steps`, each with `rule`, `position`,
        `reference_position`, `entities` [{text, type}] and `sentences` [{change, text}].

    Raises:
        EditError: the edit does not belong to these reports.
    """
    layouts = diff_steps(edit, rollout, reference)
    steps = [
        {
            "rule": step.rule.value,
            "position": step.position,
            "reference_position": step.reference_position,
            "entities": [{"text": e.text, "type": str(e.type)} for e in step.causes],
            "sentences": [{"change": s.change.value, "text": s.text} for s in segments],
        }
        for step, segments in zip(edit.steps, layouts, strict=True)
    ]
    return {
        "rule": edit.rule.value,
        "rollout": rollout.text,
        "report": edit.report.text,
        "steps": steps,
    }


def _line(segment: Segment) -> Text:
    mark = Text(_MARKS[segment.change], style=_STYLES[segment.change].removesuffix("strike"))
    return mark + Text(segment.text, style=_STYLES[segment.change])


def _entities(step: EditStep) -> Text:
    named = []
    for entity in step.causes:
        is_present = entity.type.presence is Presence.PRESENT
        one = Text(entity.text, style="bold yellow" if is_present else "bold cyan")
        one.append(f" ({entity.type!s})", style="not bold dim")
        named.append(one)
    return Text(", ").join(named)
