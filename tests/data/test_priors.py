from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.data.priors import attach_priors, with_prior
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View


def a_study(study_id: str, time: str, *views: View, patient_id: str = "p") -> Study:
    return Study(
        study_id=study_id,
        patient_id=patient_id,
        split=Split.TRAIN,
        time=time,
        images=tuple(StudyImage(image_id=f"{study_id}-{view}", view=view) for view in views),
        findings=f"Report of {study_id}.",
    )


def priors(studies: list[Study]) -> dict[str, tuple[str, str, list[str]]]:
    return {
        study.study_id: (
            study.prior_study_id,
            study.prior_time,
            [image.image_id for image in study.prior_images],
        )
        for study in attach_priors(studies)
    }


NONE: tuple[str, str, list[str]] = ("", "", [])


def test_the_most_recent_earlier_study_of_the_patient_is_the_prior() -> None:
    studies = [
        a_study("third", "30", View.PA),
        a_study("first", "1", View.PA, View.LATERAL),
        a_study("second", "2", View.AP),
        a_study("other", "29", View.PA, patient_id="q"),
    ]
    assert priors(studies) == {
        "third": ("second", "2", ["second-AP"]),
        "first": NONE,
        "second": ("first", "1", ["first-PA", "first-lateral"]),
        "other": NONE,
    }


def test_a_day_without_a_time_is_not_known_to_be_earlier_than_a_time_of_that_day() -> None:
    studies = [
        a_study("before", "2024-02-29", View.PA),
        a_study("some time", "2024-03-01", View.PA),
        a_study("at eight", "2024-03-01T08:00", View.PA),
        a_study("at nine", "2024-03-01T09:00", View.PA),
        a_study("after", "2024-03-02", View.PA),
    ]
    assert {name: prior for name, (prior, _, _) in priors(studies).items()} == {
        "before": "",
        "some time": "before",
        "at eight": "before",
        "at nine": "at eight",
        "after": "at nine",
    }


def test_order_and_everything_but_the_prior_stay_as_they_were() -> None:
    studies = [a_study("b", "2", View.PA), a_study("a", "1", View.AP), a_study("c", "", View.PA)]
    attached = attach_priors(studies)
    bare = [
        replace(study, images=study.current_images, prior_study_id="", prior_time="")
        for study in attached
    ]
    assert bare == studies
    assert attached[0].images[: len(studies[0].images)] == studies[0].images
    assert attached[0].findings == "Report of b."  # the prior's report stays out


def test_dates_are_compared_as_moments_and_numbers_as_numbers() -> None:
    # As text, "10" stands before "9", and "T8" has no place.
    assert priors([a_study("a", "9", View.PA), a_study("b", "10", View.PA)])["b"][0] == "a"
    dates = [
        a_study("night", "2150-01-01T23:59:59.500", View.PA),
        a_study("noon", "2150-01-01T12:00", View.PA),
        a_study("day", "2149-12-31", View.PA),
    ]
    assert [prior for prior, _, _ in priors(dates).values()] == ["noon", "day", ""]


def test_studies_of_one_time_are_not_prior_to_each_other() -> None:
    studies = [
        a_study("a", "1", View.PA),
        a_study("b", "1.0", View.AP),
        a_study("c", "2", View.PA),
    ]
    found = priors(studies)
    assert (found["a"], found["b"]) == (NONE, NONE)
    assert found["c"] == ("a", "1", ["a-PA"])  # of equals, the first in order


def test_studies_without_a_time_have_no_prior_and_are_none() -> None:
    studies = [a_study("a", "1", View.PA), a_study("c", "", View.AP), a_study("d", "3", View.PA)]
    assert priors(studies) == {"a": NONE, "c": NONE, "d": ("a", "1", ["a-PA"])}


def test_studies_without_images_are_no_prior_but_have_one() -> None:
    studies = [a_study("a", "1", View.PA), a_study("b", "2"), a_study("d", "3", View.PA)]
    assert priors(studies) == {"a": NONE, "b": ("a", "1", ["a-PA"]), "d": ("a", "1", ["a-PA"])}


def test_a_prior_study_without_findings_is_as_good_as_any() -> None:
    silent = replace(a_study("a", "1", View.PA), findings="")
    assert priors([silent, a_study("b", "2", View.PA)])["b"][0] == "a"


def test_no_study_has_no_prior() -> None:
    assert attach_priors([]) == []


def test_a_named_prior_gives_its_current_images_alone() -> None:
    first, second, third = (
        a_study(name, time, View.PA, View.LATERAL)
        for name, time in (("a", "1"), ("b", "2"), ("c", "3"))
    )
    second = with_prior(second, first)
    third = with_prior(third, second)
    assert [image.image_id for image in third.prior_images] == ["b-PA", "b-lateral"]
    assert [image.image_id for image in third.current_images] == ["c-PA", "c-lateral"]
    assert (third.prior_study_id, third.prior_time) == ("b", "2")


@st.composite
def courses(draw: st.DrawFn) -> list[Study]:
    """Draw studies of few patients at few times, so that most have neighbours and equals."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from("pqr"),
                st.sampled_from(["", "0", "0.0", "1", "2", "-1", "1e1"]),
                st.integers(0, 2),
            ),
            max_size=12,
        )
    )
    return [
        a_study(f"s{k}", time, *(View.PA, View.LATERAL)[:images], patient_id=patient)
        for k, (patient, time, images) in enumerate(drawn)
    ]


@pytest.mark.slow
@given(courses())
def test_a_prior_is_the_nearest_of_all_earlier_studies(studies: list[Study]) -> None:
    by_id = {study.study_id: study for study in studies}
    for study in attach_priors(studies):
        others = [
            other
            for other in studies
            if other.patient_id == study.patient_id and other.time and other.images
        ]
        if not study.prior_study_id:
            # No one stands before it.
            assert not study.prior_images
            assert not study.time or all(float(o.time) >= float(study.time) for o in others)
            continue
        prior = by_id[study.prior_study_id]
        assert prior in others
        assert float(prior.time) < float(study.time)  # never the future, nor the same moment
        between = [o for o in others if float(prior.time) < float(o.time) < float(study.time)]
        equals = [o for o in others if float(o.time) == float(prior.time)]
        assert not between
        assert equals[0] is prior
        assert study.prior_time == prior.time
        assert [i.image_id for i in study.prior_images] == [i.image_id for i in prior.images]


@pytest.mark.parametrize("timepoint", list(Timepoint))
def test_prior_images_differ_from_the_originals_in_their_time_point_alone(
    timepoint: Timepoint,
) -> None:
    first, second = a_study("a", "1", View.AP), a_study("b", "2", View.PA)
    images = [i for i in with_prior(second, first).images if i.timepoint is timepoint]
    original = first if timepoint is Timepoint.PRIOR else second
    assert images == [replace(image, timepoint=timepoint) for image in original.images]
