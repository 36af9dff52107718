"""What the page shows as HTML: text never becomes markup, and colours are not all that tells."""

from PIL import Image

from editgrpo.config import ClinicalConfig
from editgrpo.data.study import Timepoint, View
from editgrpo.page.cards import (
    Card,
    banner,
    judged,
    show_cards,
    show_film,
    show_message,
    show_state,
)
from editgrpo.page.films import Film
from editgrpo.page.judge import SCORINGS, Judge
from editgrpo.training.streaming import Draft

HOSTILE = "<script>window.broken = true</script>"


def card(text: str, *, is_finished: bool = True) -> Card:
    return Card(model="<b>m</b>", kind="likeliest report", draft=Draft(text, is_finished))


def test_text_never_becomes_markup() -> None:
    film = Film(
        name=HOSTILE, image=Image.new("L", (9, 9)), view=View.PA, timepoint=Timepoint.CURRENT
    )
    report = f"{HOSTILE} The heart is enlarged."
    cards = judged([card(report)], Judge(SCORINGS["rules"], ClinicalConfig()).judge([report], "x"))
    shown = [
        show_cards(["<b>m</b>"], cards),
        show_film(film),
        show_message(HOSTILE),
        show_state(HOSTILE, kind="failed"),
        banner(HOSTILE),
    ]
    for text in shown:
        assert "<script>" not in text
        assert "<b>m</b>" not in text
        assert "&lt;script&gt;" in text


def test_a_report_that_is_being_written_says_so_to_those_who_hear_the_page() -> None:
    assert 'aria-busy="true"' in show_cards(["m"], [], is_writing=True)
    assert 'class="cursor"' in show_cards(["<b>m</b>"], [card("The", is_finished=False)])
    assert 'class="cursor"' not in show_cards(["<b>m</b>"], [card("The.")])


def test_a_report_that_was_stopped_is_marked_and_a_finished_one_stays() -> None:
    assert card("The.").stopped() == card("The.")
    stopped = card("The", is_finished=False).stopped()
    assert stopped.draft == Draft("The", is_finished=True)
    assert stopped.kind.endswith("stopped")


def test_an_empty_and_a_cut_report_are_told_apart() -> None:
    assert "(an empty report)" in show_cards(["<b>m</b>"], [card("")])
    cut = Card(model="m", kind="k", draft=Draft("The", True, True))
    assert "cut at the length limit" in show_cards(["m"], [cut])


def test_the_warning_stands_above_everything() -> None:
    assert "Not for clinical use." in banner("m")
    assert show_message() == ""
