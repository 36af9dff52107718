"""The models of the page: how each is shown a study, and how it writes."""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.config import DataConfig
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import PREPARED_FILE, read_prepared
from editgrpo.data.study import Study
from editgrpo.errors import ModelError
from editgrpo.files import real_path
from editgrpo.page.films import Film, FilmPixels
from editgrpo.provenance import name_of_run
from editgrpo.sharing.model_settings import settings_of_model
from editgrpo.sharing.serving import export_settings
from editgrpo.training.generate import GenerationConfig, check_writing, load_to_write
from editgrpo.training.policy.load import load_processor, resolve_model_folder
from editgrpo.training.policy.model import Policy
from editgrpo.training.policy.processor import PromptProcessor, StudyProcessor
from editgrpo.training.policy.prompts import StudyEncoder
from editgrpo.training.run.folder import MODEL
from editgrpo.training.streaming import Draft, stream_reports

_LENGTH = GenerationConfig().max_completion_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedModel:
    """A model to try."""

    path: str
    """Its folder, or a Hub id."""
    data: DataConfig
    """How studies are shown to it: most images, prompt template. Where there is a prepared set in
    `folder`, its studies are offered and its sizes of images hold."""
    max_completion_tokens: int = _LENGTH
    """Longest report, its end-of-sequence token included."""

    def __post_init__(self) -> None:
        GenerationConfig(max_completion_tokens=self.max_completion_tokens)  # says what is wrong

    @property
    def name(self) -> str:
        """What it is called on the page: its folder, of a run the run's name."""
        folder = real_path(Path(self.path))
        is_of_run = folder.name == MODEL and folder.is_dir()
        return name_of_run(folder.parent) if is_of_run else folder.name

    @property
    def prepared(self) -> Path | None:
        """The prepared set that its data settings name; None where there is none."""
        folder = Path(self.data.folder)
        return folder if (folder / PREPARED_FILE).is_file() else None


def tried_model(
    path: str, *, overrides: Sequence[str] = (), max_completion_tokens: int | None = None
) -> TriedModel:
    """Describe a model as its run left it.

    Args:
        path: A model folder, or a Hub id. Data settings and the length of a report are those of
            the run that the folder lies in.
        overrides: `data.key=value` texts that go before them.
        max_completion_tokens: Goes before the run's.

    Returns:
        The model; nothing is loaded.

    Raises:
        ConfigError: the run's `config.yaml` cannot be read, or an override or the length is wrong.
    """
    data, longest = settings_of_model(Path(path), overrides)
    length = longest if max_completion_tokens is None else max_completion_tokens
    tried = TriedModel(path=path, data=data)
    return tried if length is None else replace(tried, max_completion_tokens=length)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageStudy:
    """A study as it is on the page.

    Attributes:
        study: Its texts and id; the images are those of `films`.
        films: Its films with the views as they were chosen.
    """

    study: Study
    films: tuple[Film, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model that can write.

    Attributes:
        tried: What was asked for.
        name: What it is called on the page.
        policy: The model.
        processor: Writes its prompts.
        budget: How large it reads the films of files.
    """

    tried: TriedModel
    name: str
    policy: Policy
    processor: PromptProcessor
    budget: PixelBudget

    def write(
        self,
        shown: PageStudy,
        *,
        rows: range = range(1),
        temperature: float = 0.0,
        seed: int = 0,
        stop: threading.Event | None = None,
    ) -> Iterator[tuple[Draft, ...]]:
        """Write reports of a study; see `stream_reports`.

        Args:
            shown: The study.
            rows: Numbers of the reports.
            temperature: 0 takes the likeliest token.
            seed: Decides the draws.
            stop: Ends writing when it is set.

        Yields:
            The drafts, each time that something was added.

        Raises:
            DataError: a film or a text cannot be shown to the model.
        """
        encoder, study = self._encoder(shown)
        config = self._config(temperature=temperature, seed=seed)
        tokenizer = self.processor.tokenizer
        prompt = encoder.encode(study)
        yield from stream_reports(self.policy, tokenizer, prompt, config, rows=rows, stop=stop)

    def check(self, shown: PageStudy) -> None:
        """Make sure that it writes as transformers does; see `check_writing`."""
        encoder, study = self._encoder(shown)
        length = self.tried.max_completion_tokens
        check_writing(self.policy, encoder, study, max_tokens=length, temperature=0.0)

    def _config(self, *, temperature: float, seed: int) -> GenerationConfig:
        return GenerationConfig(
            max_completion_tokens=self.tried.max_completion_tokens,
            temperature=temperature,
            seed=seed,
        )

    def _encoder(self, shown: PageStudy) -> tuple[StudyEncoder, Study]:
        pixels = FilmPixels(shown.films, self.budget)
        study = replace(shown.study, images=pixels.images, target=self.tried.data.target)
        return StudyEncoder(pixels, self.processor, self.tried.data), study


def load_model(tried: TriedModel, budget: PixelBudget | None) -> LoadedModel:
    """Load a model.

    Args:
        tried: The model.
        budget: How large it reads films; None takes that of the prepared set, else what the model
            says itself.

    Returns:
        The model, on the GPU if there is one.

    Raises:
        ModelError: it cannot be loaded, or reads no films of these sizes.
    """
    folder = resolve_model_folder(tried.path)
    processor = load_processor(folder)
    if budget is None:
        budget = _budget_of(tried, processor)
    if budget.multiple_of % processor.factor:
        raise ModelError(
            f"{tried.path}: reads films whose sides are multiples of {processor.factor}, not of "
            f"{budget.multiple_of}; give a set that was prepared for it, or --multiple-of "
            f"{processor.factor}"
        )
    return LoadedModel(
        tried=tried,
        name=tried.name,
        policy=load_to_write(folder),
        processor=processor,
        budget=budget,
    )


def _budget_of(tried: TriedModel, processor: PromptProcessor) -> PixelBudget:
    """Return the sizes of the prepared set or of the export; else those that the model's own files
    state, up to the paper's: a published checkpoint would take films of thousands of tokens."""
    if tried.prepared is not None:
        return PixelBudget(**read_prepared(tried.prepared)["budget"])
    exported = export_settings(Path(tried.path))
    if exported is not None:
        return exported.budget
    default = PixelBudget()
    if not isinstance(processor, StudyProcessor):
        return replace(default, multiple_of=math.lcm(processor.factor, default.multiple_of))
    stated = processor.image_processor.size
    most = min(stated["longest_edge"], default.max_pixels)
    return PixelBudget(
        min_pixels=min(stated["shortest_edge"], most),
        max_pixels=most,
        multiple_of=processor.factor,
    )
