"""The patient's most recent earlier study, whose images are shown as prior images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from editgrpo.data.study import Study, Timepoint


def attach_priors(studies: Sequence[Study], time_of_study: Mapping[str, float]) -> list[Study]:
    """Append the images of each patient's most recent earlier study as prior images.

    Only images are taken: a prior report is never an input. Studies without images are passed over
    in the search; of several at the most recent time, the first in order is taken. Studies of one
    time are not prior to each other.

    Args:
        studies: With current images only; those that are left out later may be among them, as a
            study without findings is as good a prior as any.
        time_of_study: By study_id, on any one scale; a study without a time has no prior and is
            none.

    Returns:
        The studies in their order.
    """
    of_patient: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        if study.study_id in time_of_study and study.images:
            of_patient[study.patient_id].append(study)

    def with_prior(study: Study) -> Study:
        time = time_of_study.get(study.study_id)
        if time is None:
            return study
        earlier = [
            other for other in of_patient[study.patient_id] if time_of_study[other.study_id] < time
        ]
        if not earlier:
            return study
        prior = max(earlier, key=lambda other: time_of_study[other.study_id])
        images = (replace(image, timepoint=Timepoint.PRIOR) for image in prior.images)
        return replace(study, images=(*study.images, *images))

    return [with_prior(study) for study in studies]
