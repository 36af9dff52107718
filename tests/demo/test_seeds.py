"""The tables over several demos, rebuilt from finished folders."""

import json
from pathlib import Path

import pytest
from benchmarks.demo_seeds import main

from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.demo.plan import FULL, SITE_OF_TEST_SET, DemoPlan, System, TestSet
from editgrpo.demo.sites import DEMO_PROFILES
from editgrpo.errors import DataError
from editgrpo.files import write_jsonl
from editgrpo.phantom import write_phantom


def finish(folder: Path, seed: int) -> None:
    """Write what the tables need of a finished demo: EditGRPO repeats every reference, the others
    only the even ones; as an earlier version wrote it, without patients."""
    plan = DemoPlan(folder=folder / f"seed-{seed}", size=FULL, seed=seed)
    for test_set in TestSet:
        site = SITE_OF_TEST_SET[test_set]
        studies = plan.studies(site)
        write_phantom(
            studies,
            studies=24,
            site=DEMO_PROFILES[site],
            seed=seed,
            split_shares=(0.0, 0.0, 1.0),
            size_px=56,
        )
        tested = list(StudySet.load(studies, split=Split.TEST))
        for system in System:
            is_right = [system is System.EDITGRPO or k % 2 == 0 for k in range(len(tested))]
            write_jsonl(
                plan.evaluation(system, test_set) / "predictions.jsonl",
                (
                    {
                        "study_id": study.study_id,
                        "prediction": study.findings if right else "",
                        "reference": study.findings,
                    }
                    for study, right in zip(tested, is_right, strict=True)
                ),
            )
    plan.report.write_text("finished")


def test_tables_are_rebuilt_from_finished_demos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (3, 4):
        finish(tmp_path, seed)
    main(["--output", str(tmp_path), "--seeds", "3", "4", "--rebuild"])
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert (tmp_path / "tables.md").read_text() in printed
    found = result["in-domain"]
    assert found["n_studies"] == 48
    assert 1 < found["n_patients"] < 48
    assert "over 2 training seeds, then each seed's own patients" in found["intervals"]
    best = found["scores"]["editgrpo"]["reward/total@rules"]
    assert best["seed_values"] == pytest.approx([3, 3], abs=0.2)
    lead = found["editgrpo_minus"]["sft"]["reward/total@rules"]
    assert lead["difference"] == pytest.approx(best["value"] / 2, abs=0.2)
    assert len(lead["seed_differences"]) == 2
    for text in (
        "**In domain (site A)**, 48 studies of 2 seeds; brackets are the 95 % interval over",
        "The same of each seed (3, 4):",
        "p for these runs",
        f"| EditGRPO | {best['value']:.3f} [",
        " / ".join(f"{value:.3f}" for value in best["seed_values"]),
    ):
        assert text in printed


def test_nothing_is_trained_where_tables_are_rebuilt(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="seed-0: holds no finished demo; leave --rebuild out"):
        main(["--output", str(tmp_path), "--seeds", "0", "1", "--rebuild"])
    assert not list(tmp_path.iterdir())
