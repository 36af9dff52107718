"""Films that are dropped on the page: what they show, their view, and what is said of a bad one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.study import Timepoint, View
from editgrpo.errors import DataError
from editgrpo.page.films import Film, FilmPixels, read_film
from tests.builders import noise
from tests.data.pixels.dicom_files import dicom, ramp

NOW = Timepoint.CURRENT


@pytest.mark.parametrize(
    ("position", "view"),
    [("LL", View.LATERAL), ("AP", View.AP), ("", View.UNKNOWN), (None, View.UNKNOWN)],
)
def test_a_dicom_file_says_its_view(tmp_path: Path, position: str | None, view: View) -> None:
    path = tmp_path / "image"
    path.write_bytes(dicom(ramp(12), ViewPosition=position))
    film = read_film(path, "12345.dcm", NOW)
    assert film.view is view
    assert film.image.size == (23, 19)


def test_the_view_of_a_deflated_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "image"
    content = dicom(ramp(12), syntax=uid.DeflatedExplicitVRLittleEndian, ViewPosition="PA")
    path.write_bytes(content)
    assert read_film(path, "film.dcm", NOW).view is View.PA


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("lateral.png", View.LATERAL),
        ("chest PA.png", View.PA),
        ("1_IM-0001-3001.dcm.png", View.UNKNOWN),
    ],
)
def test_else_the_name_of_the_file_says_it(tmp_path: Path, name: str, view: View) -> None:
    path = tmp_path / "upload"
    noise(30, 40).save(path, "PNG")
    assert read_film(path, name, NOW).view is view


def test_sixteen_bits_are_shown_over_their_own_range(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    Image.fromarray(np.array([[1000, 2000], [3000, 5000]], np.uint16)).save(path)
    # (value - 1000) / 4000 of 255: 0, 63.75, 127.5, 255; numpy rounds halves to even.
    assert np.asarray(read_film(path, path.name, NOW).image).tolist() == [[0, 64], [128, 255]]


def test_a_damaged_file_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "af13bc"
    noise(60, 60).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError) as caught:
        read_film(path, "Left film.jpg", NOW)
    assert str(caught.value) == "Left film.jpg: image is truncated or damaged; get the file again"


def test_films_of_files_are_resized_and_those_of_a_set_are_not() -> None:
    budget = PixelBudget(min_pixels=56 * 56, max_pixels=56 * 56)
    small = Film(name="a", image=noise(28, 28), view=View.PA, timepoint=NOW, is_sized=True)
    large = Film(name="b", image=noise(112, 112), view=View.AP, timepoint=Timepoint.PRIOR)
    pixels = FilmPixels([small, large], budget)
    assert [pixels.size(image.image_id) for image in pixels.images] == [(28, 28), (56, 56)]
    assert [image.view for image in pixels.images] == [View.PA, View.AP]
    first = pixels.pixels("1")
    assert first.shape == (28, 28, 3)
    assert (first == np.asarray(small.image)[..., None]).all()


def test_a_film_that_is_a_strip_is_named() -> None:
    strip = Film(name="strip.png", image=noise(2, 900), view=View.PA, timepoint=NOW)
    with pytest.raises(DataError, match=r"strip\.png: is too long and thin"):
        FilmPixels([strip], PixelBudget())
