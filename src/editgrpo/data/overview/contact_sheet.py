"""One study on one picture: its images, those of its prior, the prompt and the reference.

Whoever looks at a sheet sees what the model is shown, in the same order and with the same numbers.
A sheet holds a report and radiographs: it is as protected as the data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from editgrpo.config import Target
from editgrpo.data.overview.lettering import font, wrap
from editgrpo.data.prepared.boxes import Box
from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prompt import Prompt, build_messages, choose_images
from editgrpo.data.study import Study, StudyImage, Timepoint
from editgrpo.data.times import time_order

_WIDTH = 1600
_MARGIN = 40
_GAP = 24
_CONTENT = _WIDTH - 2 * _MARGIN
_MOST_IMAGES_A_ROW = 4
_TALLEST_PX = 720
_LINE = 1.4  # of the size of the letters
_LEAST_CAPTION_PX = 230
_BOX, _EXTRA_BOX = "#ffb000", "#5cc8ff"
_PAPER, _INK, _MUTED, _RULE = "#ffffff", "#1b2430", "#596575", "#d5d9de"


@dataclass(frozen=True, slots=True)
class _Style:
    """How letters look; `size` in pixels."""

    size: int
    bold: bool = False
    colour: str = _INK

    @property
    def line_px(self) -> int:
        return round(self.size * _LINE)


_TITLE = _Style(30, bold=True)
_HEADING = _Style(22, bold=True)
_TEXT = _Style(20)
_NOTE = _Style(20, colour=_MUTED)
_CAPTION = _Style(17, colour=_MUTED)


_REFERENCE = {
    Target.FINDINGS: "Findings",
    Target.IMPRESSION: "Impression",
    Target.BOTH: "Findings and impression",
}


def contact_sheet(
    study: Study,
    images: ImageStore,
    *,
    max_images: int,
    template: Path | str | None = None,
    boxes: Sequence[Box] = (),
) -> Image.Image:
    """Draw a study.

    Args:
        study: The study.
        images: Where its images are.
        max_images: Most images that the prompt shows; the sheet shows all, and says which are left
            out.
        template: See `build_messages`.
        boxes: Of the study; drawn on its images, numbered, their sentences below them.

    Returns:
        An RGB picture, 1,600 pixels wide. Images are scaled down where a row is too wide, and never
        enlarged.

    Raises:
        ConfigError: `max_images` or the template is wrong.
        DataError: An image is missing or damaged, or the prompt cannot be built.
    """
    prompt = build_messages(study, max_images=max_images, template=template)
    shown = choose_images(study, max_images=max(1, len(study.images)))
    films = [
        _Film(
            with_boxes(images.load(image.image_id), image.image_id, boxes),
            image,
            _caption(number, image, images, max_images),
        )
        for number, image in enumerate(shown, start=1)
    ]
    page = _Page()
    page.text(study.study_id, _TITLE)
    page.text(f"Patient {study.patient_id} · {study.split}", _NOTE)
    for timepoint, heading in (
        (Timepoint.CURRENT, f"Current study · {_shown_time(study.time)}"),
        (Timepoint.PRIOR, _prior_heading(study)),
    ):
        of_time = [film for film in films if film.image.timepoint is timepoint]
        if of_time or timepoint is Timepoint.CURRENT:
            page.heading(heading)
            page.films(of_time)
        if boxes and timepoint is Timepoint.CURRENT:
            page.text(boxes_text(boxes), _NOTE)
    page.columns(
        ("Prompt, as the model reads it", prompt_text(prompt)),
        (f"{_REFERENCE[study.target]}, the reference", study.reference or "not given"),
        *_not_trained_on(study),
    )
    return page.picture()


def with_boxes(picture: Image.Image, image_id: str, boxes: Sequence[Box]) -> Image.Image:
    """Draw the boxes of an image on it, each with its number among all boxes of the study.

    Args:
        picture: The image.
        image_id: Which it is.
        boxes: Of the study.

    Returns:
        An RGB picture; the image itself if it has no box.
    """
    own = [(number, box) for number, box in enumerate(boxes, 1) if box.image_id == image_id]
    if not own:
        return picture
    drawn = picture.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    size = max(12, drawn.width // 40)
    for number, box in own:
        corners = (
            round(box.left * (drawn.width - 1)),
            round(box.top * (drawn.height - 1)),
            round(box.right * (drawn.width - 1)),
            round(box.bottom * (drawn.height - 1)),
        )
        colour = _EXTRA_BOX if box.is_extra else _BOX
        draw.rectangle(corners, outline=colour, width=max(2, drawn.width // 250))
        draw.text(
            (corners[0] + 4, corners[1] + 3), str(number), fill=colour, font=font(size, bold=True)
        )
    return drawn


def boxes_text(boxes: Sequence[Box]) -> str:
    """Say what each box of a study shows: its number, sentence and labels."""
    lines = []
    for number, box in enumerate(boxes, 1):
        labels = f" ({', '.join(box.labels)})" if box.labels else ""
        extra = ", extra box" if box.is_extra else ""
        lines.append(f"Box {number}{extra}: {box.sentence}{labels}")
    return "\n".join(lines)


def _not_trained_on(study: Study) -> list[tuple[str, str]]:
    """Return the impression, if there is one that is no part of the reference."""
    if not study.impression or study.impression in study.reference:
        return []
    return [("Impression, not trained on", study.impression)]


def prompt_text(prompt: Prompt) -> str:
    """Write a prompt as one text.

    Args:
        prompt: What the model is shown.

    Returns:
        The text of all messages; `[image 2]` stands where the second image is.
    """
    pieces: list[str] = []
    images = 0
    for message in prompt.messages:
        for part in message["content"]:
            images += part["type"] == "image"
            pieces.append(part["text"] if part["type"] == "text" else f"[image {images}]")
    return "".join(pieces)


@dataclass(frozen=True, slots=True)
class _Film:
    picture: Image.Image
    image: StudyImage
    caption: str


def _caption(number: int, image: StudyImage, images: ImageStore, max_images: int) -> str:
    height, width = images.size(image.image_id)
    if number > max_images:
        return f"{image.view} · {width} × {height}\nnot in the prompt: over {max_images} images"
    return f"Image {number} · {image.view} · {width} × {height}"


def _shown_time(time: str) -> str:
    if not time:
        return "time not given"
    if "-" not in time[1:]:
        return "day " + f"{float(time):,.2f}".rstrip("0").rstrip(".")
    return time.partition(".")[0].replace("T", " ")


def _prior_heading(study: Study) -> str:
    named = f"Prior study {study.prior_study_id}".strip()
    if not (study.time and study.prior_time):
        return f"{named} · {_shown_time(study.prior_time)}"
    days = time_order(study.time) - time_order(study.prior_time)
    # Rounded down; the small allowance is for what times as days lose in a float.
    number, unit = int(days + 1e-6), "day"
    if number < 1:
        number, unit = int(24 * days + 1e-4), "hour"
    gap = f"{number:,} {unit}{'' if number == 1 else 's'}" if number else "under an hour"
    return f"{named} · {_shown_time(study.prior_time)}, {gap} before"


@dataclass(slots=True)
class _Page:
    """A page that grows downwards: drawing is put off until its height is known."""

    bottom: int = _MARGIN
    pasted: list[tuple[Image.Image, tuple[int, int]]] = field(default_factory=list)
    written: list[tuple[str, tuple[int, int], _Style]] = field(default_factory=list)
    rules: list[int] = field(default_factory=list)

    def text(self, text: str, style: _Style) -> None:
        """Write over the whole width."""
        self.bottom = self._write(text, style, (_MARGIN, self.bottom), _CONTENT)

    def heading(self, text: str) -> None:
        """Draw a rule and write a heading below it."""
        self.bottom += _GAP
        self.rules.append(self.bottom)
        self.bottom += _GAP // 2
        self.text(text, _HEADING)
        self.bottom += _GAP // 2

    def films(self, films: Sequence[_Film]) -> None:
        """Put films into rows of about equal length, all to one scale."""
        if not films:
            self.text("no images", _NOTE)
            return
        rows = -(-len(films) // _MOST_IMAGES_A_ROW)
        per_row = -(-len(films) // rows)
        parts = [films[first : first + per_row] for first in range(0, len(films), per_row)]
        scale = min(1.0, *(_fitting_scale(part) for part in parts))
        for number, part in enumerate(parts):
            self.bottom += _GAP if number else 0
            self._film_row(part, scale)

    def _film_row(self, films: Sequence[_Film], scale: float) -> None:
        top, left = self.bottom, _MARGIN
        for film in films:
            width, height = (max(1, int(side * scale)) for side in film.picture.size)
            picture = film.picture
            if scale < 1:
                picture = picture.resize((width, height), Image.Resampling.LANCZOS)
            self.pasted.append((picture, (left, top)))
            room = max(width, _LEAST_CAPTION_PX)
            below = self._write(film.caption, _CAPTION, (left, top + height + _GAP // 4), room)
            self.bottom = max(self.bottom, below)
            left += room + _GAP

    def columns(self, *columns: tuple[str, str]) -> None:
        """Write texts with headings side by side."""
        self.bottom += _GAP
        self.rules.append(self.bottom)
        top = self.bottom + _GAP // 2
        room = (_CONTENT - (len(columns) - 1) * 2 * _GAP) // len(columns)
        for number, (heading, text) in enumerate(columns):
            left = _MARGIN + number * (room + 2 * _GAP)
            below = self._write(heading, _HEADING, (left, top), room)
            below = self._write(text, _TEXT, (left, below + _GAP // 2), room)
            self.bottom = max(self.bottom, below)

    def _write(self, text: str, style: _Style, place: tuple[int, int], width: int) -> int:
        """Write wrapped lines and return where they end."""
        left, top = place
        for line in wrap(text, font(style.size, bold=style.bold), width):
            self.written.append((line, (left, top), style))
            top += style.line_px
        return top

    def picture(self) -> Image.Image:
        """Draw the page."""
        page = Image.new("RGB", (_WIDTH, self.bottom + _MARGIN), _PAPER)
        draw = ImageDraw.Draw(page)
        for y in self.rules:
            draw.line((_MARGIN, y, _WIDTH - _MARGIN - 1, y), fill=_RULE, width=2)
        for picture, place in self.pasted:
            page.paste(picture, place)
        for line, place, style in self.written:
            draw.text(place, line, fill=style.colour, font=font(style.size, bold=style.bold))
        return page


def _fitting_scale(films: Sequence[_Film]) -> float:
    """Return the scale at which a row is as long as the page is wide, and not too tall."""
    room: float = _CONTENT - (len(films) - 1) * _GAP
    widths = [film.picture.width for film in films]
    # A narrow film takes the room of its caption; the others share what is left.
    while narrow := [w for w in widths if w * room / sum(widths) < _LEAST_CAPTION_PX]:
        room -= _LEAST_CAPTION_PX * len(narrow)
        widths = [w for w in widths if w not in narrow]
    tallest = max(film.picture.height for film in films)
    return min(room / sum(widths), _TALLEST_PX / tallest)
