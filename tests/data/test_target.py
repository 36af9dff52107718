"""What is asked for of a study: findings, impression or both."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.config import Target
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import build_messages, default_template
from editgrpo.data.study import Split, Study, StudyImage, View
from tests.builders import write_set

ASKED = {
    Target.FINDINGS: "Write the FINDINGS of the current chest X-ray study as plain text, "
    "without headings.",
    Target.IMPRESSION: "Write the IMPRESSION of the current chest X-ray study as plain text, "
    "without headings.",
    Target.BOTH: "Write the FINDINGS and the IMPRESSION of the current chest X-ray study as plain "
    "text, in this form:\nFINDINGS: ...\nIMPRESSION: ...",
}


def a_study(name: str, findings: str, impression: str) -> Study:
    return Study(
        study_id=name,
        patient_id=name,
        split=Split.TRAIN,
        images=(StudyImage(image_id=name, view=View.PA),),
        findings=findings,
        impression=impression,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    studies = [
        a_study("both", "Clear lungs.", "Normal."),
        a_study("findings", "Rib fracture.", ""),
        a_study("impression", "", "Effusion."),
        a_study("neither", "", ""),
        a_study("more", "Large heart.", "Cardiomegaly."),
    ]
    return write_set(tmp_path_factory.mktemp("target") / "set", studies)


def test_the_reference_is_what_is_asked_for() -> None:
    study = a_study("s", "Clear lungs.", "Normal.")
    references = {target: replace(study, target=target).reference for target in Target}
    assert references == {
        Target.FINDINGS: "Clear lungs.",
        Target.IMPRESSION: "Normal.",
        Target.BOTH: "FINDINGS: Clear lungs.\nIMPRESSION: Normal.",
    }
    assert study.reference == study.findings, "findings, where nothing else is said"
    assert replace(study, impression="", target=Target.BOTH).reference == ""


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (Target.FINDINGS, ["both", "findings", "more"]),
        (Target.IMPRESSION, ["both", "impression", "more"]),
        (Target.BOTH, ["both", "more"]),
    ],
)
def test_a_set_keeps_the_studies_that_have_a_reference(
    folder: Path, target: Target, kept: list[str]
) -> None:
    studies = StudySet.load(folder, split=Split.TRAIN, target=target, needs_reference=True)
    assert [study.study_id for study in studies] == kept
    assert all(study.target is target and study.reference for study in studies)
    assert studies[1].study_id == kept[1] and studies[1].target is target
    everything = StudySet.load(folder, target=target)
    assert len(everything) == 5 and everything[3].target is target
    for one in (studies, studies[1:], everything[::2]):  # what goes to another process
        again = pickle.loads(pickle.dumps(one))
        assert list(again) == list(one)


@pytest.mark.parametrize("target", Target)
def test_the_prompt_asks_for_the_target_and_differs_in_nothing_else(target: Target) -> None:
    study = replace(a_study("s", "Clear lungs.", "Normal."), target=target)
    parts = build_messages(study, max_images=1).messages[0]["content"]
    assert parts[-1]["text"].endswith("COMPARISON: not given\n" + ASKED[target])
    findings = build_messages(replace(study, target=Target.FINDINGS), max_images=1)
    text = parts[-1]["text"].removesuffix(ASKED[target])
    assert findings.messages[0]["content"][-1]["text"] == text + ASKED[Target.FINDINGS]
    assert default_template(target).is_file()


def test_a_template_of_ones_own_sees_the_target(tmp_path: Path) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("<image>{{ target }}")
    study = replace(a_study("s", "Clear lungs.", "Normal."), target=Target.BOTH)
    prompt = build_messages(study, max_images=1, template=path)
    assert prompt.messages[0]["content"][-1]["text"] == "findings+impression"
