"""What is known of the studies of a test set besides what a system wrote: references and patients.

Files are compared here before anything is scored, since scoring may take hours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from editgrpo.errors import DataError
from editgrpo.evaluation.types import Prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRows:
    """A test set as a system was tested on it.

    Attributes:
        system: Whose predictions they are, for messages.
        references: Study id to reference report, sorted by study id.
        patients: The patient of each study in that order; None if they are not known.
    """

    system: str
    references: Mapping[str, str] = field(repr=False)
    patients: tuple[str, ...] | None = field(repr=False)


def rows_of(predictions: Sequence[Prediction], *, system: str) -> StudyRows:
    """Take the rows from predictions.

    Args:
        predictions: At least one study; the order does not matter.
        system: Whose they are, for messages.

    Returns:
        The rows, sorted by study id.

    Raises:
        DataError: there are no predictions, a study appears twice, or only some have a patient.
    """
    ordered = sorted(predictions, key=lambda one: one.study_id)
    references = {one.study_id: one.reference for one in ordered}
    if not ordered:
        raise DataError(f"{system}: no predictions to evaluate; give at least one study")
    if len(references) < len(ordered):
        raise DataError(f"{system}: a study appears twice; keep one prediction for each study")
    known = tuple(one.patient_id for one in ordered if one.patient_id is not None)
    if known and len(known) < len(ordered):
        without = next(one.study_id for one in ordered if one.patient_id is None)
        raise DataError(
            f"{system}: study {without} has no patient_id though others have; give every study its "
            "patient, or none"
        )
    return StudyRows(system=system, references=references, patients=known or None)


def known_patients(sides: Sequence[StudyRows]) -> tuple[str, ...] | None:
    """Return the patients of studies that several systems were tested on.

    Args:
        sides: At least one, over the same studies (`require_same_rows`).

    Returns:
        Those of the first that knows them; None if none does.
    """
    return next((one.patients for one in sides if one.patients is not None), None)


def require_same_rows(a: StudyRows, b: StudyRows) -> None:
    """Refuse systems that differ in their studies, or in what is known of a study.

    Args:
        a: One system.
        b: Another.

    Raises:
        DataError: the studies, the references or the patients differ; the message counts the
            studies and names one.
    """
    both = f"{a.system} and {b.system}"
    for one, other in ((a, b), (b, a)):
        only = sorted(set(one.references) - set(other.references))
        if only:
            raise DataError(
                f"{both}: {len(set(a.references) ^ set(b.references))} studies are in one of them "
                f"only, such as {only[0]} in {one.system}; compare predictions for the same studies"
            )
    differing = [study for study, text in a.references.items() if b.references[study] != text]
    if differing:
        raise DataError(
            f"{both}: the references of {len(differing)} studies differ, such as {differing[0]}; "
            "compare predictions against the same references"
        )
    if a.patients is None or b.patients is None:
        return
    pairs = zip(a.references, a.patients, b.patients, strict=True)
    moved = [study for study, one, other in pairs if one != other]
    if moved:
        raise DataError(
            f"{both}: {len(moved)} studies have another patient_id, such as {moved[0]}; write the "
            "ids of one source into both files"
        )
