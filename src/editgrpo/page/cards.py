"""Reports on the page: a card each, with edit and scores once there is a reference."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from editgrpo.display.html.assets import page_environment
from editgrpo.display.html.palette import RULE_COLOURS
from editgrpo.display.html.studies import image_as_uri
from editgrpo.page.films import Film
from editgrpo.page.judge import Judgement
from editgrpo.training.streaming import Draft

_PACKAGE = "editgrpo.page"


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A report of one model.

    Attributes:
        model: The model's name.
        kind: How it was written, such as `likeliest`.
        draft: The report.
        is_drawn: Whether it was sampled, and is not the likeliest.
        number: Of a sample, from 0.
        judgement: What it is worth; None without a reference.
    """

    model: str
    kind: str
    draft: Draft
    is_drawn: bool = False
    number: int = 0
    judgement: Judgement | None = None

    def stopped(self) -> "Card":
        """Return the card as it is when nothing will be added."""
        if self.draft.is_finished:
            return self
        draft = replace(self.draft, is_finished=True)
        return replace(self, kind=f"{self.kind}, stopped", draft=draft)


def judged(cards: Sequence[Card], judgements: Iterable[Judgement | None]) -> tuple[Card, ...]:
    """Return the cards with what their reports are worth, as far as that is known."""
    return tuple(
        replace(card, judgement=found) for card, found in zip(cards, judgements, strict=True)
    )


def show_cards(models: Sequence[str], cards: Sequence[Card], *, is_writing: bool = False) -> str:
    """Return the reports as HTML, one column a model.

    Args:
        models: Names of the models, in the order of the columns.
        cards: Their reports.
        is_writing: Whether a report is being written, so that those who hear the page are told of
            the whole.

    Returns:
        Markup; texts are escaped.
    """
    columns = [(model, [card for card in cards if card.model == model]) for model in models]
    return _rendered(
        "cards.html.j2",
        columns=columns,
        is_empty=not cards,
        is_writing=is_writing,
        rule_colours=RULE_COLOURS,
    )


def show_film(film: Film) -> str:
    """Return a film as HTML that holds its pixels: nothing is written to the disk."""
    return _rendered("film.html.j2", name=film.name, source=image_as_uri(film.image.copy()))


def show_message(text: str = "") -> str:
    """Return what went wrong as HTML that is read aloud; empty if nothing did."""
    return str(Markup('<p class="fault" role="alert">{}</p>').format(text)) if text else ""


def show_state(text: str, *, kind: str) -> str:
    """Return the state of the models as HTML.

    Args:
        text: One sentence.
        kind: `loading`, `ready` or `failed`.

    Returns:
        Markup.
    """
    return str(Markup('<p class="state {}" role="status">{}</p>').format(kind, text))


def banner(title: str) -> str:
    """Return the head of the page with the warning above everything."""
    return _rendered("banner.html.j2", title=title)


def _rendered(template: str, **values: object) -> str:
    return page_environment(_PACKAGE).get_template(template).render(**values)
