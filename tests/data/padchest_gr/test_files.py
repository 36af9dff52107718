import shutil
from pathlib import Path

import pytest
from PIL import Image

from editgrpo.data import sources
from editgrpo.data.padchest_gr import (
    PadChestGRSource,
    read_padchest_gr,
)
from editgrpo.data.padchest_gr.tables import read_padchest_table
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.read_options import ReadOptions
from editgrpo.errors import ConfigError, DataError
from tests.builders import shared_data
from tests.data.padchest_gr.test_preparation import prepare
from tests.data.trees import padchest_gr as tree
from tests.data.trees.accounts import counts, state_of


@pytest.mark.slow
def test_cells_over_several_lines_are_one_cell_in_a_long_table(tmp_path: Path) -> None:
    # Three megabytes: a reader that cuts files into blocks at line ends cuts through such cells.
    images = [(f"{k}_a.png", f"{k}", f"{k}", "20150601", "PA") for k in range(50_000)]
    table = tree.write_padchest(tmp_path / "PADCHEST.csv", *images)
    found = read_padchest_table(table, {f"{k}_a" for k in range(50_000)})
    assert [image.study_id for image in found.values()] == [f"{k}" for k in range(50_000)]


def test_images_of_12_bits_in_16_are_neither_black_nor_clipped(tmp_path: Path) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    assert {Image.open(path).mode for path in root.rglob("*.png")} == {"L", "I;16"}
    _, studies, _ = prepare(root, tmp_path / "out")
    store = ImageStore.open(tmp_path / "out")
    assert set(store) == {image.image_id for s in studies.values() for image in s.images}
    extremes = [store.load(name).getextrema() for name in store]
    assert all(isinstance(low, int | float) and low < 60 < 120 < high for low, high in extremes)


def test_images_are_found_at_any_depth_by_links_and_by_name_without_suffix(
    tmp_path: Path,
) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    shutil.move(root / tree.CURRENT, tmp_path / "films")
    shutil.rmtree(root / "Padchest_GR_files")
    (root / "films").symlink_to(tmp_path / "films")
    # Circles: walked without end, or 2^40 times, unless a folder is known again.
    (tmp_path / "films/back").symlink_to(root)
    (tmp_path / "films/here").symlink_to(tmp_path / "films")
    with Image.open(tmp_path / "films/101_aaa.png") as film:
        for name in ("101_aaa.jpg", "z/101_aaa.jpg"):
            (tmp_path / "films" / name).parent.mkdir(exist_ok=True)
            film.convert("L").save(tmp_path / "films" / name)
    candidates = read_padchest_gr(PadChestGRSource(root=root), ReadOptions(images_must_exist=True))
    assert candidates.image_files["101_aaa"] == f"{root}/films/101_aaa.png"
    assert all(Path(path).is_file() for path in candidates.image_files.values())


def test_missing_empty_and_damaged_images_are_listed_and_their_studies_go_on(
    tmp_path: Path,
) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    (root / tree.CURRENT / "106_aaa.png").unlink()
    (root / tree.CURRENT / "301_aaa.png").write_bytes(b"")
    (root / tree.PRIOR / "901_pri.png").write_text("no image")
    summary, studies, rejected = prepare(root, tmp_path / "out")
    listed = {line["image"] for line in rejected if line["image"] is not None}
    assert {"106_aaa", "301_aaa", "901_pri"} <= listed
    assert counts(summary, "no readable current image") == (1, 0, 0)
    assert [image.image_id for image in studies["301"].images] == ["301_bbb"]
    assert (studies["102"].prior_images, studies["102"].prior_study_id) == ((), "")


def test_reports_without_images_can_be_prepared(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "gr", tree.standard_reports(), tree.standard_rows())
    dry = PrepareOptions(dry_run=True)
    summary = sources.prepare(PadChestGRSource(root=root), tmp_path / "dry", dry)
    assert counts(summary, "studies kept") == (5, 1, 2)
    assert not (tmp_path / "dry").exists()
    _, studies, _ = prepare(root, tmp_path / "out", require_images=False)
    assert len(studies) == 8


@pytest.mark.parametrize("table", ["master_table.csv", "master_table.csv.zip"])
def test_the_table_is_read_as_shipped_and_unpacked(tmp_path: Path, table: str) -> None:
    root = tree.build(tmp_path, tree.standard_reports(), tree.standard_rows(), table=table)
    assert len(read_padchest_gr(PadChestGRSource(root=root)).studies) == 9


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    root = tree.build(tmp_path, tree.standard_reports(), tree.standard_rows())
    plain = read_padchest_gr(PadChestGRSource(root=root)).studies
    for name in ("grounded_reports_20240819.json", "master_table.csv"):
        content = (root / name).read_bytes().replace(b"\n", b"\r\n")
        (root / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert read_padchest_gr(PadChestGRSource(root=root)).studies == plain


def test_nothing_is_written_among_the_originals(tmp_path: Path) -> None:
    root = tree.standard_tree(tmp_path / "gr")

    before = state_of(root)
    prepare(root, tmp_path / "out")
    assert state_of(root) == before
    with pytest.raises(ConfigError, match=r"is inside .*gr, where nothing is written"):
        prepare(root, root / "out")


def spoil(root: Path, name: str) -> str:
    """Break a tree in a documented way, and return the message."""
    reports = root / "grounded_reports_20240819.json"
    table = root / "master_table.csv"
    again = "download the file again"
    match name:
        case "no folder":
            shutil.rmtree(root)
            return f"{root}: no such folder; give the one that holds {reports.name}"
        case "no reports":
            reports.unlink()
            return f"{root}: {reports.name} is not there; give the folder that holds it"
        case "two files of reports":
            shutil.copy(reports, root / "grounded_reports_20250101.json")
            return (
                f"{root}: holds several files of reports ({reports.name}, "
                "grounded_reports_20250101.json); keep one of them there"
            )
        case "empty reports":
            reports.write_bytes(b"")
            return f"{reports}: is empty; {again}"
        case "no entry":
            reports.write_text("[]")
            return f"{reports}: holds no report; {again}"
        case "object":
            reports.write_text("{}")
            return f"{reports}: must be one JSON list, [...]; {again}"
        case "cut off":
            reports.write_bytes(reports.read_bytes()[:1500])
            return f"{reports}: ends in the middle; {again}"
        case "latin-1 reports":
            reports.write_bytes('[\n{"sentence_es": "Mínimo"}]'.encode("latin-1"))
            return f"{reports}, line 2: not UTF-8; save the file as UTF-8, or download it again"
        case "no table":
            table.unlink()
            return (
                f"{root}: neither master_table.csv nor master_table.csv.zip is there; download it, "
                "it holds patients and splits"
            )
        case "empty table":
            table.write_bytes(b"")
            return f"{table}: is empty; {again}"
        case "header alone":
            table.write_bytes(table.read_bytes().split(b"\n")[0] + b"\n")
            return f"{table}: holds no row below its header; {again}"
        case "missing column":
            table.write_bytes(table.read_bytes().replace(b"PatientID", b"Patient", 1))
            return (
                f"{table}, line 1: column 'PatientID' is missing; it must name StudyID, ImageID, "
                "split, PatientID, StudyDate_DICOM, StudyDate, with commas between them"
            )
        case "latin-1 table":
            content = table.read_bytes().replace(b",test,", ",tést,".encode("latin-1"), 1)
            table.write_bytes(content)
            # Line 1 is the header; every row takes two, and the first of the test split is the
            # ninth, on lines 18 and 19; its split stands behind the line break.
            return f"{table}, line 19: not UTF-8; save the table as UTF-8, or download it again"
        case "rounded ids":
            table.write_bytes(table.read_bytes().replace(b",102_aaa", b"E+38,102_aaa"))
            return (
                f"{table}, line 6: field 'StudyID' is '102E+38', a number that a spreadsheet "
                f"rounded; download the table again and leave it closed"
            )
        case "truncated zip":
            table.unlink()
            rows = tree.standard_rows()
            packed = tree.write_table(root / "master_table.csv.zip", tree.MASTER_COLUMNS, rows)
            packed.write_bytes(packed.read_bytes()[:-40])
            return f"{packed}: is damaged, or not all of it is there; {again}"
        case "patient in two splits":
            rows = [*tree.standard_rows(), tree.row("401", "401_a.png", "test", "11", "20100101")]
            findings = tree.report("401", "401_a.png", tree.NO_EFFUSION)
            tree.build(root, [*tree.standard_reports(), findings], rows)
            return (
                "patient '11' is in both train and test (study '401'); give each patient one split"
            )
        case "parts":
            for folder in ("Padchest_GR_files", "PadChest_GR_progression_prior_studies"):
                shutil.rmtree(root / folder)
            (root / "Padchest_GR_files").mkdir()
            part = root / "Padchest_GR_files/PadChest_GR.zip.001"
            part.touch()
            return (
                f"{part}: is a part of an archive, and no image is unpacked; join the parts (`cat "
                "PadChest_GR.zip.* > PadChest_GR.zip`) and unzip it"
            )
        case _:
            for path in root.rglob("*.png"):
                path.unlink()
            return (
                f"{root}: holds no image; unpack PadChest_GR.zip there, or prepare without images"
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "no folder",
        "no reports",
        "two files of reports",
        "empty reports",
        "no entry",
        "object",
        "cut off",
        "latin-1 reports",
        "no table",
        "empty table",
        "header alone",
        "missing column",
        "latin-1 table",
        "rounded ids",
        "truncated zip",
        "patient in two splits",
        "parts",
        "no images",
    ],
)
def test_a_broken_source_is_named_in_one_line_with_a_remedy(tmp_path: Path, name: str) -> None:
    root = tree.standard_tree(tmp_path / "gr")
    message = spoil(root, name)
    with pytest.raises(DataError) as error:
        prepare(root, tmp_path / "out")
    assert str(error.value) == message


def test_a_broken_table_of_padchest_is_named(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "gr", tree.standard_reports(), tree.standard_rows())
    table = tmp_path / "PADCHEST.csv"
    with pytest.raises(DataError, match=r"PADCHEST.csv: No such file.*; give a readable table$"):
        read_padchest_gr(PadChestGRSource(root=root, views=table))
    table.write_text("ImageID,StudyID\n1,2\n")
    with pytest.raises(DataError, match=r"line 1: column 'PatientID' is missing; it must name"):
        read_padchest_gr(PadChestGRSource(root=root, views=table))


def test_the_template_of_the_layout_is_read(tmp_path: Path) -> None:
    root = shared_data() / "layouts/padchest_gr"
    summary, studies, _ = prepare(root, tmp_path / "out", require_images=False)
    assert counts(summary, "studies kept") == (1, 0, 0)
    (study,) = studies.values()
    assert (study.patient_id[-3:], study.time) == ("002", "2015-01-01")
    assert study.findings.count(".") == 2


@pytest.mark.slow
def test_real_radiographs_go_through_as_16_bit_images(tmp_path: Path) -> None:
    films = sorted((shared_data() / "longitudinal_cxr/images").iterdir())[:3]

    def draw(path: Path, number: int) -> None:
        with Image.open(films[number % len(films)]) as film:
            film.convert("L").convert("I").point(lambda value: value * 16).convert("I;16").save(
                path
            )

    report = tree.report(
        "1", "1_a.png", tree.NO_EFFUSION, PreviousStudyID="9", PreviousImageID="9_a.png"
    )
    rows = [tree.row("1", "1_a.png", "test", "7", "20150601")]
    root = tree.build(tmp_path / "gr", [report], rows, draw=draw)
    how = PrepareOptions(workers=1)
    sources.prepare(PadChestGRSource(root=root), tmp_path / "out", how)
    (study,) = StudySet.load(tmp_path / "out")
    store = ImageStore.open(tmp_path / "out")
    assert [image.image_id for image in study.images] == ["1_a", "9_a"]
    sizes = [store.size(image.image_id) for image in study.images]
    assert all(262_144 <= height * width <= 401_408 for height, width in sizes)
