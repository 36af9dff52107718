"""The trees and sets that the benchmarks of data generate are what they say."""

from collections import Counter
from pathlib import Path

import pytest
from benchmarks.mimic_tree import PUBLISHED, TreeForm, generate, write_tree
from benchmarks.prepare_mimic import measure, prepare_sample
from benchmarks.start_up import measure as measure_start_up
from benchmarks.start_up_set import write_studies

from editgrpo.data.mimic_cxr import parse_report


def test_published_numbers_add_up_to_those_of_the_whole_set() -> None:
    assert [sum(part) for part in zip(*PUBLISHED.values(), strict=True)] == [
        65_379,
        227_835,
        377_110,
    ]


@pytest.mark.slow
def test_a_generated_tree_keeps_the_published_proportions() -> None:
    studies = generate(2278)  # one in a hundred
    splits = Counter(study.split for study in studies)
    assert splits == {"train": 2227, "validate": 18, "test": 33}
    assert len({study.subject_id for study in studies}) == 646 + 5 + 3
    assert sum(len(study.images) for study in studies) == 3689 + 30 + 52
    assert len({study.study_id for study in studies}) == 2278
    assert studies == generate(2278)
    assert studies != generate(2278, seed=1)
    # Two thirds of MIMIC-CXR's reports have findings.
    found = sum(bool(parse_report(study.report or "").findings) for study in studies)
    assert 0.65 < found / len(studies) < 0.80


@pytest.mark.slow
def test_the_measured_part_sees_the_whole_tree_and_the_sample_its_images(tmp_path: Path) -> None:
    form = TreeForm(gzipped=True, zipped_reports=True, images_of=4)
    write_tree(tmp_path / "tree", generate(100), form)
    result = measure(tmp_path / "tree")
    assert (result["studies"], result["images"]) == (100, 162 + 1 + 2)
    assert 0 < result["kept"] < 100
    sample = prepare_sample(tmp_path / "tree", tmp_path, 4)
    assert 0 < sample["studies_kept"] <= 4
    assert sample["images"] >= sample["studies_kept"]


@pytest.mark.slow
def test_start_up_is_measured_on_a_whole_prepared_set(tmp_path: Path) -> None:
    write_studies(tmp_path / "set", 40)
    result = measure_start_up(tmp_path / "set", with_trainer=False)
    assert result["studies"] == 40
    assert result["images"] >= 40
    assert result["characters_of_ids"] == 40 * 8
