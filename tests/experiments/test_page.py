"""Blocks of the page and what is drawn, from result files made by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from experiments.page import build_page
from experiments.series import map_points, metric_series, saying_differences, saying_series

from editgrpo.demo.plan import TestSet
from editgrpo.errors import ConfigError
from editgrpo.files import write_json
from editgrpo.recipes.yaml_core import dump_yaml
from tests.experiments.hand_made import gate, judged, write_results
from tests.experiments.small_study import STAGE, TABLE


@pytest.mark.slow
def test_blocks_are_written_anew_and_prose_stays(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    places, page = write_results(tmp_path), tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    begin, end = f"<!-- results: {TABLE} {STAGE} -->", "<!-- end of results -->"
    page.write_text(f"Prose above.\n\n{begin}\nold\n{end}\n\nProse below | by hand.\n")
    written = build_page(places, page)
    text = page.read_text()
    assert text.startswith("Prose above.\n\n" + begin) and text.endswith("Prose below | by hand.\n")
    assert "old" not in text
    assert "| EditGRPO − Dr. GRPO | 2 |" in text
    picture = f"images/miniature/{TABLE}-{STAGE}.svg"
    assert f"]({picture})" in text and (page.parent / picture) in written
    before = {path: path.read_bytes() for path in written}
    build_page(places, page)  # the same results give the same bytes
    assert {path: path.read_bytes() for path in written} == before


@pytest.mark.slow
def test_a_page_is_begun_with_a_block_for_each_table_and_stage(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    places, page = write_results(tmp_path), tmp_path / "page.md"
    write_json(places.gate(STAGE, 0), gate(effusion=50, fracture=0))
    table = {"title": "A map", "stages": [STAGE], "arms": ["dr-grpo", "editgrpo"], "view": "map"}
    table |= {"pairs": [["editgrpo", "dr-grpo"]]}
    (places.study / "tables" / "where.yaml").write_text(dump_yaml(table))
    written = build_page(places, page)
    text = page.read_text()
    assert f"<!-- results: {TABLE} {STAGE} -->" in text and "<!-- results: where all -->" in text
    assert tmp_path / "images/miniature/where.svg" in written
    for path in places.results.glob("*/*/seed-*.json"):
        path.unlink()
    build_page(places, page)
    assert f"No results yet: `python -m experiments run {TABLE}`." in page.read_text()


def whole_gate(**said: int) -> dict[str, Any]:
    found = gate(**said)["findings"]
    more = {"p_say_absent": 0.01, "site_share": 0.04, "kind": "visible and said"}
    for row in found.values():
        row["present"]["samples"] = 200
        row |= more
    return {
        "seed": 3,
        "entropy": 0.4,
        "sampled_reward": 2.0,
        "groups_without_spread": 0.0,
        "share_with_visible_unsaid": 0.0,
        "findings": found,
    }


def test_a_block_shows_what_the_gate_found(tmp_path: Path) -> None:
    places, page = write_results(tmp_path), tmp_path / "page.md"
    begin, end = f"<!-- results: gate {STAGE} -->\n", "<!-- end of results -->\n"
    page.write_text(f"{begin}{end}")
    build_page(places, page)
    assert "Not measured yet" in page.read_text()
    write_json(places.gate(STAGE, 3), whole_gate(effusion=50, fracture=0))
    build_page(places, page)
    text = page.read_text()
    assert text.startswith(begin) and text.endswith(end)
    # 50 of 200 samples said it; none of 200 is below 1/200.
    [effusion] = [line for line in text.splitlines() if line.startswith("| Pleural Effusion |")]
    [fracture] = [line for line in text.splitlines() if line.startswith("| Fracture |")]
    assert "| 0.2500 |" in effusion and "| <0.0050 |" in fracture


@pytest.mark.parametrize("block", ["nothing small", f"{TABLE} nowhere"])
def test_a_block_of_something_else_is_refused(block: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- results: {block} -->\n<!-- end of results -->\n")
    with pytest.raises(ConfigError, match=block.split()[-1] if "nowhere" in block else "nothing"):
        build_page(write_results(tmp_path), page)


def test_curves_are_of_the_steps_that_all_seeds_have() -> None:
    def result(steps: list[int], values: list[float | None]) -> dict[str, Any]:
        return {"curve": {"step": steps, "entropy": values}, "said": {}}

    both = [result([1, 2, 3], [1.0, 2.0, None]), result([1, 2, 3, 4], [3.0, 6.0, 7.0, 8.0])]
    found = metric_series(both, "entropy")
    assert found is not None
    assert (found.steps, found.mean, found.low, found.high) == (
        (1, 2), (2.0, 4.0), (1.0, 2.0), (3.0, 6.0)
    )  # fmt: skip
    assert metric_series(both, "kl") is None
    assert saying_series(both, ["Fracture"]) is None


def test_what_is_said_is_added_up_over_findings_before_shares_are_taken() -> None:
    def row(said: list[int], present: list[int]) -> dict[str, list[int]]:
        return {"said_present": said, "present": present}

    findings = {"Fracture": row([0, 3], [10, 10]), "Edema": row([1, 2], [30, 40])}
    result = {"said": {"step": [5, 10], "findings": findings}}
    found = saying_series([result], ["Fracture", "Edema", "Pneumothorax"])
    assert found is not None
    assert found.steps == (5, 10) and found.mean == pytest.approx((1 / 40, 5 / 50))


@pytest.mark.slow
def test_a_finding_that_was_never_said_stands_at_its_bound(tmp_path: Path) -> None:
    places = write_results(tmp_path)
    write_json(places.gate(STAGE, 0), gate(effusion=50, fracture=0))
    points = map_points(judged(places), ("editgrpo", "dr-grpo"), TestSet.IN_DOMAIN, "recall")
    assert [(one.finding, one.p, one.is_bound) for one in points] == [
        ("Fracture", 0.01, True),
        ("Pleural Effusion", 0.5, False),
    ]
    # Fracture: said by EditGRPO in both seeds and never by Dr. GRPO; effusion: (1 - .5 + .5 - 1)/2.
    assert [one.value for one in points] == pytest.approx([1.0, 0.0])
    assert all(one.low <= one.value <= one.high for one in points)


def test_f1_of_the_map_counts_what_is_said_falsely(tmp_path: Path) -> None:
    places = write_results(tmp_path)
    write_json(places.gate(STAGE, 0), gate(effusion=50, fracture=0))
    points = map_points(judged(places), ("editgrpo", "dr-grpo"), TestSet.IN_DOMAIN, "f1")
    # Fracture: 1 and 2/3 (one false) for EditGRPO. Effusion: (1, 2/3) against (2/3, 1).
    assert [one.value for one in points] == pytest.approx([5 / 6, 0.0])


def test_differences_in_what_is_said_are_paired_by_seed_and_step(tmp_path: Path) -> None:
    places = write_results(tmp_path)
    said = {
        ("dr-grpo", 0): ([0, 1], [4, 4]),
        ("dr-grpo", 1): ([2, 2], [4, 0]),  # no sample in the second window
        ("editgrpo", 0): ([2, 4], [4, 4]),
        ("editgrpo", 1): ([3, 3], [4, 4]),
    }
    for (arm, seed), (hits, present) in said.items():
        path = places.result(STAGE, arm, seed)
        result = json.loads(path.read_text())
        row = {"said_present": hits, "present": present}
        result["said"] = {"step": [5, 10], "findings": {"Fracture": row}}
        write_json(path, result)
    pair = ("editgrpo", "dr-grpo")
    found = saying_differences(judged(places), pair, ["Fracture"])
    assert found is not None
    assert (found.steps, found.mean) == ((5,), (0.375,))  # of 2/4 - 0 and 3/4 - 2/4
    assert (found.low, found.high) == ((0.25,), (0.5,))
    assert saying_differences(judged(places), pair, ["Edema"]) is None
