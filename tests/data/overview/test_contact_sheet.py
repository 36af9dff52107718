"""Contact sheets: every pixel of the images, in the order of the prompt, and texts that fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from editgrpo.data.overview import contact_sheet as sheet_module
from editgrpo.data.overview.contact_sheet import contact_sheet, prompt_text
from editgrpo.data.overview.lettering import font, wrap
from editgrpo.data.overview.lookup import find_study, similar_ids
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import write_set

SPANISH = "áéíóúüñÁÉÍÓÚÜÑ¿¡ºª"
_WIDTH = 1600


def noise(seed: int, height: int = 56, width: int = 56) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return Image.fromarray(pixels)


def image(image_id: str, view: View, timepoint: Timepoint = Timepoint.CURRENT) -> StudyImage:
    return StudyImage(image_id=image_id, view=view, timepoint=timepoint)


SIX = tuple(image(f"six-{k}", View.PA) for k in range(6))
STUDIES = [
    Study(
        study_id="s1",
        patient_id="p1",
        split=Split.TRAIN,
        # Shown as front, side, old: the order of the prompt, not of the file.
        images=(
            image("side", View.LATERAL),
            image("front", View.PA),
            image("old", View.AP, Timepoint.PRIOR),
        ),
        time="2150-01-12T08:30:15.25",
        prior_study_id="s0",
        prior_time="2150-01-02T08:30:15.25",
        indication="Tos y fiebre; ¿neumonía?",
        findings="Corazón de tamaño normal.\nSin derrame.",
    ),
    Study(study_id="s2", patient_id="p2", split=Split.TEST, images=(image("one", View.PA),)),
    Study(study_id="s3", patient_id="p3", split=Split.TEST, images=SIX, time="3.5"),
    Study(study_id="s4", patient_id="p4", split=Split.TEST, images=(), findings="Edema."),
]
IDS = [one.image_id for study in STUDIES for one in study.images]
FILMS = {name: noise(seed) for seed, name in enumerate(IDS)}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> StudySet:
    return StudySet.load(write_set(tmp_path_factory.mktemp("sheets") / "set", STUDIES, FILMS))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that are put on sheets."""
    texts: list[str] = []

    def recorded(text: str, *rest: Any) -> list[str]:
        texts.append(text)
        return wrap(text, *rest)

    monkeypatch.setattr(sheet_module, "wrap", recorded)
    return texts


def places(sheet: Image.Image, film: Image.Image) -> list[tuple[int, int]]:
    """Return (top, left) wherever every pixel of a film stands in a sheet."""
    page = np.asarray(sheet)
    block = np.asarray(film.convert("RGB"))
    height, width = block.shape[:2]
    corner: NDArray[np.bool_] = np.ones((page.shape[0], page.shape[1] - width + 1), dtype=bool)
    for k in range(8):
        end = page.shape[1] - width + 1 + k
        corner &= (page[:, k:end] == block[0, k]).all(axis=2)
    return [
        (int(top), int(left))
        for top, left in np.argwhere(corner)
        if (page[top : top + height, left : left + width] == block).all()
    ]


def sheet_of(studies: StudySet, study_id: str, **options: Any) -> Image.Image:
    return contact_sheet(
        find_study(studies, study_id), studies.images, **{"max_images": 6, **options}
    )


@pytest.mark.slow
def test_every_image_stands_in_the_sheet_in_the_order_of_the_prompt(studies: StudySet) -> None:
    sheet = sheet_of(studies, "s1")
    ((front_top, front_left),) = places(sheet, FILMS["front"])
    ((side_top, side_left),) = places(sheet, FILMS["side"])
    ((old_top, old_left),) = places(sheet, FILMS["old"])
    assert front_top == side_top < old_top, "prior images stand below the current ones"
    assert front_left < side_left, "the frontal image comes first"
    assert old_left == front_left


def test_a_sheet_is_as_wide_as_all_and_as_tall_as_it_needs(studies: StudySet) -> None:
    sheets = [sheet_of(studies, name) for name in ("s1", "s2", "s3", "s4")]
    assert {sheet.width for sheet in sheets} == {_WIDTH}
    assert {sheet.mode for sheet in sheets} == {"RGB"}
    with_prior, one_image, six_images, no_image = (sheet.height for sheet in sheets)
    assert with_prior > one_image > no_image
    assert six_images > one_image, "six images take two rows"


@pytest.mark.slow
def test_two_studies_give_two_sheets_and_one_study_always_the_same(studies: StudySet) -> None:
    first, again, other = (sheet_of(studies, name) for name in ("s1", "s1", "s2"))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert places(other, FILMS["front"]) == []


def test_times_prior_prompt_and_reference_are_written(
    studies: StudySet, written: list[str]
) -> None:
    sheet_of(studies, "s1")
    assert "s1" in written
    assert "Patient p1 · train" in written
    assert "Current study · 2150-01-12 08:30:15" in written
    assert "Prior study s0 · 2150-01-02 08:30:15, 10 days before" in written
    assert "Image 1 · PA · 56 × 56" in written
    assert "Image 3 · AP · 56 × 56" in written
    assert STUDIES[0].findings in written
    prompt = next(text for text in written if "INDICATION" in text)
    assert prompt == prompt_text(build_messages(STUDIES[0], max_images=6))
    assert prompt.startswith("Image 1 (current, PA): [image 1]\n")


def test_a_time_in_days_and_one_that_is_not_given_are_named(
    studies: StudySet, written: list[str]
) -> None:
    sheet_of(studies, "s3")
    sheet_of(studies, "s2")
    assert "Current study · day 3.5" in written
    assert "Current study · time not given" in written
    assert "not given" in written, "a study without findings has no reference"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("time", "prior_time", "shown"),
    [
        ("2150-01-02T08:00:00", "2150-01-01T08:00:00", "2150-01-01 08:00:00, 1 day before"),
        ("2150-01-02T07:00:00", "2150-01-01T08:00:00", "2150-01-01 08:00:00, 23 hours before"),
        ("2150-01-01T09:00:00", "2150-01-01T08:00:00", "2150-01-01 08:00:00, 1 hour before"),
        ("2150-01-01T21:00:00", "2150-01-01T16:00:00", "2150-01-01 16:00:00, 5 hours before"),
        ("2150-01-01T08:59:00", "2150-01-01T08:00:00", "2150-01-01 08:00:00, under an hour before"),
        ("2150-01-01", "2145-01-01", "2145-01-01, 1,826 days before"),  # 5 * 365 and one leap day
        ("3.5", "1", "day 1, 2 days before"),
        ("29889.9", "29887.28801836806", "day 29,887.29, 2 days before"),
        ("3.5", "", "time not given"),
    ],
)
def test_the_time_since_the_prior_is_told(
    studies: StudySet, written: list[str], time: str, prior_time: str, shown: str
) -> None:
    study = replace(STUDIES[0], time=time, prior_time=prior_time)
    contact_sheet(study, studies.images, max_images=6)
    assert f"Prior study s0 · {shown}" in written


@pytest.mark.slow
def test_images_over_the_limit_are_shown_and_named(studies: StudySet, written: list[str]) -> None:
    sheet = sheet_of(studies, "s1", max_images=2)
    assert len(places(sheet, FILMS["old"])) == 1
    assert "AP · 56 × 56\nnot in the prompt: over 2 images" in written
    prompt = next(text for text in written if "INDICATION" in text)
    assert "[image 2]" in prompt
    assert "[image 3]" not in prompt


def test_a_study_without_images_says_so(studies: StudySet, written: list[str]) -> None:
    sheet_of(studies, "s4")
    assert "no images" in written


def test_the_template_of_the_run_is_shown(
    studies: StudySet, written: list[str], tmp_path: Path
) -> None:
    template = tmp_path / "short.jinja"
    template.write_text("{% for image in images %}<image>{% endfor %} Findings:")
    sheet_of(studies, "s1", template=template)
    assert "[image 1][image 2][image 3] Findings:" in written


def test_a_wrong_template_is_the_prompts_own_error(studies: StudySet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        sheet_of(studies, "s1", template=tmp_path / "none.jinja")


WIDE, NARROW = (336, 1176), (1176, 336)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [
        [(504, 756)],
        [(504, 756), (756, 504)],
        [(504, 756), (756, 504), (616, 616)],
        [WIDE, WIDE, WIDE, NARROW],
        [NARROW, NARROW, NARROW, WIDE],
        [(504, 756), (756, 504), (616, 616), WIDE, NARROW],
        [(504, 756), (756, 504), (616, 616), WIDE, NARROW, (560, 672)],
    ],
)
def test_large_images_of_any_shape_are_whole(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    # Reds that no letter has.
    colours = [(200, 12 * k, 30) for k in range(len(sizes))]
    films = {
        str(k): Image.new("RGB", (width, height), colours[k])
        for k, (height, width) in enumerate(sizes)
    }
    views = tuple(image(name, View.PA) for name in films)
    study = Study(study_id="s", patient_id="p", split=Split.TEST, images=views)
    folder = write_set(tmp_path / "set", [study], films, budget=PixelBudget())
    studies = StudySet.load(folder)
    page = np.asarray(sheet_of(studies, "s"))
    assert (page[:, -40:] == 255).all(), "the right margin is free"
    assert (page[-40:] == 255).all(), "the lower margin is free"
    scales = []
    for name, colour in zip(films, colours, strict=True):
        rows, columns = np.nonzero((page == colour).all(axis=2))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width, "another image lies over it"
        stored_height, stored_width = studies.images.size(name)
        assert height / stored_height == pytest.approx(width / stored_width, abs=0.01)
        scales.append(width / stored_width)
    assert scales == pytest.approx([scales[0]] * len(scales), abs=0.01)
    assert 0.2 < scales[0] <= 1


def test_the_fonts_have_the_letters_of_spanish_reports() -> None:
    for bold in (False, True):
        face = font(20, bold=bold)
        absent = bytes(face.getmask("\U0001f600"))
        for letter in SPANISH + "–—≥≤±×µ½°“”’…":
            assert bytes(face.getmask(letter)) != absent, letter


@given(st.text(alphabet="abc défñ\n", max_size=200), st.integers(40, 400))
def test_wrapped_lines_fit_and_lose_no_letter(text: str, width: int) -> None:
    face = font(20)
    lines = wrap(text, face, width)
    assert all(face.getlength(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_line_ends_are_kept_and_words_stay_whole() -> None:
    assert wrap("one  two\nthree", font(20), 1000) == ["one two", "three"]
    assert wrap("small effusion", font(20), 100) == ["small", "effusion"]
    long = wrap("aaaaaaaaaaaaaaaaaaaa", font(20), 100)
    assert len(long) > 1
    assert "".join(long) == "a" * 20


def test_an_id_is_found_and_a_mistyped_one_named(studies: StudySet) -> None:
    assert find_study(studies, "s2") == STUDIES[1]
    with pytest.raises(DataError, match=r"has no study 's22'; did you mean 's2'"):
        find_study(studies, "s22")
    with pytest.raises(DataError, match=r"has no study 'zz'; give an id of the set, such as 's1'"):
        find_study(studies, "zz")


def test_why_a_study_is_not_in_the_set_is_said(studies: StudySet, tmp_path: Path) -> None:
    folder = shutil.copytree(studies.folder, tmp_path / "set")
    row = {"study_id": "s9", "image": None, "reason": "no findings", "split": "train"}
    (folder / "rejected.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"study 's9' was left out \(no findings\)"):
        find_study(StudySet.load(folder), "s9")
    account = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps(account | {"redaction": "0f"}))
    with pytest.raises(DataError, match=r"'zz'; its ids are replaced \(--redact-ids\), give an id"):
        find_study(StudySet.load(folder), "zz")


IDS_OF_A_LARGE_SET = [f"s{50_000_000 + 37 * k}" for k in range(50_000)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed",
    ["50000370", "s5000037", "S50000370", "s50000371", "s5000o370", "s500003700", "x50000370"],
)
def test_a_slip_in_an_id_is_understood(typed: str) -> None:
    found = similar_ids(typed, IDS_OF_A_LARGE_SET)
    assert "s50000370" in found
    assert len(found) <= 3


def test_the_impression_is_shown_where_there_is_one(studies: StudySet, written: list[str]) -> None:
    contact_sheet(studies[0], studies.images, max_images=6)
    assert not any("Impression" in text for text in written)
    contact_sheet(replace(studies[0], impression="Sin cambios."), studies.images, max_images=6)
    assert written[-2:] == ["Impression, not trained on", "Sin cambios."]
