import hashlib
import json
import pickle
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from editgrpo.data.pixels.decode import MAX_SOURCE_PIXELS
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared import image_writer
from editgrpo.data.prepared.arrow_files import read_arrow, write_arrow
from editgrpo.data.prepared.image_jobs import encode_image
from editgrpo.data.prepared.image_store import INDEX_SCHEMA, ImageStore
from editgrpo.data.prepared.image_writer import ImageStoreWriter, StoredImage
from editgrpo.errors import DataError
from tests.builders import bytes_of, noise

BUDGET = PixelBudget(min_pixels=1_000, max_pixels=112 * 112)


@pytest.fixture
def shards_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_writer, "SHARD_IMAGES", 3)


def an_image(k: int) -> StoredImage:
    """Return the k-th image; every third is in colour, and no two have the same bytes."""
    return encode_image(
        f"image {k}", noise(30 + 7 * k, 60, channels=3 if k % 3 == 0 else None, seed=k), BUDGET
    )


def a_problem(k: int) -> StoredImage:
    return StoredImage(image_id=f"image {k}", problem="is truncated")


def write(folder: Path, images: list[StoredImage]) -> dict[str, str]:
    writer = ImageStoreWriter(folder, [image.image_id for image in images])
    for image in images[writer.done :]:
        writer.add(image)
    return writer.finish()


@pytest.mark.usefixtures("shards_of_three")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_what_was_put_in_comes_out_by_id(tmp_path: Path, count: int) -> None:
    images = [an_image(k) for k in range(count)]
    assert write(tmp_path, images) == {}
    store = ImageStore.open(tmp_path)
    assert list(store) == [image.image_id for image in images]
    assert [store.png(image.image_id) for image in reversed(images)] == [
        image.png for image in reversed(images)
    ]
    assert [store.size(image.image_id) for image in images] == [
        (image.height, image.width) for image in images
    ]
    # Three a shard: ceil(count / 3) files.
    assert len(list((tmp_path / "images").glob("shard-*"))) == -(-count // 3)


def test_a_batch_has_room_for_the_largest_images(tmp_path: Path) -> None:
    images = [an_image(k % 4) for k in range(20)]
    images = [replace(image, image_id=str(k)) for k, image in enumerate(images)]
    write(tmp_path, images)
    with pa.ipc.open_stream(tmp_path / "images" / "shard-00000.arrow") as stream:
        sizes = [batch.num_rows for batch in stream]
    assert sizes == [8, 8, 4]
    assert max(sizes) * 3 * MAX_SOURCE_PIXELS < 2**31  # what Arrow's offsets can say
    store = ImageStore.open(tmp_path)
    assert [store.png(image.image_id) for image in images] == [image.png for image in images]


def test_images_are_png_at_their_stated_size(tmp_path: Path) -> None:
    write(tmp_path, [an_image(0), an_image(1)])
    store = ImageStore.open(tmp_path)
    colour, grey = store.load("image 0"), store.load("image 1")
    assert (colour.mode, colour.format) == ("RGB", "PNG")
    assert (grey.mode, grey.format) == ("L", "PNG")
    assert store.size("image 1") == (grey.height, grey.width)


def test_pixels_have_three_channels_and_cannot_be_changed(tmp_path: Path) -> None:
    # 90 / 28 = 3.2 and 60 / 28 = 2.1 round to 3 and 2: 84 x 56 lies inside the budget.
    write(tmp_path, [encode_image("a", noise(90, 60), BUDGET)])
    pixels = ImageStore.open(tmp_path).pixels("a")
    assert (pixels.shape, pixels.dtype) == ((84, 56, 3), np.uint8)
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def test_membership_and_length_count_the_usable_images(tmp_path: Path) -> None:
    problems = write(tmp_path, [an_image(0), a_problem(1), an_image(2)])
    store = ImageStore.open(tmp_path)
    assert problems == {"image 1": "is truncated"}
    assert len(store) == 2
    assert [name in store for name in ("image 0", "image 1", 0)] == [True, False, False]


@pytest.mark.parametrize("ask", [ImageStore.png, ImageStore.load, ImageStore.pixels])
def test_an_unknown_image_is_named(tmp_path: Path, ask: Callable[..., object]) -> None:
    write(tmp_path, [an_image(0)])
    with pytest.raises(DataError, match=r"images: holds no image 'other'; run `editgrpo"):
        ask(ImageStore.open(tmp_path), "other")


def test_a_set_without_images_has_an_empty_store(tmp_path: Path) -> None:
    assert write(tmp_path, []) == {}
    store = ImageStore.open(tmp_path)
    assert (len(store), list(store), "a" in store) == (0, [], False)


@pytest.mark.usefixtures("shards_of_three")
def test_a_shard_of_unusable_images_alone_is_whole(tmp_path: Path) -> None:
    images = [*(a_problem(k) for k in range(3)), an_image(3), a_problem(4)]
    problems = write(tmp_path, images)
    assert problems == {f"image {k}": "is truncated" for k in (0, 1, 2, 4)}
    assert ImageStore.open(tmp_path).png("image 3") == images[3].png
    assert ImageStoreWriter(tmp_path, [image.image_id for image in images]).done == 5


def test_pixels_used_last_stay_in_memory(tmp_path: Path) -> None:
    write(tmp_path, [encode_image(name, noise(84, 56), BUDGET) for name in "abc"])
    # An image takes 84 * 56 * 3 = 14,112 bytes: two fit, three do not.
    store = ImageStore.open(tmp_path, memory_bytes=3 * 14_112 - 1)
    first, second = store.pixels("a"), store.pixels("b")
    assert store.pixels("a") is first
    store.pixels("c")  # the second falls out, as the first was used after it
    assert store.pixels("a") is first
    assert store.pixels("b") is not second


@pytest.mark.parametrize(("memory_bytes", "is_kept"), [(0, False), (14_111, False), (14_112, True)])
def test_an_image_is_kept_where_it_fits(tmp_path: Path, memory_bytes: int, is_kept: bool) -> None:
    write(tmp_path, [encode_image("a", noise(84, 56), BUDGET)])
    store = ImageStore.open(tmp_path, memory_bytes=memory_bytes)
    assert (store.pixels("a") is store.pixels("a")) is is_kept


def test_memory_does_not_grow_with_the_images_seen(tmp_path: Path) -> None:
    # An image takes 112 * 112 * 3 = 37,632 bytes: ten of thirty fit.
    write(tmp_path, [encode_image(f"i{k}", noise(112, 112, seed=k), BUDGET) for k in range(30)])
    store = ImageStore.open(tmp_path, memory_bytes=10 * 37_632)
    alive = [weakref.ref(store.pixels(name)) for name in store]
    assert [seen() is not None for seen in alive] == [False] * 20 + [True] * 10


def test_an_open_store_maps_no_shard(tmp_path: Path) -> None:
    write(tmp_path, [an_image(k) for k in range(4)])
    store = ImageStore.open(tmp_path)
    for name in store:
        store.pixels(name)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc")
    assert str(tmp_path / "images" / "shard") not in maps.read_text()


def shard(folder: Path, number: int = 0) -> Path:
    return folder / "images" / f"shard-{number:05d}.arrow"


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write(tmp_path, [an_image(0)])
    store = ImageStore.open(tmp_path)
    shard(tmp_path).unlink()
    with pytest.raises(DataError, match=r"shard-00000\.arrow: .*[Nn]o such file.*; restore") as e:
        store.png("image 0")
    assert "\n" not in str(e.value)


def test_a_shard_that_is_cut_short_is_named(tmp_path: Path) -> None:
    write(tmp_path, [an_image(k) for k in range(3)])
    store = ImageStore.open(tmp_path)
    content = shard(tmp_path).read_bytes()
    last = content.rindex(store.png("image 2"))
    shard(tmp_path).write_bytes(content[: last + 100])
    assert store.png("image 0") == an_image(0).png
    with pytest.raises(DataError, match=r"shard-00000\.arrow: is cut short; restore"):
        store.png("image 2")


@pytest.mark.parametrize("position", [0, 5, 20, 60, 200, -20])
def test_a_damaged_image_is_named_by_its_id(tmp_path: Path, position: int) -> None:
    write(tmp_path, [encode_image("a", noise(84, 56), BUDGET)])
    store = ImageStore.open(tmp_path)
    content, png = bytearray(shard(tmp_path).read_bytes()), store.png("a")
    content[content.index(png) + position % len(png)] ^= 0xFF
    shard(tmp_path).write_bytes(content)
    for ask in (store.load, store.pixels):
        with pytest.raises(DataError, match=r"shard-00000|'a'") as caught:
            ask("a")
        assert "\n" not in str(caught.value)


def test_an_index_that_is_lost_or_damaged_is_named(tmp_path: Path) -> None:
    write(tmp_path, [an_image(0)])
    index = tmp_path / "images" / "index.arrow"
    content = index.read_bytes()
    for damaged in (b"", content[:40], content[:-8], b"x" + content):
        index.write_bytes(damaged)
        with pytest.raises(DataError, match=r"index\.arrow: .*(damaged|cut short).*; restore"):
            ImageStore.open(tmp_path)
    index.unlink()
    with pytest.raises(DataError, match=r"index\.arrow: .*; restore it or prepare the set again"):
        ImageStore.open(tmp_path)
    with_gap = dict.fromkeys(INDEX_SCHEMA.names, 1) | {"image_id": "a", "offset": None}
    for other in (
        pa.table({"image_id": ["a"]}),
        pa.Table.from_pylist([with_gap], INDEX_SCHEMA),
    ):
        write_arrow(index, other)
        with pytest.raises(DataError, match="is not the index of an image store; prepare"):
            ImageStore.open(tmp_path)


def test_a_changed_bit_of_the_index_gives_an_error_or_a_true_image(tmp_path: Path) -> None:
    images = {image.image_id: image for image in (an_image(k) for k in range(3))}
    write(tmp_path, list(images.values()))
    index = tmp_path / "images" / "index.arrow"
    content = index.read_bytes()
    refused = 0
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        index.unlink()  # another file each time: what is mapped must not change
        index.write_bytes(changed)
        try:
            store = ImageStore.open(tmp_path)
            for name in store:
                store.load(name)
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


@pytest.mark.usefixtures("shards_of_three")
def test_datasets_opens_the_shards_as_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    images = [an_image(k) for k in range(4)]
    write(tmp_path, images)
    table = datasets.load_dataset(
        "arrow",
        data_files=[str(shard(tmp_path, k)) for k in (0, 1)],
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    store = ImageStore.open(tmp_path)
    assert table.features["image"] == datasets.Image()
    assert table["image_id"] == list(store)
    for row in table:
        assert np.array_equal(np.asarray(row["image"]), np.asarray(store.load(row["image_id"])))
        assert (row["height"], row["width"]) == store.size(row["image_id"])


@pytest.mark.usefixtures("shards_of_three")
def test_the_index_says_where_in_which_file_an_image_lies(tmp_path: Path) -> None:
    images = [an_image(k) for k in range(5)]
    write(tmp_path, images)
    rows = read_arrow(tmp_path / "images" / "index.arrow").to_pylist()
    assert [row["shard"] for row in rows] == [0, 0, 0, 1, 1]
    for row, image in zip(rows, images, strict=True):
        content = shard(tmp_path, row["shard"]).read_bytes()
        assert content[row["offset"] : row["offset"] + row["length"]] == image.png


def test_a_store_is_pickled_by_its_place(tmp_path: Path) -> None:
    write(tmp_path, [an_image(k) for k in range(40)])
    store = ImageStore.open(tmp_path, memory_bytes=10**6)
    store.pixels("image 0")
    content = pickle.dumps(store)
    assert len(content) < 1_000
    again = pickle.loads(content)
    assert list(again) == list(store)
    assert again.pixels("image 3") is again.pixels("image 3")  # it keeps as much in memory


def test_a_store_that_was_replaced_is_not_mistaken_for_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, [an_image(0)])
    content = pickle.dumps(ImageStore.open(tmp_path))
    shard(tmp_path).unlink()
    write(tmp_path, [an_image(1)])
    with pytest.raises(DataError, match=r"index\.arrow: was replaced since it was opened; load"):
        pickle.loads(content)


@pytest.mark.slow
def test_several_processes_read_at_once(tmp_path: Path) -> None:
    images = [an_image(k) for k in range(30)]
    write(tmp_path, images)
    expected = [hashlib.sha256(image.png).digest() for image in images]
    # Functions of libraries alone: the processes need not load the tests.
    read = partial(ImageStore.png, ImageStore.open(tmp_path))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        contents = pool.map(read, [image.image_id for image in images] * 4)
        assert [hashlib.sha256(content).digest() for content in contents] == expected * 4


@pytest.mark.usefixtures("shards_of_three")
def test_writing_continues_behind_the_last_whole_shard(tmp_path: Path) -> None:
    images = [an_image(k) if k != 4 else a_problem(4) for k in range(8)]
    write(tmp_path / "whole", images)
    names = [image.image_id for image in images]
    writer = ImageStoreWriter(tmp_path / "cut", names)
    for image in images[:7]:  # two shards, and one image that is lost
        writer.add(image)
    again = ImageStoreWriter(tmp_path / "cut", names)
    assert (again.done, again.total) == (6, 8)
    for image in images[6:]:
        again.add(image)
    assert again.finish() == {"image 4": "is truncated"}
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


@pytest.mark.usefixtures("shards_of_three")
@pytest.mark.parametrize(
    ("damage", "safe"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), 3),
        (lambda path: path.write_bytes(b""), 3),
        (lambda path: path.unlink(), 3),
        (lambda path: path.write_bytes(path.with_name("shard-00000.arrow").read_bytes()), 3),
    ],
)
def test_a_shard_that_is_not_what_it_should_be_is_made_again(
    tmp_path: Path, damage: Callable[[Path], object], safe: int
) -> None:
    images = [an_image(k) for k in range(7)]
    write(tmp_path, images)
    before = bytes_of(tmp_path)
    damage(shard(tmp_path, 1))
    assert ImageStoreWriter(tmp_path, [image.image_id for image in images]).done == safe
    write(tmp_path, images)
    assert bytes_of(tmp_path) == before


def test_problems_stand_in_the_shard(tmp_path: Path) -> None:
    write(tmp_path, [an_image(0), a_problem(1)])
    metadata = read_arrow(shard(tmp_path)).schema.metadata
    assert json.loads(metadata[b"editgrpo.problems"]) == {"image 1": "is truncated"}


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("")
    with pytest.raises(DataError, match=r"images: cannot be written .*; choose another folder"):
        write(tmp_path, [an_image(0)])


def test_images_of_any_size_are_found_in_one_shard(tmp_path: Path) -> None:
    # PNG lengths that are no multiples of 8: Arrow pads buffers, not values.
    images = [
        encode_image(
            f"i{k}",
            Image.new("L", (28, 28 * (k + 1)), k),
            PixelBudget(min_pixels=1, max_pixels=10**6),
        )
        for k in range(9)
    ]
    write(tmp_path, images)
    store = ImageStore.open(tmp_path)
    assert [store.png(name) for name in store] == [image.png for image in images]
