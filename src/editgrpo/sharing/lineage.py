"""Where a model comes from: its run, the runs before it, the base model and the studies.

A run that starts from another run's model is a stage after it. What a stage has read is compared
with the hashes that it noted, so that a card does not speak of other studies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.config import DataConfig, SFTConfig, TrainConfig
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.licences import DATASETS, DatasetCard
from editgrpo.data.prepared.store import PREPARED_FILE, StudySet, read_prepared
from editgrpo.data.prompt import template_of
from editgrpo.data.study import Split
from editgrpo.errors import DataError, TrainingError
from editgrpo.files import real_path
from editgrpo.hub_errors import may_be_hub_id
from editgrpo.model_files import CONFIG, read_json_object
from editgrpo.provenance import CONFIG_FILE, read_provenance
from editgrpo.recipes import load_recipe
from editgrpo.recipes.yaml_core import parse_yaml
from editgrpo.sharing.serving import PromptSettings
from editgrpo.training.epochs import MODEL_FOR_RL
from editgrpo.training.run.folder import MODEL
from editgrpo.training.run.inputs import INPUTS_FILE, set_hashes, template_hashes

_FROM_CACHE = "models--"
"""How the Hub's cache names the folder of a repository: `models--organisation--name`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One run.

    Attributes:
        run: Its folder.
        config: What it was started with.
        provenance: When, by which versions and commit.
        studies: The prepared set that it read.
        dataset: Which data set that is, a key of `DATASETS`.
        training_studies: Studies that it was trained on.
    """

    run: Path
    config: SFTConfig | TrainConfig
    provenance: Mapping[str, Any]
    studies: Path
    dataset: str
    training_studies: int

    @property
    def licence(self) -> DatasetCard:
        """What the data set asks."""
        return DATASETS[self.dataset]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """A trained model and all that it comes from.

    Attributes:
        model: Its folder.
        stages: The runs, the first one first; at least one.
        base: Hub id of the model that the first started from; None if that was a folder whose
            origin is not known.
        base_commit: Its commit, as far as it is known.
    """

    model: Path
    stages: tuple[Stage, ...]
    base: str | None
    base_commit: str | None

    @property
    def last(self) -> Stage:
        """The run that the model came out of."""
        return self.stages[-1]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Keys of the data sets of all runs, each once."""
        return tuple(dict.fromkeys(stage.dataset for stage in self.stages))

    @property
    def prompt_template(self) -> Path:
        """The template that the last run wrote prompts with."""
        return template_of(self.last.config.data)

    def prompt_settings(self) -> PromptSettings:
        """Return what else decides prompts."""
        config = self.last.config
        return PromptSettings(
            budget=PixelBudget(**read_prepared(self.last.studies)["budget"]),
            max_images=config.data.max_images,
            target=config.data.target,
            max_completion_tokens=(
                config.max_completion_tokens
                if isinstance(config, SFTConfig)
                else config.rollout.max_completion_tokens
            ),
        )


def read_lineage(
    place: Path, studies: Sequence[Path] = (), *, base_model: str | None = None
) -> Lineage:
    """Read where a model comes from.

    Args:
        place: A run folder, or one of its model folders.
        studies: Where prepared sets lie that are no longer where a run read them.
        base_model: Hub id of the base, where it is not known.

    Returns:
        The runs, up to the first that started from no run's model.

    Raises:
        TrainingError: there is no run, it has no model yet, its records are damaged, or the folder
            that it began with is not there.
        DataError: a prepared set is not there, or is another than the run read.
        ConfigError: a run's settings cannot be read.
    """
    run, model = find_model_of_run(place)
    stages: list[Stage] = []
    while True:
        stage = _read_stage(run, studies)
        stages.insert(0, stage)
        start = Path(stage.config.model.path)
        if base_model is None:
            _check_start(run, stage.config.model.path)
        if not (start.is_dir() and (start.parent / CONFIG_FILE).is_file()):
            break
        if real_path(start.parent) in {real_path(one.run) for one in stages}:
            raise TrainingError(f"{start.parent}: its model is its own beginning; correct config")
        run = start.parent
    base, commit = _base(stages[0].config.model.path, stages[0].config.model.revision)
    return Lineage(model=model, stages=tuple(stages), base=base_model or base, base_commit=commit)


def find_model_of_run(place: Path) -> tuple[Path, Path]:
    """Find the run and the model that a path means.

    Args:
        place: A run folder, which means its `model`, or a model folder in one.

    Returns:
        The run folder and the model folder.

    Raises:
        TrainingError: it is neither, or the run has no model yet.
    """
    if (place / CONFIG_FILE).is_file():
        if not (place / MODEL / CONFIG).is_file():
            raise TrainingError(f"{place}: has no model yet; let the run end, with --resume")
        return place, place / MODEL
    if (place / CONFIG).is_file() and (place.parent / CONFIG_FILE).is_file():
        return place.parent, place
    raise TrainingError(
        f"{place}: is no run folder of `editgrpo sft` or `train`, and no model in one"
    )


def find_model(place: Path) -> Path:
    """Find the model that a path means: that of a run folder, or the folder itself.

    Args:
        place: A run folder, a model folder in one, or an exported folder.

    Returns:
        The model folder.

    Raises:
        TrainingError: it is none of these, or the run has no model yet.
    """
    is_model = (place / CONFIG).is_file() and not (place / CONFIG_FILE).is_file()
    return place if is_model else find_model_of_run(place)[1]


def _read_stage(run: Path, candidates: Sequence[Path]) -> Stage:
    path = run / CONFIG_FILE
    settings = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    is_rl = isinstance(settings, dict) and "rollout" in settings
    config = load_recipe(path, TrainConfig) if is_rl else load_recipe(path, SFTConfig)
    noted = _noted_inputs(run)
    studies = _find_studies(run, Path(config.data.folder), candidates, noted.get("data.folder"))
    _check_template(run, config.data, noted.get("data.prompt_template"))
    dataset = str(read_prepared(studies).get("dataset"))
    chosen = StudySet.load(
        studies, split=Split.TRAIN, target=config.data.target, needs_reference=True
    )
    count, limit = len(chosen), config.data.train_limit
    return Stage(
        run=run,
        config=config,
        provenance=read_provenance(run),
        studies=studies,
        dataset=dataset if dataset in DATASETS else "folder",
        training_studies=count if limit is None else min(limit, count),
    )


def _noted_inputs(run: Path) -> dict[str, Any]:
    """Return the hashes of what a run read; none of a run of an earlier version."""
    path = run / INPUTS_FILE
    remedy = "put back the file as the run wrote it"
    return read_json_object(path, remedy) if path.is_file() else {}


def _find_studies(run: Path, folder: Path, candidates: Sequence[Path], noted: Any) -> Path:
    """Find the set that a run read: where its settings say, or among others by content."""
    present = [one for one in (folder, *candidates) if (one / PREPARED_FILE).is_file()]
    fitting = [one for one in present if noted is None or set_hashes(one) == noted]
    if fitting:
        return fitting[0]
    if present:
        raise DataError(
            f"{present[0]}: is another set than {run} was trained on, or has changed since; name "
            "that one with --studies"
        )
    raise DataError(
        f"{folder}: {run} was trained on this set, and it is not there; say with --studies where "
        "it lies now"
    )


def _check_template(run: Path, data: DataConfig, noted: Any) -> None:
    template = template_of(data)
    if not template.is_file():
        raise TrainingError(f"{template}: {run} was trained with this prompt; put it back")
    if noted is not None and template_hashes(data) != noted:
        is_own = data.prompt_template is not None
        remedy = "put back the one of then" if is_own else "take the editgrpo that trained it"
        raise TrainingError(f"{template}: the prompt has changed since {run} was trained; {remedy}")


def _check_start(run: Path, start: str) -> None:
    """Refuse a run that began with a folder that is not there: it may have been that of another
    run, whose data the card must name."""
    is_a_runs = Path(start).name in (MODEL, MODEL_FOR_RL)
    if not Path(start).is_dir() and (is_a_runs or not may_be_hub_id(start)):
        raise TrainingError(
            f"{start}: {run} began with this folder, and it is not there; put it back, start the "
            "command where the run was started, or, if it was no run's model, name it with "
            "--base-model"
        )


def _base(path: str, revision: str | None) -> tuple[str | None, str | None]:
    """Return Hub id and commit of what a first run started from."""
    folder = Path(path)
    if not folder.is_dir():
        return path, revision
    real = real_path(folder)
    if real.parent.name == "snapshots" and real.parent.parent.name.startswith(_FROM_CACHE):
        return real.parent.parent.name.removeprefix(_FROM_CACHE).replace("--", "/"), real.name
    return None, None
