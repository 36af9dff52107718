"""Results made by hand: two arms of two seeds on four studies, and a gate."""

from pathlib import Path
from typing import Any

import numpy as np
from experiments.configs import made_with
from experiments.definitions import load_arms, load_stage, load_table
from experiments.job import machine
from experiments.judge import Judged, judge
from experiments.places import Places
from experiments.rows import component_names, pack, pack_labels
from numpy.typing import NDArray

from editgrpo.demo.plan import TestSet
from editgrpo.files import write_json
from editgrpo.reports.chexpert import FINDINGS
from tests.experiments.small_study import STAGE, TABLE, write_study

EFFUSION, FRACTURE = FINDINGS.index("Pleural Effusion"), FINDINGS.index("Fracture")
STUDIES = 4


def labels_of_studies(*findings: tuple[int, ...]) -> NDArray[np.uint8]:
    rows = np.zeros((len(findings), len(FINDINGS)), dtype=np.uint8)
    for row, present in zip(rows, findings, strict=True):
        row[list(present)] = 1
    return rows


TRUTH = labels_of_studies((EFFUSION,), (EFFUSION,), (FRACTURE,), ())
# Each arm and seed says, in the four studies:
SAID = {
    ("dr-grpo", 0): labels_of_studies((EFFUSION,), (), (), ()),
    ("dr-grpo", 1): labels_of_studies((EFFUSION,), (EFFUSION,), (), ()),
    ("editgrpo", 0): labels_of_studies((EFFUSION,), (EFFUSION,), (FRACTURE,), ()),
    ("editgrpo", 1): labels_of_studies((EFFUSION,), (), (FRACTURE,), (FRACTURE,)),
}


def write_results(folder: Path) -> Places:
    study = write_study(folder, folder / "base")
    places = Places(work=folder / "work", study=study)
    references = {
        "digest": "d",
        "studies": STUDIES,
        "patients": pack(np.arange(STUDIES)),
        "labels": pack_labels(TRUTH),
    }
    write_json(places.test_sets(STAGE), dict.fromkeys((one.value for one in TestSet), references))
    for (arm, seed), said in SAID.items():
        write_json(places.result(STAGE, arm, seed), _result(study, arm, seed, said))
    return places


def _result(study: Path, arm: str, seed: int, said: NDArray[np.uint8]) -> dict[str, Any]:
    # Scores of .5 for all: differences of the reward are 0.
    rows = {
        "test_set": "d",
        "labels": pack_labels(said),
        "scores": {name: pack(np.full(STUDIES, 5000)) for name in component_names()},
    }
    return {
        "seed": seed,
        "made_with": made_with(load_stage(STAGE, study), load_arms(study), arm),
        "commit": "c" * 40,
        "dirty": False,
        "machine": machine(),
        "seconds": {"training": 10.0, "testing": 2.0},
        "steps": 2,
        "curve": {"step": [1, 2], "reward/sampled/mean": [1.0, 1.5], "entropy": [2.0, 1.0]},
        "said": {},
        "test_sets": dict.fromkeys((one.value for one in TestSet), rows),
    }


def judged(places: Places) -> Judged:
    arms = load_arms(places.study)
    table = load_table(TABLE, arms, places.study)
    return judge(table, load_stage(STAGE, places.study), arms, places)


def gate(*, effusion: int, fracture: int, auc: float | None = 0.95) -> dict[str, Any]:
    def row(said: int) -> dict[str, Any]:
        return {"auc": auc, "present": {"said": said, "samples": 100}}

    return {"findings": {"Pleural Effusion": row(effusion), "Fracture": row(fracture)}}
