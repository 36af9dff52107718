"""The patient's most recent earlier study, whose images are shown as prior images.

Only images are taken: a prior report is never an input.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from editgrpo.data.study import Study, Timepoint
from editgrpo.data.times import is_day_of, time_order


def attach_priors(studies: Sequence[Study]) -> list[Study]:
    """Give every study the images of its patient's most recent earlier study.

    Studies without images are passed over in the search, and of several at the most recent time the
    first in order is taken. Studies of one time are not prior to each other, nor is a day without a
    time of day to a time of that day; a study without a time has no prior and is none.

    Args:
        studies: With current images only; those that are left out later may be among them, as a
            study without findings is as good a prior as any.

    Returns:
        The studies in their order.
    """
    of_patient: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        if study.time and study.images:
            of_patient[study.patient_id].append(study)
    # Sorting is stable: of equals, the first in order stays first.
    courses = {patient: sorted(course, key=_place) for patient, course in of_patient.items()}

    def prior_of(study: Study) -> Study | None:
        course = courses.get(study.patient_id, []) if study.time else []
        earlier = bisect_left(course, _place(study), key=_place) if course else 0
        while earlier:
            earlier = bisect_left(course, _place(course[earlier - 1]), key=_place)
            if not is_day_of(course[earlier].time, study.time):
                return course[earlier]
        return None

    return [
        study if (prior := prior_of(study)) is None else with_prior(study, prior)
        for study in studies
    ]


def _place(study: Study) -> float:
    return time_order(study.time)


def with_prior(study: Study, prior: Study) -> Study:
    """Append the current images of another study as prior images.

    Args:
        study: Without prior images.
        prior: An earlier study of the patient.

    Returns:
        The study, which now names its prior.
    """
    images = (replace(image, timepoint=Timepoint.PRIOR) for image in prior.current_images)
    return replace(
        study,
        images=(*study.images, *images),
        prior_study_id=prior.study_id,
        prior_time=prior.time,
    )
