import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editgrpo.data.prepared.store import StudySet, write_tables
from editgrpo.data.special_tokens import holds_special_token
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError
from tests.builders import bytes_of, noise, write_set
from tests.data.tables import FIVE, a_study, tables_alone


def ids(studies: StudySet) -> list[str]:
    return [study.study_id for study in studies]


# Whatever UTF-8 can hold: no halves of surrogate pairs.
# Special tokens are refused, and have tests of their own.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not holds_special_token(text)
)


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


@pytest.mark.slow
@settings(max_examples=40)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_set_is_pickled_by_its_place(tmp_path: Path) -> None:
    studies = tables_alone(tmp_path, [a_study(f"s{k}", findings="x" * 900) for k in range(2_000)])
    part = StudySet.load(tmp_path, split=Split.TRAIN)[5:][::-2]
    content = pickle.dumps(part)
    assert len(content) < 1_500
    again = pickle.loads(content)
    assert ids(again) == ids(part)
    assert again.folder == studies.folder


@pytest.mark.slow
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


# 50,000 studies with reports of 1,000 characters, as many as real ones have at most.
_WALK = """
    import resource, sys
    from editgrpo.data.prepared.store import StudySet

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
