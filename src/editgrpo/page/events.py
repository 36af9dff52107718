"""What happens on the page when a control is used."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from editgrpo.data.study import Split, Study, Timepoint, View
from editgrpo.errors import EditGRPOError
from editgrpo.page.bench import Bench, Phase
from editgrpo.page.cards import Card, judged, show_cards, show_film, show_message, show_state
from editgrpo.page.films import Film, read_film
from editgrpo.page.layout import Page, Slot
from editgrpo.page.models import PageStudy
from editgrpo.page.shelf import shelf_named

Updates = dict[Any, Any]
"""New values, by component."""
Films = tuple[Film, ...]
Cards = tuple[Card, ...]

# Id of a study that was not picked: what its draws depend on.
_OWN_STUDY = "page"
_QUIET: dict[str, Any] = {"show_progress": "hidden"}


def wire(bench: Bench, page: Page) -> None:
    """Connect the controls of a page.

    Args:
        bench: What stands behind it.
        page: Its parts; they are in the Blocks that is open.
    """
    events = _Events(bench, page)
    study, reports = page.study, page.reports
    views = [slot.view for slot in study.slots]
    writing = [reports.cards, reports.shown, reports.stop, page.message]
    state = [page.state, page.timer, study.shelf, study.listed, *events.starters]
    page.timer.tick(events.look, None, state, queue=False, **_QUIET)
    shown = [study.films, study.study, *study.texts, *views]
    how = [reports.rows, reports.temperature, reports.seed]
    one_at_a_time: dict[str, Any] = {"concurrency_id": "writing", **_QUIET}
    started: list[Any] = [
        reports.write.click(events.write, shown, writing, **one_at_a_time),
        reports.sample.click(
            events.sample, [reports.cards, *how, *shown], writing, **one_at_a_time
        ),
    ]
    reports.stop.click(events.stop, reports.cards, writing, cancels=started, **_QUIET)
    scored = [reports.cards, reports.reference, reports.scoring]
    scoring = reports.score.click(events.score, scored, writing, **_QUIET)
    # Nothing that was asked of another study may come back.
    stopping: dict[str, Any] = {"cancels": [*started, scoring], **_QUIET}
    slots = [part for slot in study.slots for part in (slot.group, slot.picture, slot.view)]
    changed = [*slots, study.films, *writing]
    study.shelf.input(events.list_studies, study.shelf, study.listed, **_QUIET)
    opened = [*changed, study.study, *study.texts, reports.reference]
    study.listed.input(events.open_study, [study.shelf, study.listed], opened, **stopping)
    held = [study.films, *views]
    for timepoint, drop in study.drops.items():
        add = partial(events.add, timepoint)
        drop.upload(add, [drop, *held], [drop, *changed], **stopping)
    for slot in study.slots:
        slot.remove.click(partial(events.remove, slot), held, changed, **stopping)
    for view in views:
        view.input(events.clear, None, writing, queue=False, **stopping)
    for text in study.texts:
        text.input(events.clear, None, writing, queue=False, **stopping)
    reports.reference.input(
        events.unjudge, reports.cards, writing, queue=False, cancels=[scoring], **_QUIET
    )


class _Events:
    """The functions that the controls call. Each returns new values by component."""

    def __init__(self, bench: Bench, page: Page) -> None:
        self._bench, self._page = bench, page
        self.starters = (page.reports.write, page.reports.sample, page.reports.score)

    def look(self) -> Updates:
        """Say how far loading is; when it is done, open the controls and stop asking."""
        bench, study = self._bench, self._page.study
        updates: Updates = {self._page.state: show_state(bench.message, kind=bench.phase)}
        if bench.phase is not Phase.LOADING:
            updates[self._page.timer] = gr.Timer(active=False)
        if bench.phase is Phase.READY:
            names = [shelf.name for shelf in bench.shelves]
            updates |= {one: gr.update(interactive=True) for one in self.starters}
            ids = bench.shelves[0].listed()
            updates[study.shelf] = gr.update(choices=names, value=names[0], interactive=True)
            updates[study.listed] = gr.update(choices=ids, value=None, interactive=True)
        return updates

    def list_studies(self, shelf: str) -> Updates:
        """List the studies of another set."""
        ids = shelf_named(self._bench.shelves, shelf).listed()
        return {self._page.study.listed: gr.update(choices=ids, value=None)}

    def open_study(self, shelf: str, study_id: str | None) -> Updates:
        """Lay a study of a set on the page, with its reference."""
        panel = self._page.study
        if not study_id:  # the list is being looked through
            return {panel.study: gr.skip()}
        try:
            picked = shelf_named(self._bench.shelves, shelf)
            study, films = picked.take(study_id, max_images=self._bench.max_images)
        except EditGRPOError as error:
            return self._cards(message=str(error))
        texts = (study.indication, study.technique, study.comparison)
        return {
            **self._films(films),
            **self._cards(),
            **dict(zip(panel.texts, texts, strict=True)),
            panel.study: study.study_id,
            self._page.reports.reference: self._bench.reference_text(study),
        }

    def add(self, timepoint: Timepoint, files: Sequence[str], films: Films, *views: str) -> Updates:
        """Read films that were dropped, and remove their files."""
        drop, faults = self._page.study.drops[timepoint], []
        films = self._seen(films, views)
        room = sum(slot.timepoint is timepoint for slot in self._page.study.slots)
        for path in map(Path, files):
            try:
                if sum(film.timepoint is timepoint for film in films) >= room:
                    faults.append(f"{path.name}: there is room for {room} films; remove one first")
                    continue
                films = (*films, read_film(path, path.name, timepoint))
            except EditGRPOError as error:
                faults.append(str(error))
        for file in files:  # each in a folder by its content, which two of them may share
            shutil.rmtree(Path(file).parent, ignore_errors=True)
        cards = self._cards(message=" · ".join(faults))
        return {drop: None, **self._films(films), **cards}

    def remove(self, slot: Slot, films: Films, *views: str) -> Updates:
        """Take a film away."""
        gone = self._in_slots(films)[self._page.study.slots.index(slot)]
        seen = zip(films, self._seen(films, views), strict=True)
        kept = tuple(film for before, film in seen if before is not gone)
        return {**self._films(kept), **self._cards()}

    def clear(self) -> Updates:
        """Take the reports away: they are of another study than what is shown now."""
        return self._cards()

    def write(self, films: Films, study: str, *shown: str) -> Iterator[Updates]:
        """Let the models write their likeliest report."""
        yield from self._write((), films, study, shown)

    def sample(
        self,
        cards: Cards,
        rows: float,
        temperature: float,
        seed: float | None,
        films: Films,
        study: str,
        *shown: str,
    ) -> Iterator[Updates]:
        """Let the models draw more reports."""
        kept = tuple(card for card in cards if card.draft.is_finished)
        drawn = {card.number for card in kept if card.is_drawn}
        first = max(drawn, default=-1) + 1
        how = {"rows": range(first, first + int(rows)), "temperature": temperature}
        yield from self._write(kept, films, study, shown, seed=int(seed or 0), **how)

    def stop(self, cards: Cards) -> Updates:
        """Keep what is written so far."""
        return self._cards(tuple(card.stopped() for card in cards))

    def unjudge(self, cards: Cards) -> Updates:
        """Take the scores away: they are against another reference."""
        if not any(card.judgement for card in cards):
            return {self._page.message: gr.skip()}
        return self._cards(tuple(replace(card, judgement=None) for card in cards))

    def score(self, cards: Cards, reference: str, scoring: str) -> Updates:
        """Edit and score all reports."""
        if not all(card.draft.is_finished for card in cards):
            said = "A report is being written; wait for its end, or stop it."
            return {self._page.message: show_message(said)}
        if not cards:
            return self._cards(message="There is no report yet; write one first.")
        if not reference.strip():
            return self._cards(cards, message="The reference is empty; paste a report first.")
        try:
            found, message = self._bench.judge(cards, reference.strip(), scoring)
        except EditGRPOError as error:
            return self._cards(cards, message=str(error))
        return self._cards(judged(cards, found), message=message)

    def _write(
        self, kept: Cards, films: Films, study: str, shown: Sequence[str], **how: Any
    ) -> Iterator[Updates]:
        texts, views = shown[:3], shown[3:]
        films = self._seen(films, views)
        if not films and not study:
            yield self._cards(message="There is no film; add one, or pick a study.")
            return
        asked = PageStudy(study=_study(study or _OWN_STUDY, texts), films=films)
        cards = kept
        try:
            yield self._cards(kept, is_writing=True)
            for written in self._bench.write(asked, **how):
                cards = (*kept, *written)
                yield self._cards(cards, is_writing=True)
        except EditGRPOError as error:
            yield self._cards(kept, message=str(error))
        else:
            yield self._cards(cards)

    def _cards(self, cards: Cards = (), *, message: str = "", is_writing: bool = False) -> Updates:
        panel = self._page.reports
        return {
            panel.cards: cards,
            panel.shown: show_cards(self._bench.names, cards, is_writing=is_writing),
            panel.stop: gr.update(interactive=is_writing),
            self._page.message: show_message(message),
        }

    def _films(self, films: Films) -> Updates:
        updates: Updates = {self._page.study.films: films}
        for slot, film in zip(self._page.study.slots, self._in_slots(films), strict=True):
            updates[slot.group] = gr.update(visible=film is not None)
            updates[slot.picture] = "" if film is None else show_film(film)
            updates[slot.view] = View.UNKNOWN.value if film is None else film.view.value
        return updates

    def _seen(self, films: Films, views: Sequence[str]) -> Films:
        """Return the films with the views that are chosen on the page."""
        slots = zip(self._in_slots(films), views, strict=True)
        chosen = {id(film): View(view) for film, view in slots if film is not None}
        return tuple(replace(film, view=chosen[id(film)]) for film in films)

    def _in_slots(self, films: Iterable[Film]) -> list[Film | None]:
        """Return the film of each slot."""
        queues = {one: [film for film in films if film.timepoint is one] for one in Timepoint}
        return [
            queues[slot.timepoint].pop(0) if queues[slot.timepoint] else None
            for slot in self._page.study.slots
        ]


def _study(study_id: str, texts: Sequence[str]) -> Study:
    indication, technique, comparison = (text.strip() for text in texts)
    return Study(
        study_id=study_id,
        patient_id="",
        split=Split.TEST,
        images=(),
        indication=indication,
        technique=technique,
        comparison=comparison,
    )
