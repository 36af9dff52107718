import json
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editgrpo.data.arrow_files import read_arrow, write_arrow
from editgrpo.data.store import FORM, StudySet, read_prepared, write_tables
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError
from tests.builders import bytes_of, noise, write_set


def a_study(study_id: str = "s1", split: Split = Split.TRAIN, **fields: str) -> Study:
    return Study(
        study_id=study_id,
        patient_id=f"p{study_id}",
        split=split,
        images=(
            StudyImage(image_id=f"{study_id}-a", view=View.PA),
            StudyImage(image_id=f"{study_id}-b", view=View.LATERAL, timepoint=Timepoint.PRIOR),
        ),
        **fields,
    )


def tables_alone(folder: Path, studies: list[Study]) -> StudySet:
    """Write tables and the least account with which they load; no images."""
    write_tables(folder, studies)
    files = {path.relative_to(folder).as_posix(): "" for path in folder.rglob("*.arrow")}
    (folder / "prepared.json").write_text(json.dumps({"form": FORM, "files": files}))
    return StudySet.load(folder)


FIVE = [
    a_study("s0"),
    a_study("s1", time="2150-01-01"),
    a_study("s2", Split.VALIDATION),
    a_study("s3", Split.TEST),
    a_study("s4", Split.TEST, findings="Œdème, 2 µm – 'ok'\u2028end\x00\r\n\tNUL"),
]


def ids(studies: StudySet) -> list[str]:
    return [study.study_id for study in studies]


# Whatever UTF-8 can hold: no halves of surrogate pairs.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = texts.filter(str.strip)
images = st.builds(
    StudyImage, image_id=names, view=st.sampled_from(View), timepoint=st.sampled_from(Timepoint)
)
studies_of_any_text = st.builds(
    Study,
    study_id=names,
    patient_id=names,
    split=st.sampled_from(Split),
    images=st.lists(images, max_size=3).map(tuple),
    **dict.fromkeys(
        ("time", "prior_study_id", "prior_time", "indication", "technique", "comparison"), texts
    ),
    findings=texts,
    impression=texts,
)


@settings(deadline=None, max_examples=40)
@given(
    studies=st.lists(studies_of_any_text, min_size=1, max_size=6, unique_by=lambda s: s.study_id)
)
def test_studies_of_any_text_load_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, studies: list[Study]
) -> None:
    loaded = tables_alone(tmp_path_factory.mktemp("set"), studies)
    in_order = [study for split in Split for study in studies if study.split is split]
    assert list(loaded) == in_order
    assert [loaded[k] for k in range(len(loaded))] == in_order
    assert [loaded.find(study.study_id) for study in studies] == studies


def test_a_prepared_set_holds_its_studies_and_their_images(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", FIVE, {"s2-a": noise(56, 56)})
    studies = StudySet.load(folder)
    assert list(studies) == FIVE
    assert sorted(studies.images) == sorted(i.image_id for study in FIVE for i in study.images)
    assert studies.images.load("s2-a").tobytes() == noise(56, 56).tobytes()


def test_a_split_is_a_subset_in_file_order(tmp_path: Path) -> None:
    whole = tables_alone(tmp_path, FIVE[::-1])
    assert ids(whole) == ["s1", "s0", "s2", "s4", "s3"]
    assert {split: ids(StudySet.load(tmp_path, split=split)) for split in Split} == {
        Split.TRAIN: ["s1", "s0"],
        Split.VALIDATION: ["s2"],
        Split.TEST: ["s4", "s3"],
    }


def test_a_split_without_studies_is_empty(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE[:2])
    empty = StudySet.load(tmp_path, split=Split.TEST)
    assert (len(empty), list(empty), empty.find("s0")) == (0, [], None)
    assert sorted(path.name for path in (tmp_path / "studies").iterdir()) == ["train.arrow"]


@pytest.mark.parametrize("index", [-6, 5, 10**12])
def test_an_index_outside_is_an_index_error(tmp_path: Path, index: int) -> None:
    with pytest.raises(IndexError):
        tables_alone(tmp_path, FIVE)[index]


def test_indices_count_from_either_end(tmp_path: Path) -> None:
    studies = tables_alone(tmp_path, FIVE)
    assert [studies[k] for k in range(-5, 5)] == FIVE * 2


slices = st.builds(
    slice,
    st.none() | st.integers(-7, 7),
    st.none() | st.integers(-7, 7),
    st.none() | st.integers(-3, 3).filter(bool),
)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> StudySet:
    return tables_alone(tmp_path_factory.mktemp("five"), FIVE)


@settings(deadline=None)
@given(cuts=st.lists(slices, min_size=1, max_size=3))
def test_a_slice_is_that_of_a_list_here_and_in_another_process(
    five: StudySet, cuts: list[slice]
) -> None:
    part, expected = five, FIVE
    for cut in cuts:
        part, expected = part[cut], expected[cut]
    assert list(part) == expected
    assert len(part) == len(expected)
    assert list(reversed(part)) == expected[::-1]
    assert list(pickle.loads(pickle.dumps(part))) == expected
    assert [part.find(study.study_id) is not None for study in FIVE] == [
        study in expected for study in FIVE
    ]


def test_a_set_walks_over_more_than_a_batch(tmp_path: Path) -> None:
    studies = [a_study(f"s{k}") for k in range(2_345)]
    loaded = tables_alone(tmp_path, studies)
    assert list(loaded) == studies
    assert [loaded[k] for k in (999, 1_000, 2_000, 2_344)] == [
        studies[k] for k in (999, 1_000, 2_000, 2_344)
    ]
    assert ids(loaded[998:1_002]) == ["s998", "s999", "s1000", "s1001"]


def test_an_unknown_id_finds_nothing(tmp_path: Path) -> None:
    studies = tables_alone(tmp_path, FIVE)
    assert studies.find("s") is None
    assert studies.find("s4") == FIVE[4]


def test_columns_stand_in_the_documented_order(tmp_path: Path) -> None:
    assert tables_alone(tmp_path, FIVE).table.schema.names == [
        *("study_id", "patient_id", "split", "time", "prior_study_id", "prior_time", "images"),
        *("indication", "technique", "comparison", "findings", "impression"),
    ]


def test_the_same_studies_give_the_same_bytes(tmp_path: Path) -> None:
    write_tables(tmp_path / "a", FIVE)
    write_tables(tmp_path / "b", FIVE)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_a_set_is_pickled_by_its_place(tmp_path: Path) -> None:
    studies = tables_alone(tmp_path, [a_study(f"s{k}", findings="x" * 900) for k in range(2_000)])
    part = StudySet.load(tmp_path, split=Split.TRAIN)[5:][::-2]
    content = pickle.dumps(part)
    assert len(content) < 1_500
    again = pickle.loads(content)
    assert ids(again) == ids(part)
    assert again.folder == studies.folder


def test_a_spawned_process_reads_set_and_images(tmp_path: Path) -> None:
    studies = StudySet.load(write_set(tmp_path / "set", FIVE))[1:4]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        # Functions of libraries alone: the process need not load the tests.
        assert pool.submit(itemgetter(-1), studies).result() == FIVE[3]
        assert pool.submit(list, studies.images).result() == list(studies.images)


def test_a_loaded_set_outlives_the_replacement_of_its_files(tmp_path: Path) -> None:
    old = tables_alone(tmp_path, [a_study("old")])
    content = pickle.dumps(old)
    tables_alone(tmp_path, [a_study("a-new-one")])
    assert old[0].study_id == "old"
    with pytest.raises(DataError, match=r"train\.arrow: was replaced since .*; load the studies"):
        pickle.loads(content)


def test_the_columns_are_mapped_and_not_read(tmp_path: Path) -> None:
    tables_alone(tmp_path, [a_study(f"s{k}", findings="x" * 900) for k in range(2_000)])
    before = pa.total_allocated_bytes()
    studies = StudySet.load(tmp_path)
    assert studies.table.nbytes > 1_800_000
    assert pa.total_allocated_bytes() - before < 50_000


def the_account(**changes: object) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        path = folder / "prepared.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def the_file(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = change((folder / name).read_bytes())
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)

    return damage


TABLE = "studies/train.arrow"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            the_file("prepared.json", lambda _: None),
            "holds no prepared.json; give a folder written",
        ),
        (
            the_file("prepared.json", lambda _: b""),
            "prepared.json: cannot be read as JSON; prepare",
        ),
        (the_file("prepared.json", lambda b: b[:-9]), "prepared.json: cannot be read as JSON"),
        (the_file("prepared.json", lambda _: b"[]"), "prepared.json: is not of form"),
        (
            the_account(form=FORM + 1),
            f"prepared.json: is not of form {FORM}; prepare the set again",
        ),
        (the_account(files=None), "prepared.json: lists no files; prepare the set again"),
        (the_file(TABLE, lambda _: None), "train.arrow: No such file or directory; restore it"),
        (the_file(TABLE, lambda _: b""), "train.arrow: is damaged or cut short; restore it"),
        (the_file(TABLE, lambda b: b[: len(b) // 2]), "train.arrow: is damaged or cut short"),
        (the_file(TABLE, lambda b: b[:-8]), "train.arrow: is damaged or cut short"),
        (the_file(TABLE, lambda _: b"PK\x03\x04" * 99), "train.arrow: is damaged or cut short"),
    ],
)
def test_a_folder_that_is_not_whole_says_so_in_one_line(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    tables_alone(tmp_path, FIVE)
    damage(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        StudySet.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "; " in str(caught.value)  # what to do


def test_another_table_in_place_of_the_studies_is_an_error(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE)
    write_arrow(tmp_path / TABLE, pa.table({"study_id": ["a"]}))
    with pytest.raises(DataError, match=r"train\.arrow: is not a table of studies; prepare"):
        StudySet.load(tmp_path)


def test_a_preparation_that_was_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "unfinished.json").write_text("{}")
    with pytest.raises(DataError, match="was not finished; run the same command with --resume"):
        StudySet.load(tmp_path)
    with pytest.raises(DataError, match="was not finished"):
        read_prepared(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: holds no prepared\.json"):
        StudySet.load(tmp_path / "nowhere")


@pytest.mark.parametrize("column", ["split", "view", "timepoint"])
def test_an_unknown_value_is_named_by_type_and_length(tmp_path: Path, column: str) -> None:
    tables_alone(tmp_path, FIVE)
    rows = read_arrow(tmp_path / TABLE).to_pylist()
    sentence = "The heart is enlarged and the lungs are clear."
    (rows[1] if column == "split" else rows[1]["images"][0])[column] = sentence
    schema = read_arrow(tmp_path / TABLE).schema
    write_arrow(tmp_path / TABLE, pa.Table.from_pylist(rows, schema=schema))
    studies = StudySet.load(tmp_path)
    assert studies[0] == FIVE[0]
    with pytest.raises(DataError, match="a str of 48 characters is no split, view or time") as e:
        studies[1]
    assert "heart" not in str(e.value)
    with pytest.raises(DataError):
        list(studies)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (a_study(" "), "study ' ': field 'study_id' is empty; give it a value"),
        (replace(a_study(), patient_id=""), "field 'patient_id' is empty"),
        (a_study(findings="ab\ud800"), "'findings' holds half of a surrogate pair at character 2"),
        (
            replace(a_study(), images=(StudyImage(image_id="\udfff", view=View.PA),)),
            "field 'image_id' holds half of a surrogate pair at character 0",
        ),
    ],
)
def test_a_study_that_cannot_be_written_is_named_with_its_field(
    tmp_path: Path, study: Study, message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        write_tables(tmp_path, [a_study("good"), study])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.arrow"))


def test_a_failed_write_leaves_the_old_tables_and_nothing_else(tmp_path: Path) -> None:
    tables_alone(tmp_path, [a_study("old")])
    before = bytes_of(tmp_path)
    with pytest.raises(DataError, match="study_id 's1' would stand in it twice"):
        write_tables(tmp_path, [a_study("s1"), a_study("s1", Split.TEST)])
    with pytest.raises(DataError, match="there is no study to write"):
        write_tables(tmp_path, [])
    assert bytes_of(tmp_path) == before


def test_a_split_that_became_empty_has_no_table_left(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE)
    assert write_tables(tmp_path, FIVE[:2]) == {
        Split.TRAIN: 2,
        Split.VALIDATION: 0,
        Split.TEST: 0,
    }
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["train.arrow"]


def test_writing_to_a_place_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("")
    with pytest.raises(DataError, match=r"train\.arrow: cannot be written .*; free space or"):
        write_tables(tmp_path, [a_study()])


# In a process of its own, which a damaged offset would end.
_CHANGED_BITS = """
    import sys
    from pathlib import Path
    from editgrpo.data.store import StudySet
    from editgrpo.errors import DataError

    folder, refused = Path(sys.argv[1]), 0
    table = folder / "studies" / "train.arrow"
    content = table.read_bytes()
    for position in range(0, len(content), 7):
        # Another file each time: what is mapped must not change.
        table.unlink()
        table.write_bytes(
            content[:position]
            + bytes([content[position] ^ 1 << position % 8])
            + content[position + 1 :]
        )
        try:
            list(StudySet.load(folder))
        except DataError as error:
            assert "\\n" not in str(error)
            refused += 1
    print(refused)
"""


def test_a_changed_bit_gives_an_error_or_a_study_but_no_crash(tmp_path: Path) -> None:
    tables_alone(tmp_path, FIVE)
    output = subprocess.check_output(
        [sys.executable, "-c", textwrap.dedent(_CHANGED_BITS), str(tmp_path)], text=True
    )
    assert int(output) > 100


# 50,000 studies with reports of 1,000 characters, as many as real ones have at most.
_WALK = """
    import resource, sys
    from editgrpo.data.store import StudySet

    def resident_bytes():
        lines = dict(line.split(":") for line in open("/proc/self/status") if "kB" in line)
        return int(lines["RssAnon"].split()[0]) * 1024

    before = resident_bytes()
    studies = StudySet.load(sys.argv[1])
    assert len(studies) == 50_000
    loaded = resident_bytes()
    assert sum(len(study.findings) for study in studies) == 50_000_000
    print(loaded - before, resident_bytes() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_studies(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    tables_alone(tmp_path, [a_study(f"s{k}", findings=f"{k:01000}") for k in range(50_000)])
    output = subprocess.check_output(
        [sys.executable, "-c", textwrap.dedent(_WALK), str(tmp_path)], text=True
    )
    loaded, walked = map(int, output.split())
    # The tables take 60 MB, and a list of 50,000 studies 150 MB; a batch of 1,000 takes 3 MB.
    assert loaded < 2 * 2**20
    assert walked < 10 * 2**20
