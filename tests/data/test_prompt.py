import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from editgrpo.data import rendering
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# What a template asks for, and what is said of it. Each ends within the limit of time and memory.
BOMBS = {
    "range": ("{% for i in range(10**9) %}x{% endfor %}", "asks for too much"),
    "nested loops": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "is not done after 1 s",
    ),
    "product": ("{{ 'x' * 10**10 }}", "asks for too much"),
    "product of a section": ("{{ indication * 10**9 }}", "asks for too much"),
    "doubling": (
        "{% set all = namespace(x='x') %}{% for i in range(60) %}"
        "{% set all.x = all.x ~ all.x %}{% endfor %}",
        "(asks for too much|is not done)",
    ),
    "format": ("{{ '%1000000000d' % 1 }}", "asks for too much"),
    "method": ("{{ 'x'.ljust(10**10) }}", "asks for too much"),
    "filter": ("{{ 'x'|center(10**10) }}", "asks for too much"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "asks for too much"),
    "macros": (
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "is not done after 1 s",
    ),
    "brackets": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "asks for too much"),
    "constant": ("{{ 'x' * 30000000 }}", "(asks for too much|writes more than|is not done)"),
    "length": (
        "{% for i in range(200) %}{{ 'x' * 9000 }}{% endfor %}",
        "writes more than 200,000 char",
    ),
}


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the limit of time."""
    monkeypatch.setattr(rendering, "TIME_LIMIT_S", 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("template", "message"), BOMBS.values(), ids=BOMBS)
@pytest.mark.usefixtures("one_second")
def test_a_template_without_an_end_is_ended(tmp_path: Path, template: str, message: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("<image>" + template)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=rf"own\.jinja: {message}") as caught:
        build_messages(a_study(indication="secret"), max_images=1, template=path)
    assert time.monotonic() - start < 50
    assert "\n" not in str(caught.value)
    # The next template is not the worse for it, though it needs much of the memory.
    path.write_text("<image>{{ indication }}{% set a = indication * 40000000 %}")
    assert text_of(a_study(indication="Cough."), template=path) == "<image>Cough."


def _in_a_worker(path: Path) -> tuple[str, str]:
    """Render a good and a bad template, as a worker of a data loader would."""
    good = text_of(a_study(indication="Cough."), template=path.with_name("good.jinja"))
    try:
        build_messages(a_study(), max_images=1, template=path)
    except ConfigError as error:
        return good, str(error)
    return good, ""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_limits_hold_in_worker_processes(tmp_path: Path, method: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("{% for i in range(10**9) %}x{% endfor %}")
    path.with_name("good.jinja").write_text("<image>{{ indication }}")
    _in_a_worker(path)  # so that there is a process that a fork must not use
    with multiprocessing.get_context(method).Pool(2) as pool:
        for good, bad in pool.map(_in_a_worker, [path] * 4):
            assert good == "<image>Cough."
            assert "own.jinja: asks for too much" in bad
    assert _in_a_worker(path)[0] == "<image>Cough."  # ours is still there


@pytest.mark.slow
def test_limits_hold_in_threads(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}" / "own.jinja" for number in range(8)]
    for path in paths:
        path.parent.mkdir()
        path.write_text("{{ 'x' * 10**10 }}")
        path.with_name("good.jinja").write_text("<image>{{ indication }}")
    with ThreadPoolExecutor(4) as pool:
        for good, bad in pool.map(_in_a_worker, paths):
            assert good == "<image>Cough."
            assert "own.jinja: asks for too much" in bad


def test_a_renderer_that_somebody_ended_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("<image>{{ indication }}")
    assert text_of(a_study(indication="Cough."), template=path) == "<image>Cough."
    process = rendering._renderer._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert text_of(a_study(indication="Fever."), template=path) == "<image>Fever."


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [
        "{{ images[indication] }}",
        "{{ {}[indication] }}",
        "{{ indication|attr(indication) }}",
        "{% include indication %}",
        "{{ indication.encode('ascii') }}",
        "{{ indication.index(comparison) }}",
        "{{ indication() }}",
        "{{ indication|int + indication }}",
        "{{ {indication: 1}.pop(comparison) }}",
        "{{ ''|format(indication) }}",
        "{{ indication|map(indication)|list }}",
        "{{ namespace(**{indication: 1})[comparison] }}",
        "{{ dict(**{indication: 1}).x }}",
    ],
)
def test_the_message_about_a_template_holds_no_section(tmp_path: Path, template: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("<image>" + template)
    study = a_study(indication="canary\u00e4 sings", comparison="linnet rests")
    with pytest.raises((ConfigError, DataError), match=r"own\.jinja") as caught:
        build_messages(study, max_images=1, template=path)
    for word in ("canary", "sings", "linnet", "rests"):
        assert word not in str(caught.value)


def test_a_template_is_a_file_of_a_sensible_size(tmp_path: Path) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("x" * 2_000_000)
    with pytest.raises(ConfigError, match=r"own\.jinja: is no file, or larger than 1,000,000"):
        build_messages(a_study(), max_images=1, template=path)
    with pytest.raises(ConfigError, match=r"/dev/zero: is no file"):
        build_messages(a_study(), max_images=1, template="/dev/zero")


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.jinja: the prompt template cannot be read"):
        build_messages(a_study(), max_images=1, template=tmp_path / "absent.jinja")


def test_a_study_without_images_gives_text_alone() -> None:
    study = Study(study_id="s", patient_id="p", split=Split.TEST, images=())
    prompt = build_messages(study, max_images=2)
    assert prompt.images == ()
    assert [part["type"] for part in prompt.messages[0]["content"]] == ["text"]
