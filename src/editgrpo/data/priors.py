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
    courses = {
        patient: sorted(course, key=lambda study: time_order(study.time))
        for patient, course in of_patient.items()
    }
    times = {
        patient: [time_order(study.time) for study in course] for patient, course in courses.items()
    }

    def prior_of(study: Study) -> Study | None:
        if not study.time or study.patient_id not in courses:
            return None
        patient_times = times[study.patient_id]
        earlier = bisect_left(patient_times, time_order(study.time))
        while earlier:
            first = bisect_left(patient_times, patient_times[earlier - 1])
            prior = courses[study.patient_id][first]
            if not is_day_of(prior.time, study.time):
                return prior
            earlier = first
        return None

    return [
        study if (prior := prior_of(study)) is None else with_prior(study, prior)
        for study in studies
    ]


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
