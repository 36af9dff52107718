"""The page itself: what is where. What happens is in events.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from editgrpo.data.study import Timepoint, View
from editgrpo.display.html.assets import asset
from editgrpo.page.bench import Bench, Phase
from editgrpo.page.cards import banner, show_cards, show_message, show_state
from editgrpo.page.judge import RULES, available_scorings

STYLE = str(asset("page.css", "editgrpo.page"))
_MOST_SAMPLES = 8
_WORDS = {Timepoint.CURRENT: "current study", Timepoint.PRIOR: "prior study"}
_SANS = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "monospace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """The place of one film.

    Attributes:
        timepoint: Of the study whose film it shows.
        group: All of it; hidden where there is no film.
        picture: The film.
        view: Its projection.
        remove: Takes it away.
    """

    timepoint: Timepoint
    group: gr.Column
    picture: gr.HTML
    view: gr.Dropdown
    remove: gr.Button


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPanel:
    """What is shown to the models."""

    films: gr.State
    """Of `tuple[Film, ...]`, in the order in which they came."""
    study: gr.State
    """Id of the study that was picked; "" for one of the user's own."""
    shelf: gr.Dropdown
    listed: gr.Dropdown
    drops: Mapping[Timepoint, gr.File]
    slots: tuple[Slot, ...]
    texts: tuple[gr.Textbox, ...]
    """Indication, technique, comparison."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportPanel:
    """What the models write, and what it is worth."""

    cards: gr.State
    """Of `tuple[Card, ...]`."""
    shown: gr.HTML
    write: gr.Button
    sample: gr.Button
    stop: gr.Button
    rows: gr.Slider
    temperature: gr.Slider
    seed: gr.Number
    reference: gr.Textbox
    scoring: gr.Radio
    score: gr.Button


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """All parts of the page."""

    state: gr.HTML
    message: gr.HTML
    timer: gr.Timer
    study: StudyPanel
    reports: ReportPanel


def theme() -> Any:
    """Return a calm theme, with fonts that are there: Gradio's own are fetched from elsewhere."""
    quiet = {
        f"block_{part}_{name}": value
        for part in ("title", "label")
        for name, value in (
            ("background_fill", "none"),
            ("background_fill_dark", "none"),
            ("text_color", "*body_text_color_subdued"),
            ("text_color_dark", "*body_text_color_subdued"),
            ("text_weight", "500"),
            ("text_size", "*text_sm"),
            ("border_width", "0px"),
            ("border_width_dark", "0px"),
        )
    }
    chosen = gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=list(_SANS), font_mono=list(_MONO)
    )
    return chosen.set(**quiet, block_title_padding="0", block_shadow="none", layout_gap="10px")


def build_page(bench: Bench) -> gr.Blocks:
    """Lay out the page for some models.

    Args:
        bench: What stands behind it; it need not be loaded.

    Returns:
        The page, to be launched.
    """
    from editgrpo.page.events import wire

    blocks = gr.Blocks(title="editgrpo try", analytics_enabled=False)
    with blocks:
        gr.HTML(banner(" · ".join(bench.names)))
        state = gr.HTML(show_state(bench.message, kind=bench.phase), elem_id="state")
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                study = _study_panel(bench)
            with gr.Column(scale=7, min_width=320):
                reports = _report_panel(bench)
        message = gr.HTML(show_message(), elem_id="message")
        timer = gr.Timer(0.5, active=bench.phase is Phase.LOADING)
        page = Page(state=state, message=message, timer=timer, study=study, reports=reports)
        wire(bench, page)
    return blocks


def _study_panel(bench: Bench) -> StudyPanel:
    films, study = gr.State(()), gr.State("")
    gr.HTML("<h2>Study</h2>", elem_classes="step")
    with gr.Row():
        # Open when there is something to pick.
        shelf = gr.Dropdown([], label="Pick from", scale=2, min_width=135, interactive=False)
        listed = gr.Dropdown(
            [],
            label="Study, or any id of the set",
            scale=3,
            min_width=135,
            interactive=False,
            allow_custom_value=True,
        )
    drops, slots = {}, []
    for timepoint, words in _WORDS.items():
        drops[timepoint] = gr.File(
            label=f"Films of the {words}: PNG, JPEG or DICOM",
            file_count="multiple",
            height=104,
            elem_id=f"{timepoint}-files",
            elem_classes="drop",
        )
        with gr.Row(elem_classes="films"):
            slots += [_slot(timepoint, number) for number in range(1, bench.max_images + 1)]
    texts = tuple(
        gr.Textbox(label=name, lines=2, max_lines=6, elem_id=name.lower())
        for name in ("Indication", "Technique", "Comparison")
    )
    return StudyPanel(
        films=films,
        study=study,
        shelf=shelf,
        listed=listed,
        drops=drops,
        slots=tuple(slots),
        texts=texts,
    )


def _slot(timepoint: Timepoint, number: int) -> Slot:
    with gr.Column(visible=False, min_width=140, elem_classes="slot") as group:
        picture = gr.HTML()
        view = gr.Dropdown(
            [one.value for one in View],
            label=f"View of {timepoint} film {number}",
            interactive=True,
        )
        remove = gr.Button("Remove", size="sm", variant="secondary")
    return Slot(timepoint=timepoint, group=group, picture=picture, view=view, remove=remove)


def _report_panel(bench: Bench) -> ReportPanel:
    scorings = available_scorings(bench.clinical)
    gr.HTML("<h2>Reports</h2>", elem_classes="step")
    with gr.Row():
        write = gr.Button("Write report", variant="primary", interactive=False, min_width=100)
        sample = gr.Button("Sample more", interactive=False, min_width=100)
        stop = gr.Button("Stop", interactive=False, min_width=60)
    with gr.Accordion("How samples are drawn", open=False), gr.Row():
        rows = gr.Slider(1, _MOST_SAMPLES, value=3, step=1, label="Samples", min_width=120)
        temperature = gr.Slider(0.1, 2.0, value=1.0, step=0.1, label="Temperature", min_width=120)
        seed = gr.Number(0, precision=0, minimum=0, label="Seed", min_width=90)
    reference = gr.Textbox(
        label="Reference report, to score against", lines=2, max_lines=8, elem_id="reference"
    )
    with gr.Row(equal_height=True):
        scoring = gr.Radio(
            scorings, value=RULES, label="Scored by", visible=len(scorings) > 1, min_width=150
        )
        score = gr.Button("Edit and score", interactive=False, min_width=140)
    shown = gr.HTML(show_cards(bench.names, ()), elem_id="reports", apply_default_css=False)
    return ReportPanel(
        cards=gr.State(()),
        shown=shown,
        write=write,
        sample=sample,
        stop=stop,
        rows=rows,
        temperature=temperature,
        seed=seed,
        reference=reference,
        scoring=scoring,
        score=score,
    )
