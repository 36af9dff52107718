import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.mimic_tree import METADATA, SPLIT, TreeForm, TreeImage, TreeStudy, write_tree

from editgrpo.data.mimic_cxr.tables import read_listing, study_time
from editgrpo.data.study import Split, Study, View
from editgrpo.errors import DataError
from tests.data.trees.mimic import AP, COURSES, LATERAL, PA, study


def listed(root: Path, *studies: TreeStudy, **form: object) -> dict[str, Study]:
    write_tree(root, studies, TreeForm(**form))  # type: ignore[arg-type]
    return {item.study_id: item for item in read_listing(root).studies}


@pytest.mark.parametrize(
    ("day", "clock", "time"),
    [
        ("21500102", "101530.125", "2150-01-02T10:15:30.125"),
        ("21500102", "93015.5", "2150-01-02T09:30:15.5"),  # 093015.5 as a number
        ("21500102", "093015.500", "2150-01-02T09:30:15.5"),
        ("21500102.0", "0.0", "2150-01-02T00:00:00"),
        ("21500102", "7", "2150-01-02T00:00:07"),
        ("20960229", "235959.999", "2096-02-29T23:59:59.999"),  # a leap year
        ("21000229", "101530", ""),  # 2100 is none
        ("21501301", "101530", ""),
        ("21500102", "246060", ""),
        ("21500102", "126000", ""),
        ("21500102", "120060", ""),
        ("21500102", "", ""),
        ("", "101530", ""),
        ("2150-01-02", "10:15", ""),
        ("21500102", "-5", ""),
        ("nan", "nan", ""),
    ],
)
def test_times_are_read_with_and_without_leading_zeros(day: str, clock: str, time: str) -> None:
    assert study_time(day, clock) == time


def test_tables_give_patient_split_time_and_images(tmp_path: Path) -> None:
    studies = listed(tmp_path, *COURSES)
    assert Counter(item.split for item in studies.values()) == {
        Split.TRAIN: 6,
        Split.VALIDATION: 1,
        Split.TEST: 2,
    }
    first = studies["50000030"]
    assert (first.patient_id, first.time) == ("10000011", "2150-01-02T09:30:15.5")
    assert sorted(image.view for image in first.images) == [View.PA, View.LATERAL]
    # By split, patient, time; without a time first.
    assert list(studies) == [
        "50000030",
        "50000010",
        "50000020",
        "50000060",
        "50000040",
        "50000050",
        "50000070",
        "50000080",
        "50000090",
    ]


def test_the_order_of_rows_and_columns_does_not_matter(tmp_path: Path) -> None:
    one = listed(tmp_path / "one", *COURSES)
    other = tmp_path / "other"
    write_tree(other, COURSES[::-1], TreeForm(gzipped=True))
    path = other / f"{SPLIT}.gz"
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().split()]
    turned = [",".join(row[::-1]) for row in [rows[0], *rows[:0:-1]]]
    path.write_bytes(gzip.compress("\n".join(turned).encode()))
    assert read_listing(other).studies == list(one.values())


@pytest.mark.parametrize(
    "rewrite", ["bom", "crlf", "cr", "quoted", "spaces", "blank lines", "no last line end"]
)
def test_tables_saved_by_other_programs_give_the_same(tmp_path: Path, rewrite: str) -> None:
    expected = listed(tmp_path, *COURSES)
    for name in (METADATA, SPLIT):
        text = (tmp_path / name).read_text()
        lines = text.splitlines()
        changed = {
            "bom": "\ufeff" + text,
            "crlf": text.replace("\n", "\r\n"),
            "cr": text.replace("\n", "\r"),
            "quoted": "".join(
                ",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in lines
            ),
            "spaces": "\n".join([lines[0], *(line.replace(",", " , ") for line in lines[1:])]),
            "blank lines": "\n\n".join(lines) + "\n\n",
            "no last line end": text.rstrip("\n"),
        }
        (tmp_path / name).write_bytes(changed[rewrite].encode())
    assert read_listing(tmp_path).studies == list(expected.values())


def test_views_come_from_the_position_and_else_from_the_code(tmp_path: Path) -> None:
    names = {
        ("PA", ""): View.PA,
        ("LL", "left lateral"): View.LATERAL,
        ("AP LLD", "antero-posterior"): View.DECUBITUS,
        ("AP AXIAL", ""): View.AP,
        ("SWIMMERS", ""): View.OTHER,
        ("", "postero-anterior"): View.PA,
        ("", "left anterior oblique"): View.OBLIQUE,
        ("LORDOTIC", "antero-posterior"): View.AP,
        ("", ""): View.UNKNOWN,
        ("LORDOTIC", ""): View.UNKNOWN,
        ("lordotic", "Lordotic"): View.UNKNOWN,
    }
    item = study("10000011", "50000010", *names)
    write_tree(tmp_path, [item])
    listing = read_listing(tmp_path)
    views = {image.image_id: image.view for image in listing.studies[0].images}
    assert {(i.position, i.code): views[i.dicom_id] for i in item.images} == names
    assert listing.unrecognised_views == {"LORDOTIC": 2}  # once an image


def test_a_study_is_as_old_as_its_first_image(tmp_path: Path) -> None:
    early = study("10000011", "50000010", PA, when=("21500102", "90000"))
    parts = [
        early,
        replace(early, images=(TreeImage(dicom_id="0-late"),), time="91500.25"),
        replace(early, images=(TreeImage(dicom_id="1-undated"),), date="", time=""),
    ]
    item = listed(tmp_path, *parts)["50000010"]
    assert item.time == "2150-01-02T09:00:00"
    assert [image.image_id for image in item.images][:2] == ["0-late", "1-undated"]


def test_a_part_of_the_metadata_is_a_part_of_the_data_set(tmp_path: Path) -> None:
    write_tree(tmp_path, COURSES)
    lines = (tmp_path / METADATA).read_text().splitlines(keepends=True)
    (tmp_path / METADATA).write_text("".join(lines[:2]))
    assert [item.study_id for item in read_listing(tmp_path).studies] == ["50000010"]


def edit_line(name: str, number: int, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        lines = (root / name).read_text(encoding="latin-1").splitlines(keepends=True)
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new)
        (root / name).write_text("".join(lines), encoding="latin-1")

    return edit


def change(name: str, change_bytes: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / name).write_bytes(change_bytes((root / name).read_bytes()))

    return edit


def copy(name: str, to: str) -> Callable[[Path], None]:
    return lambda root: (root / to).write_bytes((root / name).read_bytes())


# Lines of the metadata: 1 header, 2 study 10, 3 study 20, 4 and 5 study 30, 6 study 40, ...
_FIRST, _SECOND = (COURSES[k].images[0].dicom_id for k in (0, 1))
BREAKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing table": (
        lambda root: (root / SPLIT).unlink(),
        r": holds no mimic-cxr-2\.\*-split\.csv, gzipped or not; .*: give the folder that holds it",
    ),
    "two releases": (
        copy(METADATA, "mimic-cxr-2.1.0-metadata.csv"),
        r"mimic-cxr-2\.1\.0-metadata\.csv: is next to mimic-cxr-2\.0\.0-metadata\.csv; give a",
    ),
    "packed and unpacked": (
        copy(SPLIT, f"{SPLIT}.gz"),
        r"split\.csv\.gz: is next to mimic-cxr-2\.0\.0-split\.csv; give a folder",
    ),
    "empty file": (change(METADATA, lambda _: b""), r"metadata\.csv: is empty; download"),
    "header only": (
        change(SPLIT, lambda content: content.split(b"\n")[0] + b"\n"),
        r"split\.csv: holds no row below its header; download",
    ),
    "no header": (
        change(SPLIT, lambda content: content.split(b"\n", 1)[1]),
        r"split\.csv, line 1: column 'dicom_id' is missing; it must name dicom_id, ",
    ),
    "missing column": (
        edit_line(METADATA, 1, "ViewPosition", "View"),
        r"metadata\.csv, line 1: column 'ViewPosition' is missing; it must name",
    ),
    "column twice": (
        edit_line(METADATA, 1, "Rows", "StudyDate"),
        r"metadata\.csv, line 1: column 'StudyDate' appears twice",
    ),
    "semicolons": (
        change(SPLIT, lambda content: content.replace(b",", b";")),
        r"split\.csv, line 1: column 'dicom_id' is missing; .*with commas between",
    ),
    "short row": (
        edit_line(METADATA, 4, ",Erect", ""),
        r"metadata\.csv, line 4: 11 cells under 12 columns; download",
    ),
    "other encoding": (
        edit_line(METADATA, 3, "antero", "äntero"),
        r"metadata\.csv, line 3: not UTF-8; save the table as UTF-8",
    ),
    "utf-16": (
        change(SPLIT, lambda content: content.decode().encode("utf-16")),
        r"split\.csv, line 1: not UTF-8; save",
    ),
    "truncated gzip": (
        change(METADATA, lambda content: gzip.compress(content)[:-20]),
        r"metadata\.csv: is damaged, or not all of it is there; download",
    ),
    "damaged gzip": (
        change(METADATA, lambda content: gzip.compress(content)[:40] + b"\xff" * 400),
        r"metadata\.csv: is damaged, or not all of it is there; download",
    ),
    "image twice": (
        edit_line(METADATA, 3, _SECOND, _FIRST),
        rf"metadata\.csv, line 3: image {_FIRST} is in the table twice; keep one",
    ),
    "image twice in the split": (
        edit_line(SPLIT, 3, _SECOND, _FIRST),
        rf"split\.csv, line 3: image {_FIRST} is in the table twice; keep one",
    ),
    "no split": (
        edit_line(SPLIT, 3, _SECOND, "0-other"),
        rf"metadata\.csv, line 3: image {_SECOND} has no row in mimic-cxr-2\.0\.0-split\.csv; take",
    ),
    "unknown split": (
        edit_line(SPLIT, 5, "train", "trian"),
        r"split\.csv, line 5: field 'split' is 'trian'; did you mean 'train'",
    ),
    "other study in the split": (
        edit_line(SPLIT, 3, "50000020", "50000021"),
        rf"metadata\.csv, line 3: study_id of image {_SECOND} is not the one in mimic-cxr-2\.0",
    ),
    "other patient in the split": (
        edit_line(SPLIT, 3, "10000011", "10000012"),
        rf"metadata\.csv, line 3: subject_id of image {_SECOND} is not the one in mimic-cxr-2\.0",
    ),
    "study in two splits": (
        edit_line(SPLIT, 5, "train", "test"),
        r"metadata\.csv, line 5: study_id 50000030 is in two splits; take",
    ),
    "patient in two splits": (
        edit_line(SPLIT, 3, "train", "test"),
        r"metadata\.csv, line 3: subject_id 10000011 is in two splits; take",
    ),
    "patient id as a fraction": (
        edit_line(METADATA, 2, "10000011", "10000011.0"),
        r"metadata\.csv, line 2: field 'subject_id' is '10000011\.0', which is no id; download",
    ),
    "image id that leads elsewhere": (
        edit_line(METADATA, 2, _FIRST, "../../secret"),
        r"metadata\.csv, line 2: field 'dicom_id' is '../../secret', which is no id; download",
    ),
    "missing id": (
        edit_line(SPLIT, 2, _FIRST, ""),
        r"split\.csv, line 2: field 'dicom_id' is '', which is no id; download",
    ),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_table_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    write_tree(tmp_path, COURSES)
    break_it, message = BREAKS[kind]
    break_it(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read_listing(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_other_columns_may_be_in_any_encoding(tmp_path: Path) -> None:
    write_tree(tmp_path, COURSES)
    edit_line(METADATA, 2, "CHEST", "THÖRAX")(tmp_path)
    assert len(read_listing(tmp_path).studies) == len(COURSES)
    edit_line(METADATA, 3, "10000011", "p1")(tmp_path)
    with pytest.raises(DataError, match=r"line 3: field 'subject_id' is 'p1'"):
        read_listing(tmp_path)


def test_the_folder_of_the_images_alone_is_not_the_root(tmp_path: Path) -> None:
    write_tree(tmp_path, COURSES)
    with pytest.raises(DataError, match=r"files: holds no .*: give the folder above it"):
        read_listing(tmp_path / "files")


def test_a_study_of_two_patients_is_named(tmp_path: Path) -> None:
    one, other = study("10000011", "50000010", AP), study("10000012", "50000010", PA)
    other = replace(other, images=(TreeImage(dicom_id="0-other"),))
    write_tree(tmp_path, [one, other])
    with pytest.raises(DataError, match=r"line 3: study_id 50000010 has two patients"):
        read_listing(tmp_path)


def test_the_line_of_a_fault_counts_blank_lines_and_line_ends_in_quotes(tmp_path: Path) -> None:
    write_tree(tmp_path, [study("10000011", "50000010", PA, LATERAL)])
    text = (tmp_path / METADATA).read_text().replace("CHEST (PA AND LAT)", '"CHEST\n(PA)"', 1)
    text = text.replace("\n", "\n\n", 1).replace(",10000011,", ",p1,", 2)
    text = text.replace(",p1,", ",10000011,", 1)
    (tmp_path / METADATA).write_text(text)
    # 1 header, 2 blank, 3 and 4 the first image, 5 the second.
    with pytest.raises(DataError, match=r"metadata\.csv, line 5: field 'subject_id' is 'p1'"):
        read_listing(tmp_path)
