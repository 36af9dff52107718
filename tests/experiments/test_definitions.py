"""Every stage, arm and table parses, and its settings are settings of a recipe."""

from copy import deepcopy
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from experiments.configs import departure, made_with, run_config
from experiments.definitions import (
    BASE,
    Method,
    load_arms,
    load_stage,
    load_table,
    names_in,
    with_trial,
)
from experiments.places import HERE, REPOSITORY, Places
from experiments.runner import Wanted, jobs_of

from editgrpo.config import Anneal, EditLevel, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.recipes.yaml_core import dump_yaml
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards.registry import REWARDS, complete_weights
from tests.experiments.small_study import STAGE, TABLE, write_study

ARMS = load_arms(HERE)
STAGES = names_in(HERE / "stages")
TABLES = names_in(HERE / "tables")


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_has_a_configuration_at_every_stage(stage: str, arm: str) -> None:
    found = load_stage(stage, HERE)
    config = run_config(found, ARMS, arm, 3, Places())
    assert config.seed == 3
    assert config.model.freeze_vision_tower  # as in the paper
    if isinstance(config, TrainConfig):
        complete_weights(REWARDS[config.reward.name], config.reward.weights)
        assert ARMS[arm].class_rates is (config.reward.class_rates is not None)
    assert set(found.rare_findings) < set(FINDINGS)
    assert set(found.arms) <= set(ARMS)
    for corpus in found.corpora.values():
        corpus.site()
    assert (REPOSITORY / found.base / "config.json").is_file()
    record = str(made_with(found, ARMS, arm))
    assert "runs/" not in record and str(REPOSITORY) not in record


@pytest.mark.parametrize("name", TABLES)
def test_every_table_names_arms_and_stages_that_are_there(name: str) -> None:
    table = load_table(name, ARMS, HERE)
    assert set(table.stages) <= set(STAGES)
    assert set(table.arms) <= set(ARMS)


@pytest.mark.slow
def test_the_arms_are_the_papers() -> None:
    stage = load_stage("unsaid", HERE)

    def config(name: str) -> TrainConfig:
        found = run_config(stage, ARMS, name, 0, Places())
        assert isinstance(found, TrainConfig)
        return found

    assert config("editgrpo").edit.level is EditLevel.SENTENCE
    assert config("editgrpo").sampled_per_group == 5
    assert config("editgrpo-20").sampled_per_group == 10
    assert config("dr-grpo").edit.level is EditLevel.NONE
    assert config("dr-grpo-5").rollout.group_size == 5
    assert (config("grpo").objective.loss, config("grpo").objective.scale) == ("grpo", "group")
    assert config("grpo-without-sft").model.path == str(REPOSITORY / stage.base)
    assert config("editgrpo-annealed").edit.anneal is Anneal.COSINE
    assert config("editgrpo-400").data.train_limit == 400
    assert Path(config("editgrpo-400").model.path).parts[-3] == "sft-400"
    # A table's arms are told apart by what they are, not by what they are called.
    records = [made_with(stage, ARMS, name) for name in ARMS]
    for one, other in combinations(records, 2):
        assert departure(one, other)


def test_a_result_is_made_otherwise_if_any_setting_differs_but_not_if_one_is_new() -> None:
    now = made_with(load_stage("unsaid", HERE), ARMS, "editgrpo")
    assert departure(now, now) is None
    older, other = deepcopy(now), deepcopy(now)
    del older["config"]["objective"]["likelihood"]
    assert departure(older, now) is None
    assert departure(now, older) is None  # two seeds, of which either may be the older
    other["config"]["objective"]["likelihood"] = 0.1
    assert departure(older, other) == "config.objective.likelihood 0.0, now 0.1"
    assert departure(other, older) == "config.objective.likelihood 0.1, now 0.0"
    del older["config"]["optim"]["learning_rate"]  # the recipe has another than the default
    assert "learning_rate" in (departure(older, now) or "")
    gone = deepcopy(now)
    gone["config"]["objective"]["of_old"] = 2
    assert departure(gone, now) == "config.objective.of_old 2, now absent"
    start = deepcopy(now)
    start["start"]["made_with"]["config"]["epochs"] = 40
    assert departure(start, now) == "start.made_with.config.epochs 40, now 4"


def test_an_arm_may_be_like_one_that_is_like_another() -> None:
    settings = ARMS["editgrpo-likelihood"].settings
    assert settings["edit"] == {
        "when": "unsaid", "anneal": "cosine", "anneal_until": 0.75, "placement": "reference_order",
    }  # fmt: skip
    assert settings["objective"]["credit"] == "tail"
    assert settings["objective"]["likelihood"] == 0.3


def test_rl_and_sft_continued_learn_from_the_same_studies() -> None:
    stage = load_stage("unsaid", HERE)
    folders = {
        name: run_config(stage, ARMS, name, 0, Places()).data.folder
        for name in ("sft", "sft-continued", "dr-grpo", "editgrpo")
    }
    assert folders["sft-continued"] == folders["dr-grpo"] == folders["editgrpo"]
    assert folders["sft"] != folders["editgrpo"]


def test_a_stage_may_change_an_arm_and_draw_its_studies_anew(tmp_path: Path) -> None:
    study = write_study(tmp_path, tmp_path / "base")
    path = study / "stages" / f"{STAGE}.yaml"
    plain = load_stage(STAGE, study)
    more = {"redraw": True, "arms": {"editgrpo": {"optim": {"learning_rate": 0.5}}}}
    path.write_text(path.read_text() + dump_yaml(more))
    stage, arms = load_stage(STAGE, study), load_arms(study)
    changed = run_config(stage, arms, "editgrpo", 1, Places())
    other = run_config(stage, arms, "dr-grpo", 1, Places())
    assert changed.optim.learning_rate == 0.5
    unchanged = run_config(plain, arms, "dr-grpo", 1, Places())
    assert other.optim.learning_rate == unchanged.optim.learning_rate
    assert changed.data.folder == other.data.folder
    assert changed.data.folder != run_config(stage, arms, "editgrpo", 2, Places()).data.folder
    assert isinstance(run_config(stage, arms, "sft", 1, Places()), SFTConfig)


def _edited(study: Path, name: str, old: str, new: str) -> None:
    path = study / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("arms.yaml", "level: none", "levle: none", "unknown key edit.levle"),
        ("arms.yaml", "method: rl", "method: rll", "method is 'rll'"),
        ("arms.yaml", "start: base", "start: sfd", "start 'sfd' is no arm"),
        ("arms.yaml", "start: base", "start: sft", "starts from itself"),
        ("arms.yaml", "title: EditGRPO", "like: nobody", "like 'nobody'"),
        (f"stages/{STAGE}.yaml", "rl_corpus: own", "rl_corpus: owm", "did you mean 'own'"),
        (f"stages/{STAGE}.yaml", "- Fracture", "- Fractures", "'Fractures' is unknown"),
        (f"stages/{STAGE}.yaml", "out-of-domain:", "elsewhere:", "test_sets must name"),
        (f"stages/{STAGE}.yaml", "  steps: 2", "  stepz: 2", "unknown key stepz"),
        (f"stages/{STAGE}.yaml", "studies: 40", "studies: many", "studies is 'many'"),
        (f"tables/{TABLE}.yaml", "- editgrpo", "- editgrpp", "'editgrpp' is no arm"),
        (f"tables/{TABLE}.yaml", "title: Two arms", "titel: Two arms", "unknown key titel"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(
    file: str, old: str, new: str, words: str, tmp_path: Path
) -> None:
    study = write_study(tmp_path, tmp_path / "base")
    _edited(study, file, old, new)
    with pytest.raises(ConfigError, match=words) as raised:
        arms = load_arms(study)
        stage = load_stage(STAGE, study)
        load_table(TABLE, arms, study)
        for name in arms:
            run_config(stage, arms, name, 0, Places())
    assert "\n" not in str(raised.value)


def test_jobs_come_behind_what_they_start_from_and_each_stands_once(tmp_path: Path) -> None:
    study = write_study(tmp_path, tmp_path / "base")
    arms = load_arms(study)
    wanted = Wanted(
        stages=[load_stage(STAGE, study)],
        arms=arms,
        names=["editgrpo", "dr-grpo"],
        seeds=[0, 1],
        places=Places(work=tmp_path / "work", study=study),
    )
    named = [(job.arm, job.seed) for job in jobs_of(wanted)]
    expected = ["sft", "editgrpo", "dr-grpo"]
    assert named == [(arm, seed) for seed in (0, 1) for arm in expected]
    assert [arm for arm in arms if arms[arm].start == BASE] == ["sft"]
    assert arms["sft"].method is Method.SFT


def test_a_trial_is_its_arm_at_the_stage_but_for_the_learning_rate() -> None:
    stage = load_stage("unsaid", HERE)
    name = "tuning/sft-continued@0.25"
    arms = with_trial(ARMS, stage, name)
    trial = run_config(stage, arms, name, 0, Places())
    own = run_config(stage, ARMS, "sft-continued", 0, Places())
    assert trial.optim.learning_rate == 0.25
    assert replace(trial.optim, learning_rate=own.optim.learning_rate) == own.optim
    assert (trial.data, trial.model) == (own.data, own.model)
    assert trial.output != own.output
    assert arms[name].validates and not arms["sft-continued"].validates
    assert with_trial(ARMS, stage, "editgrpo") == ARMS
    with pytest.raises(ConfigError, match="'fast' is no learning rate"):
        with_trial(ARMS, stage, "tuning/editgrpo@fast")
    with pytest.raises(ConfigError, match="no arm; did you mean 'editgrpo'"):
        with_trial(ARMS, stage, "tuning/editgrp@1e-3")
