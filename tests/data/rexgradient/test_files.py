import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from editgrpo.data import sources
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.rexgradient import (
    REXGRADIENT_INCLUSION,
    ReXGradientSource,
    read_rexgradient,
)
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, DataError
from tests.builders import shared_data
from tests.data.rexgradient.test_preparation import options, prepare, standard_tree
from tests.data.trees import rexgradient as tree
from tests.data.trees.accounts import counts, state_of


def test_missing_empty_and_damaged_images_are_listed_and_their_studies_go_on(
    tmp_path: Path,
) -> None:
    root = standard_tree(tmp_path / "rex")
    films = {path.stem: path for path in root.glob("deid_png/**/*.png")}
    films["1.2.101.0.1"].unlink()
    films["1.2.103.0.1"].write_bytes(b"")
    content = films["1.2.105.0.1"].read_bytes()
    films["1.2.105.0.1"].write_bytes(content[: len(content) // 2])
    films["1.2.301.0.1"].write_text("no image")
    summary, studies, rejected = prepare(root, tmp_path / "out")
    of_images = {line["image"] for line in rejected if line["image"] is not None}
    assert of_images == {"1.2.101.0.1", "1.2.103.0.1", "1.2.105.0.1", "1.2.301.0.1"}
    assert [image.image_id for image in studies["101"].images] == ["1.2.101.1.1"]
    assert len(studies["103"].images) == len(studies["105"].images) == 1
    assert counts(summary, "no readable current image") == (0, 0, 1)
    assert "301" not in studies


def test_every_image_of_8_and_of_16_bits_is_in_the_store(tmp_path: Path) -> None:
    root = standard_tree(tmp_path / "rex")
    modes = {Image.open(path).mode for path in root.glob("deid_png/**/*.png")}
    assert modes == {"L", "I;16"}
    _, studies, _ = prepare(root, tmp_path / "out")
    store = ImageStore.open(tmp_path / "out")
    wanted = {image.image_id for study in studies.values() for image in study.images}
    assert set(store) == wanted
    # 24 x 20 pixels are too few: 784 of them are 30.7 x 25.6, in steps of 28 that is 28 x 28 or 56.
    assert {store.size(name) for name in wanted} <= {(28, 28), (28, 56), (56, 28)}
    extremes = {store.load(name).getextrema() for name in wanted}
    # A film of 12 bits in 16 is neither black nor clipped.
    assert all(isinstance(low, int | float) and low < 60 < 120 < high for low, high in extremes)


LAYOUTS: list[tuple[str, str, Callable[[Path], dict[str, Any]]]] = [
    ("metadata", "deid_png", lambda base: {"root": base}),
    ("download/metadata", "deid_png", lambda base: {"root": base}),
    ("metadata", "deid_png", lambda base: {"root": base / "metadata"}),
    ("metadata", "pixels/deid_png", lambda base: {"root": base, "images": base / "pixels"}),
    ("metadata", "films", lambda base: {"root": base, "images": base / "films"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("metadata", "images", "options_of"), LAYOUTS, ids=range(5))
def test_metadata_and_images_are_found_where_users_put_them(
    tmp_path: Path, metadata: str, images: str, options_of: Callable[[Path], dict[str, Any]]
) -> None:
    base = tmp_path / "rex"
    tree.build(base, tree.standard_entries(), draw=tree.draw_film, metadata=metadata)
    if images != "deid_png":
        (base / images).parent.mkdir(exist_ok=True)
        shutil.move(base / "deid_png", base / images)
    summary, _, _ = prepare(output=tmp_path / "out", **options_of(base))
    assert counts(summary, "studies kept") == (6, 2, 1)


def test_one_split_can_be_prepared_alone(tmp_path: Path) -> None:
    root = standard_tree(tmp_path / "rex")
    for split in ("train", "valid"):
        (root / f"metadata/{split}_metadata_view_position.json").unlink()
    summary, studies, _ = prepare(root, tmp_path / "out", splits=(Split.TEST,))
    assert list(studies) == ["301"]
    assert summary.split_rule == "official: test"
    with pytest.raises(ConfigError, match="splits must be one or more of"):
        ReXGradientSource(root=root, splits=())


def test_metadata_without_images_gives_the_account_and_reports(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "rex", tree.standard_entries())
    dry = PrepareOptions(inclusion=REXGRADIENT_INCLUSION, dry_run=True)
    summary = sources.prepare(ReXGradientSource(root=root), tmp_path / "dry", dry)
    assert counts(summary, "studies kept") == (6, 2, 1)
    assert not (tmp_path / "dry").exists()
    summary, studies, _ = prepare(root, tmp_path / "out", options(require_images=False))
    # 111 lists no image, which is no reason now; the seven images of 106 still are one.
    assert counts(summary, "studies kept") == (7, 2, 1)
    assert not any(study.images for study in studies.values())


def test_nothing_is_written_among_the_originals(tmp_path: Path) -> None:
    root = standard_tree(tmp_path / "rex")

    before = state_of(root)
    prepare(root, tmp_path / "out", longitudinal=True)
    assert state_of(root) == before
    elsewhere = tmp_path / "films"
    shutil.move(root / "deid_png", elsewhere)
    with pytest.raises(ConfigError, match=r"is inside .*rex, where nothing is written"):
        prepare(root, root / "out", images=elsewhere)
    with pytest.raises(ConfigError, match=r"is inside .*films, where nothing is written"):
        prepare(root, elsewhere / "out", images=elsewhere)


def test_the_same_tree_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("first", "second"):
        prepare(standard_tree(tmp_path / name / "rex"), tmp_path / name / "out")

    def content(name: str) -> dict[str, bytes]:
        out = tmp_path / name / "out"
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.arrow")}

    assert content("first") == content("second")
    assert content("first")


def spoil(root: Path, name: str) -> str:
    """Break a tree in a documented way, and return the message."""
    train = root / "metadata/train_metadata_view_position.json"
    test = root / "metadata/test_metadata_view_position.json"
    key, made = next(iter(json.loads(train.read_text()).items()))
    match name:
        case "no folder":
            shutil.rmtree(root)
            return f"{root}: no such folder; give the one that holds metadata and deid_png"
        case "no metadata":
            train.unlink()
            return (
                f"{root}: neither {train.name} nor metadata/{train.name} is there; download it, or "
                "prepare only the splits you hold"
            )
        case "lesser metadata":
            lesser = train.rename(train.with_name("train_metadata.json"))
            return (
                f"{lesser}: does not give the view of every image; download {train.name} into the "
                "same folder"
            )
        case "csv metadata":
            lesser = train.rename(train.with_name("train_metadata.csv"))
            return (
                f"{lesser}: does not give the view of every image; download {train.name} into the "
                "same folder"
            )
        case "empty file":
            train.write_bytes(b"")
            return f"{train}: is empty; download the file again"
        case "no study":
            train.write_text("{}")
            return f"{train}: holds no study; download the file again"
        case "cut off":
            train.write_bytes(train.read_bytes()[:2000])
            return f"{train}: ends in the middle; download the file again"
        case "list":
            train.write_text(json.dumps([made]))
            return f"{train}: must be one JSON object, {{...}}; download the file again"
        case "latin-1":
            train.write_bytes(b'{\n"p": "\xf1"}')
            return f"{train}, line 2: not UTF-8; save the file as UTF-8, or download it again"
        case "study twice":
            train.write_text(f'{{"{key}": {json.dumps(made)}, "{key}": {json.dumps(made)}}}')
            return f"{train}: study {key!r} appears twice; download the metadata again"
        case "study in two splits":
            test.write_text(json.dumps({key: made}))
            return (
                f"{test}: study {key!r} appears also in {train.name}; download the metadata again"
            )
        case "patient in two splits":
            test.write_text(json.dumps(dict([tree.entry("A", "999")])))
            return (
                "patient 'A' is in both train and test (study 'pA_a999_s1.2.999'); give each "
                "patient one split"
            )
        case "parts":
            shutil.rmtree(root / "deid_png")
            (root / "deid_png.part00").touch()
            return (
                f"{root}: holds deid_png.part* but no folder deid_png; unpack it with `cat "
                "deid_png.part* | tar --zstd -x`"
            )
        case _:
            shutil.rmtree(root / "deid_png")
            return (
                f"{root}: holds no folder deid_png; name the folder of images, or prepare without "
                "images"
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "no folder",
        "no metadata",
        "lesser metadata",
        "csv metadata",
        "empty file",
        "no study",
        "cut off",
        "list",
        "latin-1",
        "study twice",
        "study in two splits",
        "patient in two splits",
        "parts",
        "no images",
    ],
)
def test_a_broken_source_is_named_in_one_line_with_a_remedy(tmp_path: Path, name: str) -> None:
    root = standard_tree(tmp_path / "rex")
    message = spoil(root, name)
    with pytest.raises(DataError) as error:
        prepare(root, tmp_path / "out")
    assert str(error.value) == message


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    root = standard_tree(tmp_path / "rex")
    plain = read_rexgradient(ReXGradientSource(root=root)).studies
    for path in root.glob("metadata/*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_rexgradient(ReXGradientSource(root=root)).studies == plain


def test_a_named_folder_of_images_must_exist(tmp_path: Path) -> None:
    root = standard_tree(tmp_path / "rex")
    with pytest.raises(DataError, match=r"absent: no such folder; give the one that holds"):
        prepare(root, tmp_path / "out", images=tmp_path / "absent")


def test_the_template_of_the_layout_is_read(tmp_path: Path) -> None:
    root = shared_data() / "layouts/rexgradient"
    how = options(require_images=False)
    summary, studies, _ = prepare(root, tmp_path / "out", how, splits=(Split.TRAIN,))
    assert counts(summary, "studies kept") == (1, 0, 0)
    (study,) = studies.values()
    assert (study.patient_id, study.time) == ("GRDNXXXXXXXXXXXX", "2015-01-01")


@pytest.mark.slow
def test_real_radiographs_go_through(tmp_path: Path) -> None:
    films = sorted((shared_data() / "longitudinal_cxr/images").iterdir())[:4]

    def draw(path: Path, number: int) -> None:
        with Image.open(films[number % len(films)]) as film:
            film.convert("L").save(path)

    entries = tree.standard_entries()
    root = tree.build(tmp_path / "rex", {**entries, "train": {}}, draw=draw)
    how = PrepareOptions(inclusion=REXGRADIENT_INCLUSION, workers=1)
    _, studies, _ = prepare(root, tmp_path / "out", how, splits=(Split.VALIDATION, Split.TEST))
    store = ImageStore.open(tmp_path / "out")
    sizes = [store.size(image.image_id) for s in studies.values() for image in s.images]
    # Every film fills the paper's range of pixels, in steps of 28.
    assert len(sizes) == 4
    assert all(262_144 <= height * width <= 401_408 for height, width in sizes)
    assert all(height % 28 == width % 28 == 0 for height, width in sizes)
