from pathlib import Path

import pytest

from editgrpo.data.prompt import build_messages, choose_images
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import ConfigError, DataError

PRIOR = Timepoint.PRIOR


def image(name: str, view: View, timepoint: Timepoint = Timepoint.CURRENT) -> StudyImage:
    return StudyImage(image_id=name, view=view, timepoint=timepoint)


def a_study(*images: StudyImage, indication: str = "", comparison: str = "") -> Study:
    return Study(
        study_id="s1",
        patient_id="p1",
        split=Split.TRAIN,
        images=images or (image("a", View.PA),),
        indication=indication,
        comparison=comparison,
        findings="Small left effusion.",
        impression="Left effusion, new.",
    )


def text_of(study: Study, **options: object) -> str:
    """The prompt as one text in which <image> stands for an image part."""
    parts = build_messages(study, **({"max_images": 6} | options)).messages[0]["content"]
    return "".join(part.get("text", "<image>") for part in parts)


def test_the_prompt_holds_views_sections_and_the_task_and_nothing_else() -> None:
    study = a_study(
        image("l", View.LATERAL),
        image("f", View.PA),
        image("p", View.AP, PRIOR),
        indication="Cough for a week.",
    )
    assert text_of(study) == (
        "Image 1 (current, PA): <image>\n"
        "Image 2 (current, lateral): <image>\n"
        "Image 3 (prior, AP): <image>\n"
        "INDICATION: Cough for a week.\n"
        "TECHNIQUE: not given\n"
        "COMPARISON: not given\n"
        "Write the FINDINGS of the current chest X-ray study as plain text, without headings."
    )


def test_image_parts_and_images_have_the_same_order() -> None:
    study = a_study(image("l", View.LATERAL), image("f", View.PA))
    prompt = build_messages(study, max_images=6)
    assert [shown.image_id for shown in prompt.images] == ["f", "l"]
    (message,) = prompt.messages
    assert message["role"] == "user"
    assert [part["type"] for part in message["content"]] == [
        "text",
        "image",
        "text",
        "image",
        "text",
    ]


def test_findings_and_impression_never_reach_a_template(tmp_path: Path) -> None:
    assert "ffusion" not in text_of(a_study())
    template = tmp_path / "leak.jinja"
    for name in ("findings", "impression", "study", "patient_id"):
        template.write_text("<image>{{ " + name + " }}")
        with pytest.raises(ConfigError, match=f"leak.jinja: '{name}' is undefined"):
            text_of(a_study(), template=template)


@pytest.mark.parametrize(
    ("max_images", "expected"),
    [(1, "b"), (2, "bd"), (3, "bde"), (4, "bdea"), (5, "bdeac"), (9, "bdeac")],
)
def test_current_and_frontal_images_are_chosen_first(max_images: int, expected: str) -> None:
    images = (
        image("a", View.LATERAL, PRIOR),
        image("b", View.AP),
        image("c", View.OBLIQUE, PRIOR),
        image("d", View.FRONTAL),  # as frontal as AP: keeps its place behind b
        image("e", View.LATERAL),
    )
    # Current: b and d frontal, then e; prior: lateral a, then oblique c.
    chosen = choose_images(a_study(*images), max_images=max_images)
    assert "".join(picked.image_id for picked in chosen) == expected


def test_no_image_may_be_asked_for_less_than_once() -> None:
    with pytest.raises(ConfigError, match="max_images is 0"):
        build_messages(a_study(), max_images=0)


def test_a_template_decides_where_images_stand(tmp_path: Path) -> None:
    template = tmp_path / "own.jinja"
    template.write_text(
        "{{ comparison }} first{% for image in images %} <image>{{ image.number }}{% endfor %}"
    )
    study = a_study(image("a", View.PA), image("b", View.LATERAL), comparison="None.")
    assert text_of(study, template=template) == "None. first <image>1 <image>2"
    template.write_text("changed <image><image>")
    assert text_of(study, template=str(template)) == "changed <image><image>"


def test_markers_that_do_not_match_the_images_name_the_study(tmp_path: Path) -> None:
    template = tmp_path / "own.jinja"
    template.write_text("<image>")
    two = a_study(image("a", View.PA), image("b", View.LATERAL))
    with pytest.raises(DataError, match=r"study 's1': .*own.jinja writes <image> 1 times for 2"):
        build_messages(two, max_images=2, template=template)


@pytest.mark.parametrize("text", ["see <image>", "a <|image_pad|> b", "<|im_end|>"])
def test_a_section_cannot_smuggle_in_images_or_special_tokens(text: str) -> None:
    with pytest.raises(DataError, match="study 's1': field 'indication'") as caught:
        build_messages(a_study(indication=text), max_images=1)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("<image>{% if %}", "own.jinja:1: "),
        ("<image>\n{{ indicaton }}", "own.jinja: 'indicaton' is undefined"),
        ("{% for image in images %}{{ image.veiw }}{% endfor %}", "has no attribute 'veiw'"),
        ("<image>{{ indication.__class__.__mro__ }}", "own.jinja: .*unsafe"),
        ("{% include 'other.jinja' %}", "own.jinja: "),
    ],
)
def test_a_faulty_template_is_named(tmp_path: Path, template: str, message: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text(template)
    with pytest.raises(ConfigError, match=message) as caught:
        build_messages(a_study(), max_images=1, template=path)
    assert "\n" not in str(caught.value)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.jinja: the prompt template cannot be read"):
        build_messages(a_study(), max_images=1, template=tmp_path / "absent.jinja")


def test_a_study_without_images_gives_text_alone() -> None:
    study = Study(study_id="s", patient_id="p", split=Split.TEST, images=())
    prompt = build_messages(study, max_images=2)
    assert prompt.images == ()
    assert [part["type"] for part in prompt.messages[0]["content"]] == ["text"]
