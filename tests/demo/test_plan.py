"""What the demo plans: its recipes, the folders they lead to, and that the comparison is fair."""

from dataclasses import replace
from pathlib import Path

import pytest
from experiments.definitions import load_stage
from experiments.judge import load_gates
from experiments.places import Places

from editgrpo.config import EditLevel
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.demo.places import BASE_MODEL, RECIPES
from editgrpo.demo.plan import (
    FINDING_KINDS,
    FULL,
    PATIENTS_OF_TEST_SET,
    QUICK,
    SOURCES,
    UNCOMMON_FINDINGS,
    DemoPlan,
    Patients,
    System,
)
from editgrpo.demo.plan import TestSet as Place
from editgrpo.phantom import CHEXPERT_CLASS
from editgrpo.reports.chexpert import FINDINGS

PLAN = DemoPlan(folder=Path("somewhere"), size=QUICK, seed=7)
SFT_SYSTEMS = (System.SFT, System.SFT_CONTINUED)
RL_SYSTEMS = (System.DR_GRPO, System.EDITGRPO)


def test_every_system_and_the_base_model_have_a_recipe_and_there_is_no_other() -> None:
    expected = {"base", "base-reading", *(system.value for system in System)}
    assert {path.stem for path in RECIPES.glob("*.yaml")} == expected


@pytest.mark.parametrize("system", System)
def test_a_recipe_resolves_into_the_folders_of_the_plan(system: System) -> None:
    config = PLAN.sft_config(system, 5) if system in SFT_SYSTEMS else PLAN.rl_config(system)
    assert Path(config.output) == Path("somewhere") / system.value == PLAN.run(system)
    patients = "outpatients" if system is System.SFT else "inpatients"
    assert Path(config.data.folder) == Path("somewhere/studies") / patients
    assert config.data.prompt_template is not None
    assert Path(config.data.prompt_template).is_file()
    assert config.seed == 7
    start = BASE_MODEL if system is System.SFT else Path("somewhere/sft/model")
    assert Path(config.model.path) == start
    assert config.model.freeze_vision_tower


def test_both_reinforcement_runs_have_the_same_budget_and_differ_in_the_edit_alone() -> None:
    dr_grpo, editgrpo = (PLAN.rl_config(system) for system in RL_SYSTEMS)
    assert dr_grpo.edit.level is EditLevel.NONE
    assert editgrpo.edit.level is EditLevel.SENTENCE
    assert dr_grpo.steps == editgrpo.steps == QUICK.rl_steps
    # Equal in everything else: start model, group size, prompts, learning rate, reward, seed, ...
    assert replace(dr_grpo, edit=editgrpo.edit, output=editgrpo.output) == editgrpo


def test_continued_fine_tuning_goes_on_as_it_began() -> None:
    first = PLAN.sft_config(System.SFT, QUICK.sft_steps)
    longer = PLAN.sft_config(System.SFT_CONTINUED, 11)
    assert (first.max_steps, longer.max_steps) == (QUICK.sft_steps, 11)
    assert longer.batch_size == first.batch_size


def test_continued_fine_tuning_and_reinforcement_read_the_same_data() -> None:
    fine_tuning = PLAN.sft_config(System.SFT_CONTINUED, 5).data
    # How many validation studies are looked at does not matter to training.
    for system in RL_SYSTEMS:
        data = PLAN.rl_config(system).data
        assert replace(data, validation_limit=fine_tuning.validation_limit) == fine_tuning


def test_no_two_things_of_a_demo_share_a_folder() -> None:
    folders = [PLAN.studies(patients) for patients in Patients] + [PLAN.report]
    folders += [PLAN.run(system) for system in System]
    folders += [PLAN.evaluation(system, place) for system in System for place in Place]
    assert len(set(folders)) == len(folders)
    assert set(PATIENTS_OF_TEST_SET) == set(Place)
    assert set(SOURCES) == set(Patients)


def test_no_two_sets_are_drawn_alike() -> None:
    assert len({source.seed for source in SOURCES.values()}) == len(Patients)
    assert {source.seed // 10 for source in SOURCES.values()} == {0}  # a demo's seeds are ten apart


def test_the_demo_is_the_stage_of_the_experiments_with_other_sizes() -> None:
    stage = load_stage("unsaid", Places().study)
    drawn = {
        patients.value: (corpus.site(), corpus.seed, corpus.shares)
        for patients in Patients
        for corpus in [stage.corpora[patients.value]]
    }
    assert drawn == {
        patients.value: (source.profile, source.seed, source.shares)
        for patients, source in SOURCES.items()
    }
    assert (stage.sft_corpus, stage.rl_corpus) == (Patients.OUTPATIENTS, Patients.INPATIENTS)
    assert stage.test_sets == PATIENTS_OF_TEST_SET
    assert set(stage.rare_findings) == set(UNCOMMON_FINDINGS)


def test_findings_are_of_the_kinds_that_the_gate_measured() -> None:
    (gate,) = load_gates("unsaid", Places())
    measured = {finding: row["kind"] for finding, row in gate["findings"].items()}
    assert measured == {name: kind for kind, names in FINDING_KINDS.items() for name in names}


def test_every_finding_is_of_one_kind() -> None:
    named = [finding for findings in FINDING_KINDS.values() for finding in findings]
    assert sorted(named) == sorted(set(FINDINGS) - {"No Finding"})
    assert set(UNCOMMON_FINDINGS) <= set(CHEXPERT_CLASS.values())


def test_the_quick_demo_is_smaller_in_everything() -> None:
    for name in type(FULL).__slots__:
        assert 0 < getattr(QUICK, name) < getattr(FULL, name), name


def test_a_quick_demo_says_that_its_numbers_mean_nothing(tmp_path: Path) -> None:
    assert DemoPlan(folder=tmp_path, size=FULL, seed=0).remark is None
    remark = DemoPlan(folder=tmp_path, size=QUICK, seed=0).remark
    assert remark == (
        "Quick run: its numbers mean nothing (SFT has 60 steps, reinforcement learning 6)"
    )


def test_the_prompt_of_the_demo_holds_every_part() -> None:
    study = Study(
        study_id="s",
        patient_id="p",
        split=Split.TRAIN,
        images=(
            StudyImage(image_id="a", view=View.PA),
            StudyImage(image_id="b", view=View.AP, timepoint=Timepoint.PRIOR),
        ),
        indication="Cough.",
        findings="The lungs are clear.",
    )
    prompt = build_messages(study, max_images=4, template=str(RECIPES / "prompt.jinja"))
    parts = prompt.messages[0]["content"]
    text = "".join(part.get("text", "<image>") for part in parts)
    assert [image.image_id for image in prompt.images] == ["a", "b"]
    assert "current PA <image>" in text and "prior AP <image>" in text
    assert "INDICATION: Cough." in text and "TECHNIQUE: none" in text and "COMPARISON: none" in text
    assert "clear" not in text
