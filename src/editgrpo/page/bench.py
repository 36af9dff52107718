"""What the page works with: models, studies and scorers, loaded while the page is open."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from editgrpo.config import ClinicalConfig, Target
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.study import Study
from editgrpo.errors import EditGRPOError
from editgrpo.page.cards import Card
from editgrpo.page.judge import (
    RULES,
    SCORINGS,
    Judge,
    Judgement,
    sections_under_headings,
    text_of_target,
)
from editgrpo.page.models import LoadedModel, PageStudy, TriedModel, load_model
from editgrpo.page.shelf import Shelf, phantom_shelf, prepared_shelf, told_apart


class Phase(StrEnum):
    """How far loading is."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class _ClosedError(Exception):
    """The page was closed while something was loaded for it."""


@dataclass(slots=True)
class Counts:
    """What was done: all that is ever told of a session."""

    reports: int = 0
    scored: int = 0


class Bench:
    """Models, studies and scorers of one page.

    Attributes:
        tried: What was asked for.
        clinical: Where the clinical models lie and how they run.
        names: Of the models, as the page shows them; no two are the same.
        phase: How far loading is.
        message: The same in one sentence.
        models: Those that are loaded, in the order given; all of them once it is ready.
        shelves: Studies to pick from; empty until it is ready.
        counts: What was done.

    Args:
        models: What is tried.
        folder: A private folder for the phantoms.
        budget: How large films are read; None takes that of the data or of the models.
        clinical: Where the clinical models lie and how they run.
    """

    def __init__(
        self,
        models: Sequence[TriedModel],
        folder: Path,
        *,
        budget: PixelBudget | None,
        clinical: ClinicalConfig,
    ) -> None:
        self.names = _distinct(models)
        self.phase = Phase.LOADING
        self.message = "Loading."
        self.models: tuple[LoadedModel, ...] = ()
        self.shelves: tuple[Shelf, ...] = ()
        self.counts = Counts()
        self.tried = tuple(models)
        self.clinical = clinical
        self._folder, self._budget = folder, budget
        self._judges: dict[tuple[str, Target], Judge] = {}
        # A model writes one report at a time, and scorers remember what they read.
        self._turn = threading.Lock()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._load_all, name="loading", daemon=True)

    @property
    def max_images(self) -> int:
        """Most films of a study that a model is shown."""
        return max(model.data.max_images for model in self.tried)

    def target(self, name: str) -> Target:
        """Return which sections a model writes, and is scored by."""
        return self.tried[self.names.index(name)].data.target

    def reference_text(self, study: Study) -> str:
        """Return what a study's reports are scored against: the sections of the models' target.

        Args:
            study: Of a set.

        Returns:
            Its reference; of models with different targets both sections under their headings, as
            far as they are there.
        """
        if len(self._targets) == 1:
            return replace(study, target=self._targets[0]).reference
        return sections_under_headings(study.findings, study.impression)

    @property
    def _targets(self) -> tuple[Target, ...]:
        return tuple(dict.fromkeys(one.data.target for one in self.tried))

    def start(self) -> None:
        """Begin to load; `phase` says when it is done."""
        self._thread.start()

    def close(self) -> None:
        """Stop writing at the next token and loading at the next stage, and wait for loading: a
        process cannot end in the midst."""
        self._is_closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def write(
        self, shown: PageStudy, *, rows: range = range(1), temperature: float = 0.0, seed: int = 0
    ) -> Iterator[tuple[Card, ...]]:
        """Let every model in turn write reports of a study.

        Args:
            shown: The study.
            rows: Numbers of the reports, the same for each model.
            temperature: 0 writes the likeliest report.
            seed: Decides the draws.

        Yields:
            All reports of this call so far, each time that something was added.

        Raises:
            EditGRPOError: a film or a text cannot be shown to a model.
        """
        written: tuple[Card, ...] = ()
        with self._turn:
            for model, name in zip(self.models, self.names, strict=True):
                cards: tuple[Card, ...] = ()
                for drafts in model.write(
                    shown, rows=rows, temperature=temperature, seed=seed, stop=self._is_closed
                ):
                    kinds = _kinds(rows, temperature)
                    cards = tuple(
                        Card(
                            model=name,
                            kind=kind,
                            draft=draft,
                            is_drawn=temperature > 0,
                            number=number,
                        )
                        for kind, draft, number in zip(kinds, drafts, rows, strict=True)
                    )
                    yield (*written, *cards)
                if self._is_closed.is_set():
                    return
                self.counts.reports += len(cards)
                written += cards

    def judge(
        self, cards: Sequence[Card], reference: str, scoring: str
    ) -> tuple[list[Judgement | None], str]:
        """Edit and score reports, each by the target of the model that wrote it.

        Args:
            cards: N reports.
            reference: The reference report of their study; of models with different targets, with
                the headings of its sections.
            scoring: One of `SCORINGS`; its models are loaded when it is first asked for.

        Returns:
            N judgements, None where the reference lacks what the model writes; and a sentence that
            says so, empty if there is none.

        Raises:
            EditGRPOError: weights are missing, or a scorer fails.
        """
        found: dict[int, Judgement] = {}
        faults: list[str] = []
        for target in self._targets:
            asked = [k for k, card in enumerate(cards) if self.target(card.model) is target]
            text = reference if len(self._targets) == 1 else text_of_target(reference, target)
            if asked and not text:
                heading = f"{target.value.upper()}:"
                faults.append(f"The reference has no {target.value}; write {heading} before it.")
            elif asked:
                with self._turn:
                    reports = [cards[k].draft.text for k in asked]
                    judgements = self._judge_of(scoring, target).judge(reports, text)
                found |= zip(asked, judgements, strict=True)
        self.counts.scored += len(found)
        return [found.get(k) for k in range(len(cards))], " ".join(faults)

    def _judge_of(self, scoring: str, target: Target) -> Judge:
        key = (scoring, target)
        if key not in self._judges:
            self._judges[key] = Judge(SCORINGS[scoring], self.clinical, target)
        return self._judges[key]

    def _begin(self, stage: str) -> None:
        if self._is_closed.is_set():
            raise _ClosedError
        self.message = stage

    def _load_all(self) -> None:
        try:
            self._load()
        except EditGRPOError as error:
            self.phase, self.message = Phase.FAILED, str(error)
        except _ClosedError:
            self.phase, self.message = Phase.FAILED, "The page was closed."
        finally:
            if self.phase is Phase.LOADING:  # a bug, whose traceback goes to the terminal
                self.phase = Phase.FAILED
                self.message = "Loading failed; the terminal says why."

    def _load(self) -> None:
        loaded: list[LoadedModel] = []
        budget = self._budget
        for tried, name in zip(self.tried, self.names, strict=True):
            self._begin(f"Loading {name}; until then you can add films and texts.")
            loaded.append(load_model(tried, budget))
            budget = loaded[0].budget  # one size of films for all of them
        self._begin("Drawing phantom studies.")
        prepared = dict.fromkeys(one.prepared for one in self.tried if one.prepared is not None)
        sets = [prepared_shelf(folder) for folder in prepared]
        drawn = phantom_shelf(self._folder / "phantom", loaded[0].budget)
        shelves = told_apart((*sets, drawn))
        self._begin("Comparing a report with transformers' own.")
        study, films = shelves[-1].take(shelves[-1].listed()[0], max_images=self.max_images)
        for model in loaded:
            model.check(PageStudy(study=study, films=films))
        for target in self._targets:
            self._judge_of(RULES, target)
        self.models, self.shelves = tuple(loaded), shelves
        self._begin("Ready.")
        self.phase = Phase.READY


def _kinds(rows: range, temperature: float) -> list[str]:
    if temperature == 0:
        return ["likeliest report" for _ in rows]
    return [f"sample {k + 1}, temperature {temperature:g}" for k in rows]


def _distinct(models: Sequence[TriedModel]) -> tuple[str, ...]:
    """Name each model by its run; where two runs have one name, by what was given, or a number."""
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        names = [model.path for model in models]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return tuple(names)
