"""Recipes: typed, merged, with errors that name file, key and the nearest known name."""

import contextlib
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.config import (
    AdvantageScale,
    EditLevel,
    LoraConfig,
    LossType,
    SFTConfig,
    TrainConfig,
)
from editgrpo.errors import ConfigError
from editgrpo.recipes import dump_config, load_recipe, parse_override, recipe_value
from editgrpo.recipes.published_files import KINDS, Published, find_published, published_files
from editgrpo.recipes.settings import list_settings
from editgrpo.reports.registry import ANNOTATOR_NAMES
from editgrpo.rewards.components import COMPONENT_NAMES
from editgrpo.rewards.registry import REWARDS, complete_weights
from tests.builders import REPOSITORY

RECIPES = [one for one in published_files() if one.reader in KINDS]

DEMO_RECIPES = sorted((REPOSITORY / "src" / "editgrpo" / "demo" / "recipes").glob("*.yaml"))


def write(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# What is read ---------------------------------------------------------------------------------


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "# nothing\n"), TrainConfig) == TrainConfig()


def test_values_take_the_types_of_their_fields(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        optim: {learning_rate: 3e-6, weight_decay: 0}
        edit: {level: none}
        rollout: {group_size: 7}
        objective: {loss: grpo, scale: group}
        reward: {weights: {rules/report-micro-f1-14: 2}}
        model: {lora: {rank: 4}, revision: null}
        report_to: [tensorboard]
        steps: 1_000
        """,
    )
    config = load_recipe(path, TrainConfig)
    assert config.optim.learning_rate == 3e-6
    assert isinstance(config.optim.weight_decay, float)
    assert config.edit.level is EditLevel.NONE
    assert config.rollout.group_size == 7
    assert config.objective.loss is LossType.GRPO
    assert config.objective.scale is AdvantageScale.GROUP
    assert config.reward.weights == {"rules/report-micro-f1-14": 2.0}
    assert config.model.lora == LoraConfig(rank=4)
    assert config.report_to == ("tensorboard",)
    assert config.steps == 1000


def test_a_section_keeps_the_defaults_of_its_place(tmp_path: Path) -> None:
    # SFTConfig sets 1e-5 and 100 warm-up steps where OptimConfig itself has 1e-6 and none.
    config = load_recipe(write(tmp_path, "optim: {weight_decay: 0.1}\n"), SFTConfig)
    assert config.optim.learning_rate == 1e-5
    assert config.optim.warmup_steps == 100
    assert config.optim.weight_decay == 0.1


def test_overrides_win_over_the_recipe_and_later_ones_over_earlier_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: 1\noptim: {beta2: 0.9}\nmodel: {lora: {rank: 4}}\n")
    overrides = ["seed=2", "optim.learning_rate=1e-4", "seed=3", "model.lora.alpha=8"]
    config = load_recipe(path, TrainConfig, overrides)
    assert config.seed == 3
    assert (config.optim.learning_rate, config.optim.beta2) == (1e-4, 0.9)
    assert config.model.lora == LoraConfig(rank=4, alpha=8)
    assert load_recipe(path, TrainConfig, ["model.lora=null"]).model.lora is None


def test_checks_between_fields_see_the_merged_values(tmp_path: Path) -> None:
    # Odd groups are refused for sentence edits only; neither line alone would tell.
    path = write(tmp_path, "rollout: {group_size: 5}\nedit: {level: none}\n")
    assert load_recipe(path, TrainConfig).sampled_per_group == 5
    with pytest.raises(ConfigError, match=r"recipe\.yaml with --set edit\.level=sentence: .*even"):
        load_recipe(path, TrainConfig, ["edit.level=sentence"])


def test_a_recipe_extends_another_one(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path / "base", "seed: 4\nobjective: {beta: 0.02, epsilon: 0.1}\n", "full.yaml")
    path = write(tmp_path, "extends: base/full.yaml\nobjective: {scale: group}\n")
    config = load_recipe(path, TrainConfig)
    assert config.seed == 4
    assert (config.objective.beta, config.objective.epsilon) == (0.02, 0.1)
    assert config.objective.scale is AdvantageScale.GROUP


def test_only_one_level_is_extended(tmp_path: Path) -> None:
    write(tmp_path, "seed: 1\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(ConfigError, match=r"c\.yaml: .*b\.yaml itself extends another recipe"):
        load_recipe(write(tmp_path, "extends: b.yaml\n", "c.yaml"), TrainConfig)


# What is refused ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sede: 1", "unknown key sede; did you mean seed?"),
        ("rollout: {group_sice: 4}", "unknown key rollout.group_sice; did you mean"),
        # The right name in the wrong section is the commonest slip.
        ("learning_rate: 1e-5", "unknown key learning_rate; did you mean optim.learning_rate?"),
        ("edit: {xyzzy: 1}", "unknown key edit.xyzzy; known here: level, annotator"),
        ("model: {lora: {rnak: 1}}", "unknown key model.lora.rnak; did you mean model.lora.rank?"),
        ("steps: many", "steps is 'many'; it must be a whole number"),
        ("steps: 1.5", "steps is 1.5; it must be a whole number"),
        ("steps: true", "steps is True; it must be a whole number"),
        ("optim: {beta2: .inf}", "optim.beta2 is inf; it must be a finite number"),
        ("optim: {beta2: false}", "optim.beta2 is False; it must be a finite number"),
        ("model: {freeze_vision_tower: no}", "model.freeze_vision_tower is 'no'; it must be true"),
        ("output: 7", "output is 7; it must be text"),
        ("edit: {level: sentense}", "edit.level is 'sentense'; it must be one of sentence, report"),
        ("edit: sentence", "edit is 'sentence'; it must be a section with keys level"),
        ("edit: null", "edit is None; it must be a section"),
        ("model: {lora: 3}", "model.lora is 3; it must be a section with keys rank, alpha"),
        ("model: {revision: 3}", "model.revision is 3; it must be text"),
        ("report_to: wandb", "report_to is 'wandb'; it must be a list, such as"),
        ("report_to: [1]", "report_to[0] is 1; it must be text"),
        ("reward: {weights: {a: high}}", "reward.weights.a is 'high'; it must be a finite number"),
        ("reward: {weights: [1]}", "reward.weights is [1]; it must be a mapping"),
        ("optim: {learning_rate: -1}", "optim.learning_rate is -1; it must be above 0"),
        (
            "optim: {schedule: cosin}",
            "optim.schedule is 'cosin'; it must be one of constant",
        ),
        (
            "model: {group_attention: eager}",
            "model.group_attention is 'eager'; it must be one of split, dense",
        ),
        ("optim: {beta2: 1}", "optim.beta2 is 1; it must be between 0 and 1"),
        ("optim: {lr: 1}", "unknown key optim.lr; known here: learning_rate, weight_decay"),
        ("prompts_per_pass: 2", "unknown key prompts_per_pass; tokens_per_pass, in tokens, took"),
        ("model: {attention: sdpa}", "unknown key model.attention; model.group_attention took"),
        ("optim: {state: master}", "optim.state=master is gone; take 8bit, or float32"),
        ("data: {train_limit: 0}", "data.train_limit is 0; it must be at least 1, or null"),
        ("keep_checkpoints: 0", "keep_checkpoints is 0; it must be at least 1"),
        ("run_name: ../elsewhere", "run_name is '../elsewhere'; it must be a name without slashes"),
        ("seed: -1", "seed is -1; it must be from 0 to"),
        ("seed: 1\nseed: 2", ", line 2: the key seed is given twice"),
        ("seed: [1", ", line 2: expected"),
        ("seed: !!python/object:os.system 1", "could not determine a constructor"),
        ("- seed", "a recipe is a list of `key: value` lines"),
        ("extends: [a]", "extends must be the name of another recipe"),
        ("extends: absent.yaml", "absent.yaml: No such file or directory"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, TrainConfig)
    message = str(caught.value)
    assert complaint in message
    assert "\n" not in message
    assert message.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("seed", "--set seed: write it as section.key=value"),
        ("=3", "--set =3: write it as section.key=value"),
        ("a..b=3", "--set a..b=3: write it as section.key=value"),
        ("optim.lerning_rate=3", "unknown key optim.lerning_rate; did you mean optim.learning"),
        ("seed=", "seed is None; it must be a whole number"),
        ("seed={", "--set seed={, line 1: "),
        ("steps.x=1", "it must be a whole number"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, ""), TrainConfig, [override])
    assert complaint in str(caught.value)


def test_an_override_value_may_hold_an_equals_sign() -> None:
    assert parse_override("model.path=runs/a=b") == ("model.path", "runs/a=b")


# Round trip -----------------------------------------------------------------------------------

# The values that a field's own checks accept; every other field takes anything of its type.
BOUNDED: dict[str, st.SearchStrategy[Any]] = {
    "learning_rate": st.floats(1e-12, 1e3),
    "beta2": st.floats(0.001, 0.999),
    "attention": st.just("sdpa"),
    "weight_decay": st.floats(0, 10),
    "max_grad_norm": st.floats(1e-6, 1e6),
    "threshold": st.floats(0.001, 0.999),
    "share": st.floats(0, 1),
    "anneal_until": st.floats(0.001, 1),
    "epsilon": st.floats(0.001, 0.999),
    "epsilon_high": st.none() | st.floats(1, 10),
    "beta": st.floats(0, 10),
    "likelihood": st.floats(0, 10),
    "likelihood_until": st.floats(0.001, 1),
    "temperature": st.floats(1e-3, 10),
    "max_dropped_share": st.floats(0, 0.999),
    "group_size": st.integers(1, 50).map(lambda half: 2 * half),
    "max_completion_tokens": st.integers(2, 10_000),
    "micro_batch_size": st.just(4),
    "batch_size": st.integers(1, 100).map(lambda n: 4 * n),
    "tokens_per_pass": st.just(2),
    "prompts_per_step": st.integers(1, 100).map(lambda n: 2 * n),
    "path": st.text(min_size=1),
    "target_modules": st.lists(st.text(), min_size=1).map(tuple),
    "timeout_s": st.none() | st.floats(1e-3, 1e6),
    "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:1"]),
    "store_writes": st.just(False),
    "green_endpoint": st.none() | st.just("http://localhost:8000/v1"),
    "green_timeout_s": st.floats(1e-3, 1e6),
    "crimson_endpoint": st.none() | st.just("http://localhost:8000/v1"),
    "crimson_timeout_s": st.floats(1e-3, 1e6),
    "run_name": st.none() | st.sampled_from(["1e-6", "null", "007", "a b", "~", "2020-01-01"]),
    "importance_cap": st.floats(1, 1e3),
    "gpu_memory_utilization": st.floats(0.001, 0.999),
    "server_url": st.just("http://node:8000"),
    "server_timeout_s": st.floats(0, 1e6),
    "group_port": st.integers(1, 65_535),
}


def values(name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Draw values of a field from its annotation, inside the field's own bounds."""
    if name in BOUNDED:
        return BOUNDED[name]
    if get_origin(kind) is UnionType:
        return st.one_of(values(name, inner) for inner in get_args(kind))
    if get_origin(kind) is tuple:
        return st.lists(values("", get_args(kind)[0])).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(st.text(), values("", get_args(kind)[1]))
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return configs(kind)
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    scalars: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(1, 10**9),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text()
        | st.sampled_from(["1e-6", "no", "null", "007", "1_0", "", "~", "2020-01-01"]),
        NoneType: st.none(),
    }
    return scalars[kind]


def configs(kind: type) -> st.SearchStrategy[Any]:
    """Draw configurations of a dataclass, every field of it."""
    kinds = get_type_hints(kind)
    drawn = {field.name: values(field.name, kinds[field.name]) for field in fields(kind)}
    return st.builds(kind, **drawn)


@pytest.mark.slow
@given(config=configs(TrainConfig) | configs(SFTConfig))
def test_a_dumped_config_is_read_back_equal(
    config: TrainConfig | SFTConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp(), dump_config(config), "dumped.yaml")
    assert load_recipe(path, type(config)) == config


def test_a_dump_names_every_field_in_plain_yaml() -> None:
    text = dump_config(TrainConfig())
    assert "level: sentence\n" in text
    assert "lora: null\n" in text
    assert "learning_rate: 1.0e-06\n" in text
    assert text.index("model:") < text.index("data:") < text.index("seed: 0\n")


# Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TrainConfig, SFTConfig])
def test_every_listed_setting_is_accepted_as_an_override(kind: type, tmp_path: Path) -> None:
    settings = list(list_settings(kind()))
    keys = [setting.key for setting in settings]
    assert "model.lora" in keys
    assert "model.lora.rank" in keys
    assert "optim.learning_rate" in keys
    overrides = [f"{setting.key}={setting.default}" for setting in settings]
    config = load_recipe(write(tmp_path, ""), kind, overrides)
    # Naming a key of a section that is null by default turns the section on.
    assert config == replace(kind(), model=replace(kind().model, lora=LoraConfig()))


def test_a_setting_has_the_default_of_its_place_and_its_meaning() -> None:
    found = {setting.key: setting for setting in list_settings(SFTConfig())}
    assert found["optim.learning_rate"].default == "1.0e-05"
    assert found["epochs"].default == "3"
    assert found["model.revision"].meaning == "Commit of the Hub id; null takes its main branch."
    assert found["model.dtype"].choices == ("float32", "bfloat16")


# The recipes of this package ------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_published_recipe_is_read_by_its_command(recipe: Published) -> None:
    kind = KINDS[recipe.reader]
    assert isinstance(load_recipe(recipe.path, kind), kind)


@pytest.mark.parametrize("path", DEMO_RECIPES, ids=lambda path: path.name)
def test_every_recipe_of_the_demo_parses(path: Path) -> None:
    # The `base` ones make the model that ships with the demo, by fine-tuning.
    kind = SFTConfig if "sft" in path.stem or path.stem.startswith("base") else TrainConfig
    assert isinstance(load_recipe(path, kind), kind)


def test_the_full_recipe_names_every_field() -> None:
    def names(value: Any) -> Any:
        return {k: names(v) for k, v in value.items()} if isinstance(value, dict) else None

    text = find_published("editgrpo-mimic-cxr").path.read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    assert names(written) == names(yaml.safe_load(dump_config(TrainConfig())))


def test_the_full_recipe_is_the_defaults() -> None:
    # The paper's settings are the defaults; the recipe spells them out and must not drift.
    default = TrainConfig()
    paths = [
        f"model.path={default.model.path}",
        f"data.folder={default.data.folder}",
        f"output={default.output}",
        # What needs weights cannot be a default: the package works without any.
        f"edit.annotator={default.edit.annotator}",
        f"reward.name={default.reward.name}",
        "clinical.store=null",
    ]
    path = Path("editgrpo-mimic-cxr")
    assert load_recipe(path, TrainConfig, paths) == default


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_names_a_known_reward_and_annotator(recipe: Published) -> None:
    config = load_recipe(recipe.path, KINDS[recipe.reader])
    weights = complete_weights(REWARDS[config.reward.name], config.reward.weights)
    assert set(weights) <= set(COMPONENT_NAMES)
    if isinstance(config, TrainConfig):
        assert config.edit.annotator in ANNOTATOR_NAMES


def test_every_recipe_has_its_command_on_the_page_of_recipes() -> None:
    page = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert [one.name for one in RECIPES if f"`{one.reader.command} {one.name}`" not in page] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "{{}}",
        "{[a]: 1}",
        "? {a: 1}\n: 2",
        "!!int abc",
        "!!float abc",
        "!!timestamp abc",
        "!!binary a",
        "!!set {a, b}",
        "!!omap [a]",
        "!!python/object:os.system {}",
        "!unknown 1",
        "&a [*a]",
        "&a {b: *a}",
        "*nobody",
        "<<: 1",
        "{<<: [1]}",
        "[" * 3000,
        "[" * 3000 + "]" * 3000,
        "9" * 6000,
        "9" * 400,
        ".nan",
        "\x00",
        "\x07",
        "a: b: c",
        "--- 1\n--- 2",
        "%YAML 9.9\n--- 1",
        "\ud800",
        "null",
        "[1, [2, {3: 4}]]",
        "&a [x, x, x, x]",
        "2026-01-01",
        "|\n  text",
    ],
    ids=lambda text: ascii(text[:20]),
)
@pytest.mark.parametrize("key", ["steps", "optim.learning_rate", "model", "reward.weights", "seed"])
def test_odd_yaml_is_one_line_wherever_it_stands(tmp_path: Path, key: str, text: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 3\n", encoding="utf-8")
    taken_as_it_is = (key, text) == ("reward.weights", "<<: 1")  # a name like any other
    with contextlib.suppress(UnicodeEncodeError):
        *above, last = key.split(".")
        inner = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(above))
        whole = f"{inner}{'  ' * len(above)}{last}: {text}\n"
        (tmp_path / "whole.yaml").write_text(whole, encoding="utf-8")
        with pytest.raises(ConfigError) as raised:
            load_recipe(tmp_path / "whole.yaml", TrainConfig)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
    if not taken_as_it_is:
        with pytest.raises(ConfigError) as raised:
            load_recipe(recipe, TrainConfig, [f"{key}={text}"])
        assert len(str(raised.value).replace(text, "")) < 800


@pytest.mark.parametrize("base", ["a\\0b", "/", "..", "''"])
def test_an_odd_name_to_extend_is_one_line(tmp_path: Path, base: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f'extends: "{base}"\n', encoding="utf-8")
    with pytest.raises(ConfigError):
        load_recipe(recipe, TrainConfig)


def test_many_aliases_are_no_bomb(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "r.yaml").write_text("\n".join(lines) + "\nreward: *a11\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_recipe(tmp_path / "r.yaml", TrainConfig)
    assert len(str(raised.value)) < 1000


def test_a_number_is_read_of_any_kind_of_recipe(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    keys = ("rollout.max_completion_tokens", "max_completion_tokens")
    for text, expected in (
        ("rollout: {max_completion_tokens: 7}", 7),
        ("max_completion_tokens: 9", 9),
        ("rollout: null", None),
        ("", None),
    ):
        path.write_text(text)
        assert recipe_value(path, *keys) == expected
    path.write_text("max_completion_tokens: many")
    with pytest.raises(ConfigError, match="max_completion_tokens is 'many'; it must be a whole"):
        recipe_value(path, *keys)


@pytest.mark.parametrize(
    ("kind", "text", "command"),
    [
        (SFTConfig, "edit: {threshold: 0.5}", "train"),
        (SFTConfig, "steps: 3", "train"),
        (TrainConfig, "epochs: 3", "sft"),
    ],
)
def test_a_recipe_of_the_other_command_is_told(
    tmp_path: Path, kind: type, text: str, command: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="unknown key") as caught:
        load_recipe(path, kind)
    assert str(caught.value).endswith(f"; is this a recipe for `editgrpo {command}`?")
    path.write_text("xyzzy: 3")
    with pytest.raises(ConfigError, match="unknown key xyzzy") as caught:
        load_recipe(path, kind)
    assert "is this a recipe" not in str(caught.value)
