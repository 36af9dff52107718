from pathlib import Path

import pytest
from PIL.Image import Exif
from PIL.PngImagePlugin import PngInfo

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import image_jobs, image_writer
from editgrpo.data.prepared.image_jobs import ImageJob, fill_store, make_image
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.errors import DataError
from tests.builders import SMALL_BUDGET, bytes_of, noise, wait_until
from tests.data.faults import FAULTS, PNG, claiming


def write_jobs(folder: Path, count: int = 5) -> list[ImageJob]:
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for k in range(count):
        path = folder / f"{k}.png"
        noise(56, 56 + 28 * (k % 2), seed=k).save(path)
        jobs.append(ImageJob(f"i{k}", str(path)))
    return jobs


@pytest.mark.parametrize("fault", FAULTS)
def test_an_image_that_cannot_be_used_has_its_problem_in_a_phrase(
    tmp_path: Path, fault: str
) -> None:
    path = tmp_path / "a film; with, signs: in its name.png"
    path.write_bytes(FAULTS[fault])
    made = make_image(ImageJob("i", str(path)), SMALL_BUDGET)
    assert (made.image_id, made.png, made.height, made.width) == ("i", b"", 0, 0)
    assert 5 < len(made.problem) < 80
    assert "\n" not in made.problem
    assert "; " not in made.problem
    assert str(tmp_path) not in made.problem


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_of_all_sizes_share_one_problem(tmp_path: Path) -> None:
    """Each problem is a row of the flow: with sizes in it, there would be a row an image."""
    noise(1, 201).save(tmp_path / "a.png")
    noise(402, 2).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(claiming(9_000, 9_000))
    (tmp_path / "d.png").write_bytes(claiming(8_000, 20_000))
    problems = [
        make_image(ImageJob("i", str(tmp_path / f"{name}.png")), SMALL_BUDGET).problem
        for name in "abcd"
    ]
    assert problems == [
        *["is too long and thin"] * 2,
        *["has more than 80,000,000 pixels"] * 2,
    ]


def test_nothing_but_pixels_is_stored(tmp_path: Path) -> None:
    film, notes, exif = noise(56, 56), PngInfo(), Exif()
    notes.add_text("Description", "a name")
    exif[0x010E] = "a name"
    film.save(tmp_path / "plain.png")
    film.save(
        tmp_path / "more.png", pnginfo=notes, exif=exif, dpi=(99, 99), icc_profile=b"a name" * 50
    )
    plain, more = (
        make_image(ImageJob("i", str(tmp_path / name)), SMALL_BUDGET)
        for name in ("plain.png", "more.png")
    )
    assert plain == more


def test_a_missing_file_and_a_folder_in_its_place_are_problems(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name in ("absent", "folder", "loop"):
        assert make_image(ImageJob("i", str(tmp_path / f"{name}.png")), SMALL_BUDGET).problem


def test_the_first_file_that_exists_is_taken(tmp_path: Path) -> None:
    jobs = [
        ImageJob("i", str(tmp_path / "a"), suffixes) for suffixes in ((".dcm", ".png"), (".x",))
    ]
    noise(56, 56).save(tmp_path / "a.png")
    assert jobs[0].original() == tmp_path / "a.png"
    assert jobs[1].original() == tmp_path / "a.x"  # the one that the message should name
    assert not make_image(jobs[0], SMALL_BUDGET).problem
    assert ImageJob("i", str(tmp_path / "a.png")).original() == tmp_path / "a.png"


def test_a_file_name_need_not_be_utf_8(tmp_path: Path) -> None:
    path = Path(str(tmp_path / "b\udcffd.png"))
    try:
        path.write_bytes(PNG)
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    made = make_image(ImageJob("i", str(path)), SMALL_BUDGET)
    assert (made.height, made.width, made.problem) == (56, 56, "")


def test_problems_are_returned_and_the_rest_is_stored(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path / "in")
    Path(jobs[2].path).write_bytes(PNG[:100])
    Path(jobs[4].path).unlink()
    problems = fill_store(tmp_path / "out", jobs, SMALL_BUDGET, workers=1)
    assert sorted(problems) == ["i2", "i4"]
    assert list(ImageStore.open(tmp_path / "out")) == ["i0", "i1", "i3"]


@pytest.mark.slow
def test_the_number_of_processes_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_writer, "SHARD_IMAGES", 8)
    jobs = write_jobs(tmp_path / "in", 30)
    Path(jobs[9].path).write_bytes(b"")
    for workers in (1, 2):
        fill_store(tmp_path / str(workers), jobs, SMALL_BUDGET, workers=workers)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")


def test_progress_counts_every_image_once_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_writer, "SHARD_IMAGES", 2)
    jobs = write_jobs(tmp_path / "in")
    seen: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        assert stage == "Preparing images"
        seen.append((done, total))

    fill_store(tmp_path / "out", jobs, SMALL_BUDGET, workers=1, progress=progress)
    assert seen == [(k, 5) for k in range(1, 6)]
    (tmp_path / "out" / "images" / "shard-00002.arrow").unlink()
    seen.clear()
    fill_store(tmp_path / "out", jobs, SMALL_BUDGET, workers=1, progress=progress)
    assert seen == [(5, 5)]


def test_no_image_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = write_jobs(tmp_path / "in")
    fill_store(tmp_path / "out", jobs, SMALL_BUDGET, workers=1)
    before = bytes_of(tmp_path / "out")
    monkeypatch.setattr(image_jobs, "decode_image", None)
    assert fill_store(tmp_path / "out", jobs, SMALL_BUDGET, workers=1) == {}
    assert bytes_of(tmp_path / "out") == before


def test_a_set_without_images_writes_nothing(tmp_path: Path) -> None:
    assert fill_store(tmp_path / "out", [], SMALL_BUDGET, workers=2) == {}
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_writing_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    from multiprocessing import active_children

    monkeypatch.setattr(image_writer, "SHARD_IMAGES", 1)
    jobs = write_jobs(tmp_path / "in", 60)
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="out/images: cannot be written") as kept:
        fill_store(tmp_path / "out", jobs, SMALL_BUDGET, workers=workers)
    assert kept.value  # its traceback holds every frame
    assert wait_until(lambda: not active_children(), timeout_s=1)


@pytest.mark.parametrize(
    "budget",
    [
        PixelBudget(min_pixels=1, max_pixels=784),
        PixelBudget(min_pixels=20_000, max_pixels=30_000),
        PixelBudget(min_pixels=1_024, max_pixels=4_096, multiple_of=32),
    ],
)
def test_every_image_lies_inside_the_budget(tmp_path: Path, budget: PixelBudget) -> None:
    fill_store(tmp_path / "out", write_jobs(tmp_path / "in"), budget, workers=1)
    store = ImageStore.open(tmp_path / "out")
    for name in store:
        height, width = store.size(name)
        assert budget.min_pixels <= height * width <= budget.max_pixels
        assert height % budget.multiple_of == width % budget.multiple_of == 0
