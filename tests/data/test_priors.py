from editgrpo.data.priors import attach_priors
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View


def a_study(study_id: str, *views: View, patient_id: str = "p") -> Study:
    return Study(
        study_id=study_id,
        patient_id=patient_id,
        split=Split.TRAIN,
        images=tuple(StudyImage(path=f"{study_id}-{view}", view=view) for view in views),
        findings="Prior report." if study_id == "first" else "",
    )


def prior_paths(studies: list[Study]) -> dict[str, list[str]]:
    return {
        study.study_id: [i.path for i in study.images if i.timepoint is Timepoint.PRIOR]
        for study in studies
    }


def test_the_most_recent_earlier_study_of_the_patient_is_the_prior() -> None:
    studies = [
        a_study("third", View.PA),
        a_study("first", View.PA, View.LATERAL),
        a_study("second", View.AP),
        a_study("other", View.PA, patient_id="q"),
    ]
    times = {"first": 1.0, "second": 2.0, "third": 30.0, "other": 29.0}
    attached = attach_priors(studies, times)
    assert prior_paths(attached) == {
        "third": ["second-AP"],
        "first": [],
        "second": ["first-PA", "first-lateral"],
        "other": [],
    }
    assert [study.study_id for study in attached] == ["third", "first", "second", "other"]
    assert not attached[2].findings  # the prior report stays out


def test_studies_of_one_time_are_not_prior_to_each_other() -> None:
    studies = [a_study("a", View.PA), a_study("b", View.AP), a_study("c", View.PA)]
    attached = attach_priors(studies, {"a": 1.0, "b": 1.0, "c": 2.0})
    assert prior_paths(attached) == {"a": [], "b": [], "c": ["a-PA"]}


def test_studies_without_a_time_or_without_images_are_no_prior() -> None:
    studies = [a_study("a", View.PA), a_study("b"), a_study("c", View.AP), a_study("d", View.PA)]
    attached = attach_priors(studies, {"a": 1.0, "b": 2.0, "d": 3.0})
    assert prior_paths(attached) == {"a": [], "b": ["a-PA"], "c": [], "d": ["a-PA"]}
