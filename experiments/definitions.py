"""Stages, arms and tables as YAML files state them.

A *stage* is a regime: data, model and what all of its runs share. An *arm* is a way to train, the
same at every stage. A *table* names arms and the pairs to compare. All of them are data: a new arm
is a few lines of `arms.yaml`.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from editgrpo.config.check import settings
from editgrpo.config.validation import validated
from editgrpo.demo.plan import TestSet
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.foreign import reading
from editgrpo.recipes.yaml_core import parse_yaml
from editgrpo.reports.chexpert import FINDINGS
from experiments.corpora import Corpus
from experiments.gate import Bands, GateSize

Settings = Mapping[str, Any]
Kind = TypeVar("Kind")
BASE = "base"
"""Start of an arm that is trained from the stage's base model."""


class Method(StrEnum):
    """How an arm is trained."""

    SFT = "sft"
    RL = "rl"


class Data(StrEnum):
    """Which of the stage's training sets an arm sees."""

    SFT = "sft"
    RL = "rl"


@settings()
class Arm:
    """A way to train."""

    title: str
    """In tables."""
    method: Method
    """`sft` or `rl`."""
    start: str = "sft"
    """The arm whose model it starts from; `base` for the stage's base model."""
    data: Data = Data.RL
    """The training set."""
    validates: bool = False
    """Whether it is tested on the validation part of RL's training set alone: a trial of tuning."""
    class_rates: bool = False
    """Whether the reward weighs findings by their frequency in the training set."""
    settings: Settings = field(default_factory=dict)
    """What differs from the stage's recipe of this method, in the form of a recipe."""


@settings()
class Stage:
    """A regime in which arms are compared."""

    name: str
    base: str
    """Folder of the base model, from the root of the repository."""
    corpora: Mapping[str, Corpus]
    """Data sets by name."""
    sft_corpus: str
    """What SFT sees; its validation part chooses the epoch."""
    rl_corpus: str
    """What RL and SFT continued see."""
    test_sets: Mapping[TestSet, str]
    """The corpus of each test set."""
    redraw: bool = False
    """Whether each seed draws its training sets anew; test sets are the same for all seeds."""
    start_folder: str = "model"
    """Which model of SFT others start from: `model`, or `model-for-rl`, that of the epoch before
    the best."""
    rare_findings: tuple[str, ...] = ()
    """The findings of the "rare" metrics."""
    sft: Settings = field(default_factory=dict)
    """What differs from the demo's SFT recipe."""
    rl: Settings = field(default_factory=dict)
    """What differs from the demo's EditGRPO recipe, for all RL arms."""
    arms: Mapping[str, Settings] = field(default_factory=dict)
    """What an arm needs at this stage, such as the learning rate that was tuned for it."""
    bands: Bands = field(default_factory=Bands)
    """Where the kinds of findings part."""
    gate: GateSize = field(default_factory=GateSize)
    """How much the gate measures."""

    def training_corpus(self, data: Data, seed: int) -> Corpus:
        """Return the training set of an arm's run."""
        corpus = self.corpora[self.sft_corpus if data is Data.SFT else self.rl_corpus]
        return corpus.drawn_again(seed) if self.redraw else corpus

    def site_corpus(self) -> Corpus:
        """Return the site at which arms are trained, as it is when RL comes; its gate is measured
        on it."""
        return self.corpora[self.rl_corpus]

    def test_corpus(self, test_set: TestSet) -> Corpus:
        """Return a test set, the same for all arms and seeds."""
        return self.corpora[self.test_sets[test_set]]


class View(StrEnum):
    """What a table shows."""

    SCORES = "scores"
    CURVES = "curves"
    MAP = "map"


@settings()
class Table:
    """Arms beside each other."""

    name: str
    title: str
    stages: tuple[str, ...]
    arms: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    """Differences first minus second."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names that pairs use for an arm, such as `best`."""
    test_sets: tuple[TestSet, ...] = tuple(TestSet)
    """What is shown for readers; the JSON object has all."""
    view: View = View.SCORES
    note: str = ""
    """What the paper says, or why the table is there."""

    def arm(self, name: str) -> str:
        """Return the arm that a name of a pair stands for."""
        return self.aliases.get(name, name)


def load_arms(study: Path) -> dict[str, Arm]:
    """Read all arms.

    Args:
        study: The folder of the study, which holds `arms.yaml`.

    Returns:
        Name to arm; settings of an arm that is `like` another are laid over that one's.

    Raises:
        ConfigError: the file is wrong (the message names file and arm), an arm starts from one that
            is not there or is not trained by SFT, or arms start from each other in a circle.
    """
    path = study / "arms.yaml"
    arms: dict[str, Arm] = {}
    whole: dict[str, dict[str, Any]] = {}
    for name, item in _mapping(path).items():
        place = f"{path}, arm {name}"
        values = dict(_section(item, place))
        like = values.pop("like", None)
        if like is not None:
            if like not in whole:
                raise ConfigError(f"{place}: like {like!r}, which is no arm above it; name one")
            values = _over(whole[like], values)
        whole[name] = values
        arms[name] = _filled(Arm, values, place)
    for name, arm in arms.items():
        _check_start(arms, name, arm, path)
    return arms


TRIAL = "tuning/{arm}@{rate}"
"""Name of an arm that is tried with a learning rate; also its folder among the results."""


def with_trial(arms: Mapping[str, Arm], stage: Stage, name: str) -> dict[str, Arm]:
    """Return the arms and, if the name is that of a trial, the arm that is tried.

    Args:
        arms: All arms.
        stage: Where it is tried.
        name: An arm, or a trial such as `tuning/editgrpo@0.0002`.

    Returns:
        The arms; a trial has all the settings of its arm at the stage but the learning rate.

    Raises:
        ConfigError: there is no such arm, or the rate is no number.
    """
    found = dict(arms)
    base, at, rate = name.removeprefix(TRIAL.partition("{")[0]).partition("@")
    if base not in arms:
        raise ConfigError(f"{name!r} is no arm{nearest_name(base, tuple(arms))}")
    if at:
        try:
            changes = {"optim": {"learning_rate": float(rate)}}
        except ValueError as error:
            raise ConfigError(f"{name}: {rate!r} is no learning rate; write a number") from error
        settings = _over(_over(arms[base].settings, stage.arms.get(base, {})), changes)
        found[name] = replace(arms[base], settings=settings, validates=True)
    return found


def _over(below: Settings, above: Settings) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _over(old, value) if both and old is not None else value
    return merged


def _check_start(arms: Mapping[str, Arm], name: str, arm: Arm, path: Path) -> None:
    seen = {name}
    while arm.start != BASE:
        if arm.start not in arms:
            hint = nearest_name(arm.start, [BASE, *arms])
            raise ConfigError(f"{path}, arm {name}: start {arm.start!r} is no arm{hint}")
        if arm.start in seen:
            raise ConfigError(f"{path}, arm {name}: starts from itself; start one from {BASE}")
        seen.add(arm.start)
        arm = arms[arm.start]


def load_stage(name: str, study: Path) -> Stage:
    """Read a stage.

    Args:
        name: Its name, that of the file.
        study: The folder of the study, which holds `stages/`.

    Returns:
        The stage.

    Raises:
        ConfigError: there is none of this name, or its file is wrong (the message names it).
    """
    path = _path_of(name, study / "stages")
    values = dict(_mapping(path))
    corpora = {
        key: _filled(Corpus, _section(item, f"{path}, corpus {key}"), str(path))
        for key, item in _section(values.get("corpora", {}), str(path)).items()
    }
    tests = _section(values.get("test_sets", {}), str(path))
    if set(tests) != set(TestSet):
        raise ConfigError(f"{path}: test_sets must name {' and '.join(TestSet)}")
    parts = {
        "corpora": corpora,
        "test_sets": {TestSet(key): value for key, value in tests.items()},
        "bands": _filled(Bands, _section(values.get("bands", {}), str(path)), str(path)),
        "gate": _filled(GateSize, _section(values.get("gate", {}), str(path)), str(path)),
        "name": name,
    }
    stage = _filled(Stage, {**values, **parts}, str(path))
    for used in (stage.sft_corpus, stage.rl_corpus, *stage.test_sets.values()):
        if used not in corpora:
            hint = nearest_name(str(used), tuple(corpora))
            raise ConfigError(f"{path}: {used!r} is no corpus of the stage{hint}")
    for finding in stage.rare_findings:
        if finding not in FINDINGS:
            raise ConfigError(f"{path}: rare finding {finding!r} is unknown")
    return stage


def load_table(name: str, arms: Mapping[str, Arm], study: Path) -> Table:
    """Read a table.

    Args:
        name: Its name, that of the file.
        arms: All arms.
        study: The folder of the study, which holds `tables/`.

    Returns:
        The table; arms that only its pairs name stand behind the others.

    Raises:
        ConfigError: there is none of this name, or its file is wrong (the message names it).
    """
    path = _path_of(name, study / "tables")
    values = dict(_mapping(path))
    pairs = values.get("pairs", [])
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in pairs
    ):
        raise ConfigError(f"{path}: pairs is a list of [first, second]")
    values |= {"name": name, "pairs": tuple((str(a), str(b)) for a, b in pairs)}
    table = _filled(Table, values, str(path))
    named = [*table.arms, *(table.arm(one) for pair in table.pairs for one in pair)]
    for one in named:
        if one not in arms:
            raise ConfigError(f"{path}: {one!r} is no arm{nearest_name(one, tuple(arms))}")
    return replace(table, arms=tuple(dict.fromkeys(named)))


def names_in(folder: Path) -> list[str]:
    """Return the names of the stages or tables of a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _path_of(name: str, folder: Path) -> Path:
    known = names_in(folder)
    if name not in known:
        what = folder.name.removesuffix("s")
        raise ConfigError(f"{what} {name!r} is unknown{nearest_name(name, known)}")
    return folder / f"{name}.yaml"


def _mapping(path: Path) -> Mapping[str, Any]:
    with reading(path, "give a YAML file in UTF-8", error=ConfigError):
        text = path.read_text(encoding="utf-8")
    return _section(parse_yaml(text, str(path)), str(path))


def _section(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{place}: must hold `key: value` lines")
    return value


def _filled(kind: type[Kind], values: Mapping[str, Any], place: str) -> Kind:
    try:
        filled: Kind = validated(kind, dict(values))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return filled
