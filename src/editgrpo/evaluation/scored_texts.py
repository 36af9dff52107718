"""Which texts of predictions are scored: those of the target that they were made for.

Reports of both sections are scored without their headings, which every report has and which would
count as words that a model got right.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from editgrpo.config import Section, Target
from editgrpo.errors import DataError
from editgrpo.evaluation.types import Prediction
from editgrpo.reports.headings import section_texts, without_headings

_LOGGER = logging.getLogger(__name__)


def scored_texts(
    predictions: Sequence[Prediction], section: Section | None, *, where: str
) -> list[Prediction]:
    """Take from predictions and references what is scored.

    Args:
        predictions: Of one target.
        section: The section that is scored alone; None scores all that was asked for.
        where: The file, for messages.

    Returns:
        The predictions as they are, where they are of one section. Of both: findings, then
        impression, as running text, or the section; studies whose reference lacks it are left out
        with a warning. A prediction that lacks it is empty.

    Raises:
        DataError: the predictions were not made for the section, or no reference has it.
    """
    target = predictions[0].target
    if target is not Target.BOTH:
        if section is not None and section.value != target.value:
            raise DataError(f"{where}: predictions of the {target.value}; leave out --section")
        return list(predictions)
    scored = [
        replace(one, prediction=_text(one.prediction, section), reference=reference)
        for one in predictions
        if (reference := _text(one.reference, section))
    ]
    if not scored:
        raise DataError(f"{where}: no reference has {section or 'text'}; score another section")
    if len(scored) < len(predictions):
        left_out = len(predictions) - len(scored)
        _LOGGER.warning("%s: %d studies without %s are left out", where, left_out, section)
    return scored


def _text(report: str, section: Section | None) -> str:
    return without_headings(report) if section is None else section_texts(report)[section]
