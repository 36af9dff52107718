"""Films that show one value everywhere are kept, counted and warned of."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from editgrpo.cli import app
from editgrpo.data.prepare import PrepareOptions, PrepareSummary, finish
from editgrpo.data.prepared import image_writer
from editgrpo.data.prepared.flow import BLANK_IMAGES, FlowKind
from editgrpo.data.prepared.image_jobs import ImageJob, fill_store, make_image
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.study import Split
from editgrpo.data.verify import ProblemKind, verify
from tests.builders import SMALL_BUDGET, bytes_of, noise
from tests.data.candidates import a_prior, a_study, an_image, candidates
from tests.data.pixels.dicom_files import dicom, ramp
from tests.data.pixels.png_files import RGB_ALPHA, png


def pillow_png(values: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def blank_files() -> dict[str, bytes]:
    film = ramp(12, height=40, width=40)
    hot = np.zeros((600, 600), np.uint8)
    hot[300, 300] = 200
    return {
        "one value": png(np.full((40, 40), 900), 0, 16),
        "all black": png(np.zeros((40, 40), np.uint8), 0, 8),
        "one colour": png(np.full((40, 40, 3), (9, 8, 7), np.uint8), 2, 8),
        "nothing opaque": png(np.stack([film, film, film, 0 * film], -1), RGB_ALPHA, 16),
        "black at the model's size": pillow_png(hot),
        "window above all values": dicom(film, WindowCenter=60_000, WindowWidth=100),
        "window below all values": dicom(film, WindowCenter=-900, WindowWidth=100),
        "slope 0": dicom(film, RescaleSlope=0, RescaleIntercept=7),
        "slope 0 and a window": dicom(film, RescaleSlope=0, WindowCenter=5, WindowWidth=9),
        "all padding": dicom(film * 0 + 5, PixelPaddingValue=5),
        "MONOCHROME1": dicom(film * 0, PhotometricInterpretation="MONOCHROME1"),
    }


BLANK = blank_files()


@pytest.mark.parametrize("kind", BLANK)
def test_a_film_of_one_value_is_blank(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(BLANK[kind])
    made = make_image(ImageJob("i", str(tmp_path / "a")), SMALL_BUDGET)
    assert (made.is_blank, made.problem) == (True, "")


def test_a_film_of_two_values_is_not_blank(tmp_path: Path) -> None:
    halves = np.repeat(np.array([7, 8], np.uint8), 200).reshape(20, 20)
    for image in (Image.fromarray(halves), Image.fromarray(np.stack([halves, halves * 0] * 2, -1))):
        image.convert("RGB").save(tmp_path / "a.png")
        assert not make_image(ImageJob("i", str(tmp_path / "a.png")), SMALL_BUDGET).is_blank


def prepared(folder: Path) -> PrepareSummary:
    """Prepare two blank images of training, one of them shown twice, and one of test."""
    studies = [
        a_study("s", an_image("blank 1"), an_image("a")),
        a_study("t", an_image("b"), a_prior("blank 1"), patient_id="s"),
        a_study("u", an_image("blank 2"), split=Split.TEST),
        a_study("v", an_image("c"), split=Split.TEST),
    ]
    source = candidates(folder / "root", studies)
    for name in ("blank 1", "blank 2"):
        Path(source.image_files[name]).write_bytes(BLANK["slope 0"])
    return finish(source, folder / "out", PrepareOptions(budget=SMALL_BUDGET, workers=1))


@pytest.mark.slow
def test_the_flow_counts_blank_images_that_are_shown(tmp_path: Path) -> None:
    row = prepared(tmp_path).flow.row(BLANK_IMAGES)
    assert (row.kind, row.counts) == (FlowKind.OF_KEPT, {Split.TRAIN: 2, Split.TEST: 1})
    assert "warning" in (tmp_path / "out" / "README.md").read_text()


def test_the_check_of_a_set_warns_of_each_and_calls_none_a_copy_of_the_other(
    tmp_path: Path,
) -> None:
    prepared(tmp_path)
    found = verify(tmp_path / "out", workers=1)
    warned = [problem.message for problem in found.warnings]
    assert {problem.kind for problem in found.warnings} == {ProblemKind.IMAGE_BLANK}
    assert ["blank 1" in warned[0], "blank 2" in warned[1], len(warned)] == [True, True, 2]


def test_a_set_without_blank_images_says_nothing_of_them(tmp_path: Path) -> None:
    source = candidates(tmp_path / "root", [a_study("s", an_image("a"))])
    flow = finish(source, tmp_path / "out", PrepareOptions(budget=SMALL_BUDGET, workers=1)).flow
    assert flow.count(BLANK_IMAGES) == 0
    assert b"editgrpo.blank" not in (tmp_path / "out" / "images" / "index.arrow").read_bytes()
    assert verify(tmp_path / "out", workers=1).problems == ()


def test_blank_images_of_an_interrupted_preparation_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_writer, "SHARD_IMAGES", 2)
    jobs = []
    for k in range(5):
        path = tmp_path / f"{k}"
        path.write_bytes(BLANK["slope 0"]) if k in (1, 4) else noise(40, 40).save(path, "PNG")
        jobs.append(ImageJob(f"i{k}", str(path)))
    fill_store(tmp_path / "whole", jobs, SMALL_BUDGET, workers=1)

    def stop(_stage: str, done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_store(tmp_path / "cut", jobs, SMALL_BUDGET, workers=1, progress=stop)
    fill_store(tmp_path / "cut", jobs, SMALL_BUDGET, workers=1)
    assert ImageStore.open(tmp_path / "cut").blank == {"i1", "i4"}
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_the_command_line_warns_in_preparation_and_check(tmp_path: Path) -> None:
    noise(40, 40).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(BLANK["one value"])
    table = "study_id,patient_id,split,findings,image\n1,1,train,Clear.,a.png\n"
    (tmp_path / "t.csv").write_text(f"{table}2,2,train,Clear.,b.png\n")
    out = str(tmp_path / "out")
    columns = ("study_id", "patient_id", "split", "findings", "image")
    options = [word for name in columns for word in ("--column", f"{name}={name}")]
    options += ["--output", out]
    said = CliRunner().invoke(app, ["prepare", "folder", str(tmp_path / "t.csv"), *options])
    assert said.exit_code == 0, said.output
    assert "Warning: 1 images are blank" in said.output
    assert BLANK_IMAGES in said.output
    checked = CliRunner().invoke(app, ["data", "check", out])
    assert checked.exit_code == 0
    assert "blank" in checked.output
