"""The parts of the HTML report: reading run folders, choosing pages, cutting differences."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from editgrpo.data.prepared.store import StudySet, write_tables
from editgrpo.display.html import write_report
from editgrpo.display.html.palette import run_colours
from editgrpo.display.html.results import evaluation_blocks
from editgrpo.display.html.rollouts import choose_groups, index_groups, read_group, spread
from editgrpo.display.html.runs import RunKind, load_runs
from editgrpo.display.html.segments import cut_sentences, diff_reports
from editgrpo.display.html.studies import StudyCatalogue, find_studies
from editgrpo.errors import DataError
from tests.display.run_folders import (
    RULES,
    write_comparison,
    write_demo,
    write_evaluation,
    write_lines,
    write_rl_run,
    write_studies_folder,
)


def test_known_sentences_are_cut_out_even_without_a_full_stop() -> None:
    text = "heart is large no effusion 1. lungs are clear. Ribs intact."
    assert cut_sentences(text, ["no effusion 1. lungs are clear."]) == [
        "heart is large",
        "no effusion 1. lungs are clear.",
        "Ribs intact.",
    ]


@pytest.mark.parametrize("text", ["", " \n ", "no stop", "A. B.", "Size 2.5 cm. Stable."])
def test_cutting_loses_no_words(text: str) -> None:
    assert " ".join(cut_sentences(text)).split() == text.split()


def test_replacement_shows_the_removed_sentence_before_the_inserted_one() -> None:
    segments = diff_reports("A b. Wrong. C d.", "A b. Right. C d.", ["Wrong.", "Right."])
    assert [(one.change.value, one.text) for one in segments] == [
        ("kept", "A b."),
        ("removed", "Wrong."),
        ("inserted", "Right."),
        ("kept", "C d."),
    ]


def test_diff_of_equal_reports_keeps_everything() -> None:
    assert {one.change.value for one in diff_reports("A. B.", "A. B.")} == {"kept"}


def test_broken_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    write_rl_run(tmp_path / "run", studies="none", edits=True, gain=0.5, steps=10)
    metrics = tmp_path / "run" / "metrics.jsonl"
    whole = metrics.read_bytes()
    # A line killed in the middle of a two-byte letter, an empty line, and a line that is no object.
    metrics.write_bytes(whole + '{"step": 11, "x": "é'.encode()[:-1] + b"\n\n[1]\n")
    (run,) = load_runs([tmp_path / "run"])
    assert len(run.metrics) == 10
    assert run.broken_lines == 2


def test_nan_becomes_missing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": NaN, "kl": Infinity}\n')
    (run,) = load_runs([tmp_path / "run"])
    assert run.metrics == [{"step": 1, "loss": None, "kl": None}]
    assert run.kind is RunKind.SFT


def test_scores_of_several_seeds_are_not_shown_beside_one_seeds_reports(tmp_path: Path) -> None:
    write_rl_run(tmp_path / "run", studies="none", edits=True, gain=0.5, steps=10)
    write_evaluation(tmp_path / "run", "site-a", system="run", quality=0.5)
    folder = tmp_path / "run" / "evaluation" / "site-a"
    (run,) = load_runs([tmp_path / "run"])
    assert [one.predictions for one in run.evaluations] == [folder / "predictions.jsonl"]
    scores = json.loads((folder / "scores.json").read_text()) | {"n_seeds": 3}
    (folder / "scores.json").write_text(json.dumps(scores))
    (run,) = load_runs([tmp_path / "run"])
    assert [one.predictions for one in run.evaluations] == [None]


def test_folders_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        load_runs([tmp_path / "absent"])
    with pytest.raises(DataError, match=r"holds no metrics\.jsonl"):
        load_runs([tmp_path])


def test_runs_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = [tmp_path / seed / "editgrpo" for seed in ("seed-0", "seed-1")]
    for folder in [*folders, tmp_path / "sft"]:
        write_lines(folder / "metrics.jsonl", [{"step": 1, "loss": 1.0}])
    names = [run.name for run in load_runs([*folders, tmp_path / "sft"])]
    assert names == ["seed-0/editgrpo", "seed-1/editgrpo", "sft"]


def test_systems_keep_their_colour_and_seeds_share_it() -> None:
    colours = run_colours(["seed-0/editgrpo", "editgrpo-seed1", "mine", "sft", "other"])
    assert colours[0] == colours[1] == run_colours(["editgrpo"])[0]
    assert len(set(colours)) == 4


def test_spread_begins_with_the_ends_and_loses_nothing() -> None:
    # Ends, then the middle of 0..8, then the quarters 2 and 6.
    assert spread(list(range(9)))[:5] == [0, 8, 4, 2, 6]
    assert sorted(spread(list(range(101)))) == list(range(101))


def test_choice_covers_every_run_rule_and_the_whole_training(tmp_path: Path) -> None:
    groups = []
    for index, edits in enumerate((True, False)):
        folder = tmp_path / str(index)
        write_rl_run(folder, studies="none", edits=edits, gain=0.5, steps=200, groups=6)
        groups += index_groups(folder / "rollouts.jsonl", index)[0]
    chosen = choose_groups(groups, 20)
    assert len(chosen) == 20
    assert {one.run for one in chosen} == {0, 1}
    assert set(RULES) <= {rule for one in chosen for rule in one.rules}
    assert min(one.step for one in chosen) == 1
    assert max(one.step for one in chosen) == 191
    assert choose_groups(groups, 20) == chosen
    assert len(choose_groups(groups, 10_000)) == len(groups)
    assert choose_groups(groups, 0) == []


def test_what_is_wanted_comes_first_and_leaves_room(tmp_path: Path) -> None:
    groups = []
    for index in range(2):
        write_rl_run(tmp_path / str(index), studies="none", edits=True, gain=0.5, steps=9, groups=4)
        groups += index_groups(tmp_path / str(index) / "rollouts.jsonl", index)[0]
    keys = [(one.run, one.step, one.study_id) for one in groups]
    first, *others = reversed([key for key in keys if key[0] == 1])
    for limit in (1, 4, 8):
        chosen = choose_groups(groups, limit, [(5, 1, "nowhere"), first, *others])
        assert len(chosen) == limit
        # The same step and study of the other run is another group.
        assert first in {(one.run, one.step, one.study_id) for one in chosen}
    assert {one.run for one in choose_groups(groups, 8, [first, *others])} == {0, 1}
    assert choose_groups(groups, 0, [first]) == []


def test_group_shows_the_best_first_with_the_reward_before_the_edit(tmp_path: Path) -> None:
    write_rl_run(tmp_path / "run", studies="none", edits=True, gain=0.5)
    (run,) = load_runs([tmp_path / "run"])
    path = tmp_path / "run" / "rollouts.jsonl"
    groups, broken = index_groups(path, 0)
    group = next(one for one in groups if "mislabelled" in one.rules)
    page = read_group(run, group)
    assert broken == 0
    assert [row["rank"] for row in page["rows"]] == ["best", "worst"]
    best, worst = page["rows"]
    assert (best["rule"], worst["rule"]) == ("mislabelled", None)
    assert best["sourceReward"]["total"] == 1.4
    changes = [change for change, _, _ in best["segments"]]
    assert changes.count("removed") == changes.count("inserted") == 1
    inserted = next(segment for segment in best["segments"] if segment[0] == "inserted")
    assert inserted[1] in page["reference"]
    assert inserted[2] is True  # word for word in the reference


def test_half_written_rollouts_are_counted(tmp_path: Path) -> None:
    write_rl_run(tmp_path, studies="none", edits=True, gain=0.5, steps=10)
    path = tmp_path / "rollouts.jsonl"
    before, _ = index_groups(path, 0)
    path.write_bytes(path.read_bytes() + b'{"step": 9, "study_id"')
    after, broken = index_groups(path, 0)
    assert (len(after), broken) == (len(before), 1)


@pytest.mark.slow
def test_studies_are_found_beside_the_runs_or_where_the_caller_says(tmp_path: Path) -> None:
    runs = load_runs(write_demo(tmp_path, steps=10))
    assert [path.name for path in find_studies(runs[0], None)] == ["site-a"]
    both = find_studies(runs[0], tmp_path / "studies")
    assert [path.name for path in both] == ["site-a", "site-b"]
    with pytest.raises(DataError, match=r"no prepared\.json"):
        find_studies(runs[0], tmp_path / "sft")


def test_catalogue_prefers_the_study_whose_findings_are_the_reference(tmp_path: Path) -> None:
    write_studies_folder(tmp_path / "one", 2, "x")
    write_studies_folder(tmp_path / "two", 2, "x")
    studies = [
        replace(study, findings="Another text.") for study in StudySet.load(tmp_path / "two")
    ]
    write_tables(tmp_path / "two", studies)
    catalogue = StudyCatalogue()
    folders = [tmp_path / "one", tmp_path / "two"]
    assert catalogue.key("x-000", "Another text.", folders) == "1/x-000"
    assert catalogue.key("x-000", "Unknown.", folders) == "0/x-000"
    assert catalogue.key("y", "", folders) is None


def test_unreadable_images_are_counted_not_fatal(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    write_studies_folder(folder, 1, "x")
    lateral = StudySet.load(folder).images.png("x-000-lateral-current")
    shard = folder / "images" / "shard-00000.arrow"
    shard.write_bytes(shard.read_bytes().replace(lateral, bytes(len(lateral))))
    catalogue = StudyCatalogue()
    key = catalogue.key("x-000", "", [folder])
    assert key is not None
    shown = catalogue.shown(key)
    assert shown["unreadable"] == 1
    assert [image["timepoint"] for image in shown["images"]] == ["current", "prior"]
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in shown["images"])


def test_best_value_stands_out_only_where_more_is_better(tmp_path: Path) -> None:
    for system, quality in (("a", 0.5), ("b", 0.6)):
        write_evaluation(tmp_path / system, "test", system=system, quality=quality)
    (block,) = evaluation_blocks(load_runs([tmp_path / "a", tmp_path / "b"]))
    best = {row["metric"]: [cell["is_best"] for cell in row["cells"]] for row in block["rows"]}
    assert best["rules/micro-f1-14"] == [False, True]
    assert best["text/words"] == [False, False]
    # 0.5 with an interval of 7 % to either side: 0.465 to 0.535.
    assert block["rows"][1]["cells"][0]["interval"] == "[0.465, 0.535]"
    findings = [name for name, _, _ in block["chart"]["findings"]]
    assert findings[-1] == "No Finding"
    assert ["Fracture", 9, True] in block["chart"]["findings"]
    assert "Pleural Other" not in findings  # neither occurs nor was predicted


def test_the_page_says_what_was_resampled_and_shows_every_seed(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", "test", system="a", quality=0.5)
    write_comparison(tmp_path / "a", "test", "a", "b")
    (block,) = evaluation_blocks(load_runs([tmp_path / "a"]))
    assert block["intervals"].startswith("95 % interval over 400 studies (patients not known")
    path = tmp_path / "a" / "evaluation" / "test" / "scores.json"
    scores = json.loads(path.read_text())
    scores |= {"n_patients": 90, "n_seeds": 2}
    scores["metrics"]["rules/micro-f1-14"]["seed_values"] = [0.48, 0.52]
    path.write_text(json.dumps(scores))
    (block,) = evaluation_blocks(load_runs([tmp_path / "a"]))
    assert block["intervals"] == (
        "95 % interval over 2 training seeds, then 90 patients (400 studies)"
    )
    assert block["rows"][1]["cells"][0]["seeds"] == "seeds 0.480 0.520"
    (comparison,) = block["comparisons"]
    assert comparison["p_values"].startswith("p for these runs")
    page = tmp_path / "report.html"
    write_report([tmp_path / "a"], page, title="t")
    shown = page.read_text()
    for text in (block["intervals"], "seeds 0.480 0.520", "p (these runs)", "a − b"):
        assert text in shown
