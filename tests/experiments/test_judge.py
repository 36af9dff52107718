"""What `show` says of result files made by hand: numbers by hand, seeds, kinds, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experiments.__main__ import main
from experiments.curves import windows
from experiments.gate import Bands, FindingKind
from experiments.judge import kinds_of, paired_record
from experiments.rows import (
    component_names,
    pack,
    pack_labels,
    reference_rows,
    scored_rows,
    unpack,
    unpack_labels,
)
from experiments.runner import progress_share

from editgrpo.demo.plan import TestSet
from editgrpo.errors import DataError
from editgrpo.evaluation.types import Prediction
from editgrpo.files import write_json
from editgrpo.reports.chexpert import FINDINGS
from tests.experiments.hand_made import (
    EFFUSION,
    FRACTURE,
    gate,
    judged,
    labels_of_studies,
    write_results,
)
from tests.experiments.small_study import STAGE, TABLE, write_study


@pytest.mark.slow
def test_the_differences_are_those_of_the_rows(tmp_path: Path) -> None:
    table = judged(write_results(tmp_path))
    # Macro-F1-14, in fourteenths. Dr. GRPO: effusion 2/3 (seed 0), 1 (seed 1), no fracture.
    # EditGRPO: 1 + 1 (seed 0); effusion 2/3, fracture 2*1/(2*1+1) = 2/3 (seed 1).
    arms = table.scores[TestSet.IN_DOMAIN]
    macro = "rules/macro-f1-14"
    assert arms["dr-grpo"].metrics[macro].seed_values == pytest.approx((2 / 3 / 14, 1 / 14))
    assert arms["editgrpo"].metrics[macro].seed_values == pytest.approx((2 / 14, 4 / 3 / 14))
    found = paired_record(table)
    assert found["seeds"] == 2
    for test_set in TestSet:
        values = found["paired"]["editgrpo-minus-dr-grpo"][test_set.value]
        # ((2 - 2/3) + (4/3 - 1)) / 2 / 14
        assert values[macro]["value"] == pytest.approx((4 / 3 + 1 / 3) / 28, abs=1e-6)
        assert values[macro]["low"] <= values[macro]["value"] <= values[macro]["high"]
        # Micro: Dr. GRPO 2*1/(2+0+2) = 1/2 and 4/(4+1) = 4/5; EditGRPO 1 and 4/(4+1+1) = 2/3.
        micro = values["rules/micro-f1-14"]["value"]
        assert micro == pytest.approx(((1 - 1 / 2) + (2 / 3 - 4 / 5)) / 2, abs=1e-6)
        assert values["rules/macro-f1-rare"]["value"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
        assert values["reward/total@rules"] == {"value": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.slow
def test_recall_and_f1_are_also_given_by_the_kinds_of_thegate(tmp_path: Path) -> None:
    places = write_results(tmp_path)
    write_json(places.gate(STAGE, 0), gate(effusion=50, fracture=0))
    table = judged(places)
    assert table.kinds[FindingKind.VISIBLE_UNSAID.value] == ("Fracture",)
    assert table.p_present["Fracture"] == (0.0, 100)
    arms = table.scores[TestSet.OUT_OF_DOMAIN]
    unsaid, said = "recall/visible and unsaid", "recall/visible and said"
    assert arms["editgrpo"].metrics[unsaid].seed_values == (1.0, 1.0)
    assert arms["dr-grpo"].metrics[unsaid].seed_values == (0.0, 0.0)
    assert arms["dr-grpo"].metrics[said].seed_values == (0.5, 1.0)
    assert arms["editgrpo"].metrics["f1/Fracture"].seed_values == pytest.approx((1.0, 2 / 3))
    paired = paired_record(table)["paired"]["editgrpo-minus-dr-grpo"]["in-domain"]
    # A resample without the one study that has it counts as 0 for both.
    assert paired[unsaid] == {"value": 1.0, "low": 0.0, "high": 1.0}


def test_the_gates_of_several_seeds_are_taken_together() -> None:
    # Fracture: 0 of 100 and 3 of 100 are 1.5 %, above the band; its AUC is the mean, .95 and .75.
    gates = [gate(effusion=9, fracture=0), gate(effusion=13, fracture=3)]
    kinds, p = kinds_of(gates, Bands())
    assert kinds["visible and said"] == ("Pleural Effusion",)
    assert kinds["between"] == ("Fracture",)
    assert p["Fracture"] == (0.015, 200)
    dim = kinds_of([gates[0], gate(effusion=13, fracture=0, auc=0.75)], Bands())[0]
    assert set(dim["unseen"]) == {"Pleural Effusion", "Fracture"}
    assert kinds_of([gate(effusion=9, fracture=0, auc=None)], Bands())[0]["unseen"]
    assert kinds_of([], Bands()) == ({}, {})


@pytest.mark.slow
def test_pairs_are_compared_over_the_seeds_that_both_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = write_results(tmp_path)
    places.result(STAGE, "dr-grpo", 1).unlink()
    words = ["--study", str(places.study), "--work", str(places.work)]
    main(["show", TABLE, "--stage", STAGE, "--json", *words])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["seeds"] == 1
    macro = found["paired"]["editgrpo-minus-dr-grpo"]["in-domain"]["rules/macro-f1-14"]["value"]
    assert macro == pytest.approx((2 - 2 / 3) / 14, abs=1e-6)
    places.result(STAGE, "dr-grpo", 0).unlink()
    main(["show", TABLE, "--stage", STAGE, "--json", *words])
    shown = capsys.readouterr().out
    assert json.loads(shown.splitlines()[-1]) == {"seeds": 0, "paired": {}}
    assert "No results yet: dr-grpo." in shown
    main(["list", *words])
    assert "1/2" in capsys.readouterr().out


def _change(path: Path, **values: Any) -> None:
    write_json(path, json.loads(path.read_text()) | values)


@pytest.mark.slow
def test_results_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    places = write_results(tmp_path)
    path = places.result(STAGE, "editgrpo", 1)
    _change(path, made_with={"config": {"steps": 7}})
    with pytest.raises(DataError, match="different settings"):
        judged(places)
    words = ["--study", str(places.study), "--work", str(places.work)]
    with pytest.raises(SystemExit, match=r"seed-1\.json: made with other settings"):
        main(["run", TABLE, "--seeds", "1", *words])
    path.unlink()
    judged(places)
    sets = json.loads(places.test_sets(STAGE).read_text())
    _change(places.test_sets(STAGE), **{"in-domain": sets["in-domain"] | {"digest": "other"}})
    with pytest.raises(DataError, match="another test set"):
        judged(places)


def test_a_table_without_results_says_how_to_get_them(tmp_path: Path) -> None:
    study = write_study(tmp_path, tmp_path / "base")
    words = ["--study", str(study), "--work", str(tmp_path)]
    with pytest.raises(SystemExit, match="no result of table two-arms; run `python -m experi"):
        main(["show", TABLE, "--stage", STAGE, *words])


def test_rows_are_read_back_as_they_were_written() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=(50, len(FINDINGS))).astype(np.uint8)
    np.testing.assert_array_equal(unpack_labels(pack_labels(labels)), labels)
    # The first finding is the highest of 14 bits, the last the lowest.
    assert pack_labels(labels_of_studies((0,), (len(FINDINGS) - 1,))) == "20000001"
    np.testing.assert_array_equal(unpack(pack(np.array([0, 10_000, 65_535]))), [0, 10_000, 65_535])


def test_rows_of_predictions_hold_their_labels_and_scores() -> None:
    effusion, fracture = "There is a left pleural effusion.", "There is a rib fracture."
    predictions = [
        Prediction(study_id="1", patient_id="p", prediction=effusion, reference=effusion),
        Prediction(study_id="2", patient_id="q", prediction=effusion, reference=fracture),
        Prediction(study_id="3", patient_id="p", prediction="", reference=fracture),
    ]
    rows, references = scored_rows(predictions), reference_rows(predictions)
    assert unpack_labels(rows["labels"])[:, EFFUSION].tolist() == [1, 1, 0]
    assert not unpack_labels(rows["labels"])[:, FRACTURE].any()
    assert unpack(references["patients"]).tolist() == [0, 1, 0]
    assert unpack_labels(references["labels"])[:, FRACTURE].tolist() == [0, 1, 1]
    assert rows["test_set"] == references["digest"]
    for name in component_names():
        scores = unpack(rows["scores"][name])
        assert scores[0] == 10_000 and scores[2] == 0
    other = [*predictions[:2], replace(predictions[2], reference="x")]
    assert reference_rows(other)["digest"] != references["digest"]


def test_windows_are_of_equal_length_and_at_most_so_many() -> None:
    rows = [{"step": step} for step in range(1, 251)]
    cut = windows(rows, 100)
    assert len(cut) == 84 and {len(part) for part in cut[:-1]} == {3} and len(cut[-1]) == 1
    assert [row for part in cut for row in part] == rows
    assert windows(rows[:5], 100) == [[row] for row in rows[:5]]


def test_the_share_of_a_job_grows_with_its_phases() -> None:
    told = [
        {},
        {"phase": "studies", "done": 0, "total": 1},
        {"phase": "training", "done": 1, "total": 2},
        {"phase": "in-domain", "done": 1, "total": 2},
        {"phase": "out-of-domain", "done": 2, "total": 2},
    ]
    shares = [progress_share(one) for one in told]
    assert shares == pytest.approx([0.0, 0.0, 0.45, 0.925, 1.0])
