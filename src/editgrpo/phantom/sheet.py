"""A contact sheet: one small film of each finding, for the eye and for the documentation."""

import numpy as np
from PIL import Image, ImageDraw

from editgrpo.data.study import View
from editgrpo.phantom.anatomy import draw_anatomy
from editgrpo.phantom.findings import Finding, Kind, Side, Size, Zone
from editgrpo.phantom.render import render_film
from editgrpo.phantom.sites import PROFILES, Site

_CAPTION_PX = 14
_COLUMNS = 8


def _examples() -> list[tuple[str, tuple[Finding, ...]]]:
    shown: list[tuple[str, tuple[Finding, ...]]] = [("normal", ())]
    for kind in Kind:
        zone = Zone.UPPER if kind is Kind.NODULE else Zone.LOWER
        finding = Finding(kind=kind, side=Side.RIGHT, zone=zone, size=Size.MODERATE)
        shown.append((str(kind).replace("_", " "), (finding,)))
    return shown


def contact_sheet(size_px: int = 112, seed: int = 0) -> Image.Image:
    """Draw every finding at both sites from the front, and at site A from the side.

    Args:
        size_px: Height and width of one film.
        seed: Chooses the patients.

    Returns:
        A grey image, films with captions in rows.
    """
    films: list[tuple[str, Image.Image]] = []
    for site, view in ((Site.A, View.PA), (Site.B, View.PA), (Site.A, View.LATERAL)):
        for number, (caption, findings) in enumerate(_examples()):
            rng = np.random.default_rng([seed, number])
            pixels = render_film(
                draw_anatomy(rng),
                findings,
                view=view,
                rendering=PROFILES[site].rendering,
                size_px=size_px,
                rng=rng,
            )
            films.append((f"{site}: {caption}", Image.fromarray(pixels)))
    rows = -(-len(films) // _COLUMNS)
    sheet = Image.new("L", (_COLUMNS * size_px, rows * (size_px + _CAPTION_PX)))
    draw = ImageDraw.Draw(sheet)
    for index, (caption, film) in enumerate(films):
        x, y = index % _COLUMNS * size_px, index // _COLUMNS * (size_px + _CAPTION_PX)
        draw.text((x + 2, y + 1), caption, fill=255)
        sheet.paste(film, (x, y + _CAPTION_PX))
    return sheet
